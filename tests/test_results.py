from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core import results
from core.datasets import Dataset
from core.errors import InputError
from core.events import Architecture, Artifact, Environment, Message, Metric, PolicyPoint, Progress
from core.queue import jobs, log
from core.queue.jobs import Job
from core.specs import AutoMLSpec
from core.store import artifacts
from tests.engines import trial


@pytest.fixture
def job(spec: AutoMLSpec) -> Job:
    jobs.submit(spec, user="ada")
    claimed = jobs.claim("w")
    assert claimed is not None
    return claimed


def test_what_a_job_reports_is_read_back(job: Job, tmp_path: Path) -> None:
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
    found = results.trial(results.trials_of(job.id).iloc[0].trial_id)
    assert (found.candidate, found.params, found.metric) == ("a", {"depth": 3}, "auc")
    assert found.details["importance"][0]["feature"] == "size"
    assert set(found.scores.metric) == {"auc", "accuracy", "balanced_accuracy", "log_loss"}
    file = found.artifacts.iloc[0]
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


def test_the_leaderboard_ranks_by_the_valid_rows_and_not_by_the_test_rows(job: Job) -> None:
    lucky = trial("lucky", error=0.4)
    scores = tuple(
        score.__class__(score.metric, score.valid, 0.99, 0.98, 1.0, score.valid_error, 0.01) for score in lucky.scores
    )
    lucky = lucky.__class__("lucky", "GLM", "auc", scores, 1.0, 1e-3)
    results.record(job, [lucky, trial("steady", error=0.2)])
    board = results.leaderboard(job.dataset_id)
    assert list(board.candidate) == ["steady", "lucky"]
    assert list(board["rank"]) == [1, 2]
    assert list(board.owner) == ["ada", "ada"]


def test_the_leaderboard_speaks_any_metric_of_the_task_and_no_other(job: Job) -> None:
    results.record(job, [trial("a", error=0.2)])
    assert results.leaderboard(job.dataset_id).metric.iloc[0] == "auc"
    assert results.leaderboard(job.dataset_id, metric="log_loss").test.iloc[0] == 0.2
    with pytest.raises(InputError, match="'rmse' is not defined for a binary target"):
        results.leaderboard(job.dataset_id, metric="rmse")


def test_a_limit_keeps_the_best_and_ranks_among_all(job: Job) -> None:
    results.record(job, [trial(str(n), error=n / 10, algorithm="GLM" if n % 2 else "GBM") for n in range(6)])
    board = results.leaderboard(job.dataset_id, limit=2, scope=results.Scope(algorithms=("GLM",)))
    assert list(board.candidate) == ["1", "3"]
    assert list(board["rank"]) == [2, 4]
    assert list(board.pareto) == [False, False]  # trial 0, which the scope leaves out, beats both
    assert board.attrs["n_trials"] == 3


def test_the_trials_of_an_attempt_that_was_given_up_do_not_stand_twice(job: Job) -> None:
    results.record(job, [trial("a")])
    jobs.requeue(job, "killed")
    again = jobs.claim("w")
    assert again is not None
    results.record(again, [trial("a"), trial("b")])
    assert sorted(results.leaderboard(job.dataset_id).candidate) == ["a", "b"]


def test_the_pareto_front_equals_the_definition() -> None:
    random = np.random.default_rng(3)
    errors, costs = random.integers(0, 12, 60) / 12, random.integers(0, 12, 60) / 12
    front = results.pareto(errors, costs)
    points = {(e, c) for e, c in zip(errors[front], costs[front], strict=True)}
    for e, c in zip(errors, costs, strict=True):
        beaten = any((e2 <= e and c2 <= c) and (e2, c2) != (e, c) for e2, c2 in zip(errors, costs, strict=True))
        assert ((e, c) in points) == (not beaten)


def test_nothing_unknown_is_on_the_pareto_front() -> None:
    mask = results.pareto(np.array([np.nan, 0.5, 0.1]), np.array([1.0, 1.0, np.nan]))
    assert list(mask) == [False, True, False]


