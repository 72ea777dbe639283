"""Trials: the leaderboard, the Pareto front, the best of each dataset and job."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core import results
from core.datasets import Dataset
from core.errors import InputError
from core.queue import jobs
from core.queue.jobs import Job
from tests.engines import trial


def test_a_limit_keeps_the_best_and_ranks_among_all(job: Job) -> None:
    results.record(job, [trial(str(n), error=n / 10, algorithm="GLM" if n % 2 else "GBM") for n in range(6)])
    board = results.leaderboard(job.dataset_id, limit=2, scope=results.Scope(algorithms=("GLM",)))
    assert list(board.candidate) == ["1", "3"]
    assert list(board["rank"]) == [2, 4]
    assert list(board.pareto) == [False, False]  # trial 0, which the scope leaves out, beats both
    assert board.attrs["n_trials"] == 3


def test_the_pareto_front_equals_the_definition() -> None:
    random = np.random.default_rng(3)
    errors, costs = random.integers(0, 12, 60) / 12, random.integers(0, 12, 60) / 12
    front = results.pareto(errors, costs)
    points = {(e, c) for e, c in zip(errors[front], costs[front], strict=True)}
    for e, c in zip(errors, costs, strict=True):
        beaten = any((e2 <= e and c2 <= c) and (e2, c2) != (e, c) for e2, c2 in zip(errors, costs, strict=True))
        assert ((e, c) in points) == (not beaten)


def test_unknown_ids_are_refused_with_their_value(home: Path) -> None:
    with pytest.raises(InputError, match="no trial 77"):
        results.trial(77)


def test_the_leaderboard_ranks_by_the_validation_score_and_not_by_the_test_score(job: Job) -> None:
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


def test_the_leaderboard_accepts_the_metrics_of_the_task_and_no_other(job: Job) -> None:
    results.record(job, [trial("a", error=0.2)])
    assert results.leaderboard(job.dataset_id).metric.iloc[0] == "auc"
    assert results.leaderboard(job.dataset_id, metric="log_loss").test.iloc[0] == 0.2
    with pytest.raises(InputError, match="'rmse' is not defined for a binary target"):
        results.leaderboard(job.dataset_id, metric="rmse")


def test_the_trials_of_an_attempt_that_was_given_up_are_not_shown(job: Job) -> None:
    results.record(job, [trial("a")])
    jobs.requeue(job, "killed")
    again = jobs.claim("w")
    assert again is not None
    results.record(again, [trial("a"), trial("b")])
    assert sorted(results.leaderboard(job.dataset_id).candidate) == ["a", "b"]


def test_missing_values_are_not_on_the_pareto_front() -> None:
    mask = results.pareto(np.array([np.nan, 0.5, 0.1]), np.array([1.0, 1.0, np.nan]))
    assert list(mask) == [False, True, False]


def test_the_performance_table_has_the_trials_with_the_best_validation_score(job: Job, dataset: Dataset) -> None:
    results.record(
        job, [trial("a", error=0.3), trial("b", error=0.25), trial("c", error=0.1, algorithm="GLM", yardstick=True)]
    )
    table = results.performance_table()
    assert table.index.tolist() == [dataset.name]
    assert table.loc[dataset.name, "H2O GBM"] == 0.25
    assert table.loc[dataset.name, "GLM"] == 0.1


def test_the_best_trial_of_each_dataset_has_the_best_validation_score(job: Job, dataset: Dataset) -> None:
    assert len(results.best_by_dataset()) == 0
    results.record(job, [trial("a", error=0.3), trial("b", error=0.25, algorithm="GLM")])
    best = results.best_by_dataset().loc[dataset.id]
    assert (best.algorithm, best.metric, best.test) == ("GLM", "auc", 0.75)


def test_the_recent_results_have_the_best_trial_of_each_job(job: Job, dataset: Dataset) -> None:
    results.record(job, [trial("a", error=0.3), trial("b", error=0.2, algorithm="GLM")])
    assert len(results.recent_results()) == 0
    jobs.finish(job, "succeeded")
    last = results.recent_results().iloc[0]
    assert (last.job_id, last.dataset, last.algorithm, last.test) == (job.id, dataset.name, "GLM", 0.8)
