from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core import datasets, results
from core.__main__ import main
from core.datasets import Dataset
from core.events import Metric
from core.queue import jobs
from core.specs import AutoMLSpec, NASSpec
from tests import engines
from tests.pictures import folders, zipped

__all__ = ["zipped"]  # a fixture


def test_a_script_can_add_submit_watch_cancel_and_read_the_leaderboard(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"kind": "automl", "dataset_id": dataset.id, "budget_s": 30}))
    assert main(["submit", str(spec), "--priority", "2"]) == 0
    job_id = int(capsys.readouterr().out)
    assert jobs.get(job_id).priority == 2
    engines.run_once(automl=engines.succeed)
    assert main(["jobs", "--json"]) == 0
    assert [(job["id"], job["status"]) for job in json.loads(capsys.readouterr().out)] == [(job_id, "succeeded")]
    assert main(["leaderboard", "small", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["test"] == results.leaderboard(dataset.id).test[0]
    main(["submit", str(spec)])
    second = capsys.readouterr().out.strip()
    assert main(["cancel", second]) == 0
    assert jobs.get(int(second)).status == "cancelled"


def test_a_dataset_is_added_by_the_real_command(home: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("a,b\n" + "".join(f"{n * 7 % 31},{'xy'[n % 2]}\n" for n in range(60)))
    command = [sys.executable, "-m", "core", "dataset", "add", str(table), "--name", "mine", "--target", "b"]
    command += ["--type", "a=categorical", "--drop-rare-classes"]
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    assert out.stdout.strip() == "1"
    assert datasets.get("mine").columns[0].type == "categorical"


def test_images_are_added_without_a_target(zipped, capsys):
    assert main(["dataset", "add", str(zipped(folders())), "--name", "pets", "--side", "6"]) == 0
    assert capsys.readouterr().out.strip() == "1"
    assert datasets.load_images(datasets.get("pets"), "train")[0].shape[1:] == (6, 6, 3)


def test_inner_folders_are_the_classes_if_a_script_says_so(zipped, capsys):
    path = zipped(folders(12, ("top/Greek/one", "top/Greek/two")))
    assert main(["dataset", "add", str(path), "--name", "letters", "--inner-folders"]) == 0
    assert datasets.get("letters").labels == ("Greek/one", "Greek/two")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dataset", "add", "x.csv", "--name", "n"], "--target"),
        (["submit", "no-such-file.json"], "no-such-file.json"),
        (["cancel", "7"], "no job 7"),
        (["pause", "7"], "no job 7"),
        (["resume", "7"], "no job 7"),
        (["extend", "7"], "no job 7"),
        (["leaderboard", "nothing"], "nothing"),
        (["dataset", "add", "no-such.csv", "--name", "n", "--target", "t"], "no-such.csv"),
        (["dataset", "add", "x.csv", "--name", "n", "--target", "t", "--type", "numeric"], "COLUMN=TYPE"),
    ],
)
def test_a_wrong_argument_is_named_and_the_exit_code_tells(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(arguments) == 1
    assert said in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error(dataset: Dataset) -> None:
    for _ in range(50):
        jobs.submit(AutoMLSpec(dataset_id=dataset.id, note="x" * 500))
    command = f"{sys.executable} -m core jobs --json | head -c 100"
    out = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert len(out.stdout) == 100
    assert out.stderr == ""


def test_the_json_of_the_queue_has_all_jobs_with_their_specs(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(205):
        jobs.submit(AutoMLSpec(dataset_id=dataset.id))
    assert main(["jobs", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 205
    assert found[0]["spec"]["budget_s"] == 60


@pytest.mark.parametrize(("name", "value"), [("METASCOUT_CPU_SLOTS", "0"), ("METASCOUT_STALL_S", "soon")])
def test_a_setting_that_is_no_number_is_named_by_the_runner(home: Path, name: str, value: str) -> None:
    command = [sys.executable, "-m", "runner", "--drain"]
    out = subprocess.run(command, capture_output=True, text=True, env={**os.environ, name: value})
    assert out.returncode == 1
    assert out.stderr.startswith(f"{name} is {value!r}")


def test_a_script_can_pause_resume_and_extend_a_search(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    job_id = jobs.submit(NASSpec(dataset_id=dataset.id, budget_s=60))
    job = jobs.claim("w")
    assert job is not None
    assert main(["pause", str(job_id)]) == 0
    assert "was asked to pause" in capsys.readouterr().out
    results.record(job, [Metric("valid_error", 0.5, 1, "a")])
    jobs.finish(job, "paused")
    assert main(["resume", str(job_id), "--more-seconds", "-5"]) == 1
    assert "--more-seconds: -5 more is not possible" in capsys.readouterr().err
    assert main(["resume", str(job_id), "--more-seconds", "86399"]) == 1
    assert "budget_s: Input should be less than or equal to 86400 (given: 86459)" in capsys.readouterr().err
    assert main(["resume", str(job_id), "--more-seconds", "30", "--more-candidates", "6"]) == 0
    spec = jobs.get(job_id).spec
    assert isinstance(spec, NASSpec)
    assert (spec.budget_s, spec.max_candidates) == (90, 70)
    assert main(["pause", str(job_id)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "paused"
    assert main(["cancel", str(job_id)]) == 0
    capsys.readouterr()
    for amount, said in (("-5", "--more-seconds: Input should be greater than or equal to 10 (given: -5)"),
                         ("5", "--more-seconds: Input should be greater than or equal to 10 (given: 5)")):  # fmt: skip
        assert main(["extend", str(job_id), "--more-seconds", amount]) == 1
        assert said in capsys.readouterr().err
    assert main(["extend", str(job_id), "--more-seconds", "20"]) == 0
    new = jobs.get(int(capsys.readouterr().out)).spec
    assert isinstance(new, NASSpec)
    assert (new.continues, new.budget_s, new.max_candidates) == (job_id, 20, 70)
    assert main(["resume", str(job_id)]) == 1
    assert "is cancelled; only a paused job can be resumed" in capsys.readouterr().err