def test_the_performance_table_takes_the_trial_that_valid_chose(job: Job, dataset: Dataset) -> None:
    results.record(
        job, [trial("a", error=0.3), trial("b", error=0.25), trial("c", error=0.1, algorithm="GLM", yardstick=True)]
    )
    table = results.performance_table()
    assert table.index.tolist() == [dataset.name]
    assert table.loc[dataset.name, "H2O GBM"] == 0.25
    assert table.loc[dataset.name, "GLM"] == 0.1


def test_the_best_trial_of_each_dataset_is_the_one_that_valid_chose(job: Job, dataset: Dataset) -> None:
    assert len(results.best_trials()) == 0
    results.record(job, [trial("a", error=0.3), trial("b", error=0.25, algorithm="GLM")])
    best = results.best_trials().loc[dataset.id]
    assert (best.algorithm, best.metric, best.test) == ("GLM", "auc", 0.75)


def test_a_kept_artifact_does_not_change_when_the_job_goes_on_writing(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    path.write_bytes(b"first")
    sha256, size = artifacts.store(path)
    with path.open("r+b") as file:
        file.write(b"other")
    assert artifacts.locate(sha256).read_bytes() == b"first"
    assert size == 5


def test_an_artifact_that_is_kept_twice_is_stored_once(home: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(b"same")
    assert artifacts.store(tmp_path / "one") == artifacts.store(tmp_path / "two")
    assert len([path for path in (home / "artifacts").rglob("*") if path.is_file()]) == 1


def test_unknown_ids_are_refused_with_their_value(home: Path) -> None:
    with pytest.raises(InputError, match="no trial 77"):
        results.trial(77)


def test_the_last_results_name_the_best_trial_of_each_job(job: Job, dataset: Dataset) -> None:
    results.record(job, [trial("a", error=0.3), trial("b", error=0.2, algorithm="GLM")])
    assert len(results.recent_results()) == 0
    jobs.finish(job, "succeeded")
    last = results.recent_results().iloc[0]
    assert (last.job_id, last.dataset, last.algorithm, last.test) == (job.id, dataset.name, "GLM", 0.8)


def test_the_drawing_of_a_candidate_is_read_back_and_outlives_its_attempt(job: Job) -> None:
    layers = [{"name": "Head", "detail": "linear", "out": "2"}]
    results.record(job, [Architecture("a", layers), Architecture("b", [])])
    assert results.architecture(job.id, "a") == layers
    assert results.architecture(job.id, "c") == []
    jobs.requeue(job, "killed")
    again = jobs.claim("w")
    assert again is not None
    results.record(again, [Architecture("a", [*layers, {"name": "New"}])])
    assert results.architecture(job.id, "a")[-1] == {"name": "New"}
    assert results.architecture(job.id, "b") == []


def test_a_policy_is_read_in_the_order_in_which_it_was_told(job: Job) -> None:
    told = [("width", "16", 0.25), ("width", "8", 0.75), ("a = b", "c", 1.0)]
    results.record(job, [PolicyPoint(name, option, value, 8) for name, option, value in told])
    results.record(job, [PolicyPoint("width", "16", 0.5, 16), PolicyPoint("width", "8", 0.1, 9, "supernet")])
    frame = results.policy(job.id)
    assert list(frame.itertuples(index=False, name=None)) == [
        ("width", "16", 8, 0.25), ("width", "8", 8, 0.75), ("a = b", "c", 8, 1.0), ("width", "16", 16, 0.5)
    ]  # fmt: skip
    assert results.candidates(job.id).empty


def test_what_an_attempt_has_shown_stays_until_the_next_one_has_something_to_show(job: Job) -> None:
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


def test_a_candidate_knows_its_trial(job: Job) -> None:
    results.record(
        job, [Metric("valid_error", n / 10, 1, name) for n, name in enumerate(("a", "a b", "long, and more", "none"))]
    )
    results.record(job, [trial("a"), trial("a b"), trial("long, and more")])
    ids = dict(zip(results.trials_of(job.id).candidate, results.trials_of(job.id).trial_id, strict=True))
    frame = results.candidates(job.id).set_index("candidate").trial_id
    assert (frame["a"], frame["a b"], frame["long, and more"]) == (ids["a"], ids["a b"], ids["long, and more"])
    assert np.isnan(frame["none"])
