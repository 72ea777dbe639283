"""Recording the events of a job: all of a batch or nothing, and only for the running attempt."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import results
from core.events import Artifact, Environment, Message, Metric, Progress
from core.queue import jobs, log
from core.queue.jobs import Job
from core.store import artifacts
from tests.engines import trial


def test_all_events_of_a_job_can_be_read_back(job: Job, tmp_path: Path) -> None:
    model = tmp_path / "model.zip"
    model.write_bytes(b"weights")
    reported = [
        Progress(0.5, "half way", 7.0),
        Message("first", "warning"),
        *[Metric("best_valid", value, step) for step, value in enumerate([0.5, 0.75])],
        trial("a", error=0.3, params={"depth": 3}, details={"importance": [{"feature": "size", "value": 1.0}]}),
        Artifact("model.zip", str(model), "mojo", "a"),
        Environment({"python": "3.11"}),
    ]
    assert results.record(job, reported, offset=123)
    row = jobs.overview(job_id=job.id).iloc[0]
    assert (row.fraction, row.stage, row.remaining_s, row.n_trials) == (0.5, "half way", 7.0, 1)
    assert row.environment == '{"python": "3.11"}'
    assert jobs.get(job.id).event_offset == 123
    assert list(results.curve(job.id, "best_valid").value) == [0.5, 0.75]
    assert log.messages(job.id).iloc[0].text == "first"
    trial_of_job = results.trial(results.trials_of(job.id).iloc[0].trial_id)
    assert (trial_of_job.candidate, trial_of_job.params, trial_of_job.metric) == ("a", {"depth": 3}, "auc")
    assert trial_of_job.details["importance"][0]["feature"] == "size"
    assert set(trial_of_job.scores.metric) == {"auc", "accuracy", "balanced_accuracy", "log_loss"}
    file = trial_of_job.artifacts.iloc[0]
    assert artifacts.locate(file.sha256).read_bytes() == b"weights"
    assert file.size_bytes == 7


def test_a_batch_is_saved_whole_or_not_at_all(job: Job, tmp_path: Path) -> None:
    broken = Metric("loss", 1.0, "not a step")  # type: ignore[arg-type]
    with pytest.raises(Exception, match="not a step"):
        results.record(job, [Progress(0.9, "x"), trial("a"), Message("m"), broken], offset=50)
    assert jobs.get(job.id).event_offset == 0
    assert len(results.trials_of(job.id)) == 0
    assert len(log.messages(job.id)) == 0


def test_an_attempt_that_has_ended_records_nothing_more(job: Job) -> None:
    jobs.requeue(job, "lost")
    assert not results.record(job, [trial("late")])
    assert len(results.leaderboard(job.dataset_id)) == 0


def test_the_results_of_an_attempt_are_shown_until_the_next_one_reports_some(job: Job) -> None:
    results.record(job, [Metric("best_valid", 0.5, 1), Metric("valid_error", 0.5, 1, "a"), trial("a")])
    jobs.requeue(job, "the runner was stopped")
    again = jobs.claim("w")
    assert again is not None
    results.record(again, [Environment({}), Message("starting"), Progress(0.0, "reading")])
    assert list(results.trials_of(job.id).candidate) == ["a"]
    assert len(results.leaderboard(job.dataset_id)) == 1
    assert list(results.curve(job.id, "best_valid").value) == [0.5]
    assert list(results.candidates(job.id).candidate) == ["a"]
    assert jobs.overview(job_id=job.id).n_trials[0] == 1
    results.record(again, [Metric("best_valid", 0.75, 1)])
    assert list(results.curve(job.id, "best_valid").value) == [0.75]
    assert len(results.trials_of(job.id)) == 0
