from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core import jobs, results
from core.__main__ import main
from core.datasets import Dataset
from runner import worker
from tests import engines


def test_a_script_can_add_submit_watch_cancel_and_read_the_leaderboard(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"kind": "automl", "dataset_id": dataset.id, "budget_s": 30}))
    assert main(["submit", str(spec), "--priority", "2"]) == 0
    job_id = int(capsys.readouterr().out)
    assert jobs.get(job_id).priority == 2
    worker.run_once({"automl": engines.succeed}, "w")
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
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    assert out.stdout.strip() == "1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["submit", "no-such-file.json"], "no-such-file.json"),
        (["cancel", "7"], "no job 7"),
        (["leaderboard", "nothing"], "nothing"),
        (["dataset", "add", "no-such.csv", "--name", "n", "--target", "t"], "no-such.csv"),
    ],
)
def test_a_wrong_argument_is_named_and_the_exit_code_tells(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(arguments) == 1
    assert said in capsys.readouterr().err
