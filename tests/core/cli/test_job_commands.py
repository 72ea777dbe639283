"""`python -m core submit | jobs | cancel | pause | resume | extend`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core import results
from core.__main__ import main
from core.datasets import Dataset
from core.events import Metric
from core.queue import jobs
from core.specs import AutoMLSpec, NASSpec
from tests.engines import submit_many, trial


def test_a_script_can_submit_watch_and_cancel_jobs_and_read_the_leaderboard(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"kind": "automl", "dataset_id": dataset.id, "budget_s": 30}))
    assert main(["submit", str(spec), "--priority", "2"]) == 0
    job_id = int(capsys.readouterr().out)
    assert jobs.get(job_id).priority == 2
    job = jobs.claim("w")
    assert job is not None
    results.record(job, [trial()])
    jobs.finish(job, "succeeded")
    assert main(["jobs", "--json"]) == 0
    assert [(job["id"], job["status"]) for job in json.loads(capsys.readouterr().out)] == [(job_id, "succeeded")]
    assert main(["leaderboard", "small", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["test"] == results.leaderboard(dataset.id).test[0]
    main(["submit", str(spec)])
    second = capsys.readouterr().out.strip()
    assert main(["cancel", second]) == 0
    assert jobs.get(int(second)).status == "cancelled"


def test_the_json_of_the_queue_has_all_jobs_with_their_specs(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    submit_many(AutoMLSpec(dataset_id=dataset.id), 205)
    assert main(["jobs", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 205
    assert rows[0]["spec"]["budget_s"] == 60


def test_a_script_can_pause_resume_and_extend_a_search(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    job_id = jobs.submit(NASSpec(dataset_id=dataset.id, budget_s=60))
    job = jobs.claim("w")
    assert job is not None
    assert main(["pause", str(job_id)]) == 0
    assert "was asked to pause" in capsys.readouterr().out
    results.record(job, [Metric("valid_error", 0.5, 1, "a")])
    jobs.finish(job, "paused")
    assert main(["resume", str(job_id), "--more-seconds", "-5"]) == 1
    assert "--more-seconds: -5 cannot be added" in capsys.readouterr().err
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
    for amount, text in (("-5", "--more-seconds: Input should be greater than or equal to 10 (given: -5)"),
                         ("5", "--more-seconds: Input should be greater than or equal to 10 (given: 5)")):  # fmt: skip
        assert main(["extend", str(job_id), "--more-seconds", amount]) == 1
        assert text in capsys.readouterr().err
    assert main(["extend", str(job_id), "--more-seconds", "20"]) == 0
    new = jobs.get(int(capsys.readouterr().out)).spec
    assert isinstance(new, NASSpec)
    assert (new.continues, new.budget_s, new.max_candidates) == (job_id, 20, 70)
    assert main(["resume", str(job_id)]) == 1
    assert "is cancelled; only a paused job can be resumed" in capsys.readouterr().err
