"""Trials: the leaderboard of a dataset, the trials of a job, and the best ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core import datasets
from core.errors import InputError
from core.kinds import CANDIDATE_SQL
from core.scoring import DEFAULT_METRIC, Task, check_metric
from core.store import database

if TYPE_CHECKING:
    import pandas as pd

_TRIAL_COLUMNS = (
    "t.id AS trial_id, t.job_id, t.engine, t.algorithm, t.candidate, t.yardstick, s.metric, s.valid, s.test, s.lower,"
    " s.upper, s.valid_error, s.test_error, t.fit_s, t.predict_row_s, t.size_bytes, t.n_parameters, t.happened_at"
)


@dataclass(frozen=True, slots=True)
class Scope:
    """A selection of the trials of a dataset; by default all of them."""

    algorithms: tuple[str, ...] = ()
    job_id: int | None = None
    baselines: bool = True


def leaderboard(
    dataset_id: int, *, metric: str | None = None, limit: int | None = None, scope: Scope | None = None
) -> pd.DataFrame:
    """Return the trials of all jobs on a dataset, best first by their error on the validation set.

    `metric` is a metric of the dataset's task (None: the default). Columns: rank, trial_id, job_id, engine, algorithm,
    candidate, yardstick (a baseline), metric, valid, test, lower, upper (95% interval of test), valid_error,
    test_error, fit_s, predict_row_s, size_bytes, n_parameters, happened_at, owner, pareto (see `pareto`; by the
    validation error, because the test set decides nothing). `scope` selects trials, and `limit` is a maximum number of
    rows. Rank and pareto are among all trials. attrs["n_trials"] is the number of trials in the scope.
    """
    metric, scope = check_metric(datasets.get(dataset_id).task, metric), scope or Scope()
    source = (
        " FROM scores s JOIN trials t ON t.id = s.trial_id"
        " JOIN jobs j ON j.id = t.job_id AND j.shown_attempt = t.attempt"
        " WHERE s.dataset_id = $dataset AND t.dataset_id = $dataset AND s.metric = $metric"
    )
    values = {"dataset": int(dataset_id), "metric": metric}
    inside = {"algorithms": list(scope.algorithms), "job": scope.job_id, "baselines": scope.baselines}
    with database.transaction() as connection:  # two narrow columns of every trial, all columns of the best ones
        every = connection.execute(
            "SELECT t.id, s.valid_error, t.predict_row_s,"
            " (len($algorithms) = 0 OR list_contains($algorithms, t.algorithm))"
            " AND ($job IS NULL OR t.job_id = $job) AND ($baselines OR NOT t.yardstick) AS inside"
            f"{source} ORDER BY s.valid_error, t.id",
            values | inside,
        ).fetchnumpy()
        places = np.flatnonzero(np.asarray(every["inside"]))
        shown = places[:limit]
        frame = connection.execute(
            f"SELECT {_TRIAL_COLUMNS}, j.owner{source} AND t.id IN (SELECT unnest($ids)) ORDER BY s.valid_error, t.id",
            values | {"ids": every["id"][shown].tolist()},
        ).df()
    frame.insert(0, "rank", shown + 1)
    frame["pareto"] = pareto(np.asarray(every["valid_error"]), np.asarray(every["predict_row_s"]))[shown]
    frame.attrs["n_trials"] = len(places)
    return frame


def filter_values(dataset_id: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the algorithms and the job ids of the trials of a dataset, sorted, to filter by."""
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT list_sort(list(DISTINCT t.algorithm)), list_sort(list(DISTINCT t.job_id)) FROM trials t"
            " JOIN jobs j ON j.id = t.job_id AND j.shown_attempt = t.attempt WHERE t.dataset_id = ?",
            [int(dataset_id)],
        ).fetchall()
    return tuple(rows[0][0] or ()), tuple(rows[0][1] or ())


def pareto(errors: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Return a mask of the points that no other point dominates. A point with a NaN is never in it."""
    mask = np.zeros(len(errors), dtype=bool)
    best = np.inf
    for index in np.lexsort((errors, costs)):
        if errors[index] < best and np.isfinite(costs[index]):
            best, mask[index] = errors[index], True
    return mask


def trials_of(job_id: int) -> pd.DataFrame:
    """Return the trials of a job's shown attempt by the job's metric, best first; columns as in `leaderboard`."""
    with database.transaction() as connection:
        return connection.execute(
            f"SELECT {_TRIAL_COLUMNS} FROM trials t JOIN jobs j ON j.id = t.job_id AND j.shown_attempt = t.attempt"
            " LEFT JOIN scores s ON s.trial_id = t.id AND s.metric = t.metric WHERE t.job_id = ?"
            " ORDER BY s.valid_error, t.id",
            [int(job_id)],
        ).df()


def count_trials(job_id: int) -> int:
    """Return how many trials a job shows."""
    with database.transaction() as connection:
        row = connection.execute(
            "SELECT count(*) FROM trials t JOIN jobs j ON j.id = t.job_id AND j.shown_attempt = t.attempt"
            " WHERE t.job_id = ?",
            [int(job_id)],
        ).fetchone()
    return int(row[0]) if row else 0


def recent_results(limit: int = 8) -> pd.DataFrame:
    """Return the best trial (by validation score) of each job that succeeded last, the newest job first.

    Columns: job_id, dataset, trial_id, algorithm, metric, test, lower, upper, finished_at.
    """
    with database.transaction() as connection:
        return connection.execute(
            "WITH last AS (SELECT id, shown_attempt, dataset_id, finished_at FROM jobs WHERE status='succeeded'"
            " ORDER BY finished_at DESC LIMIT ?)"
            " SELECT j.id AS job_id, d.name AS dataset, arg_min(t.id, s.valid_error) AS trial_id,"
            " arg_min(t.algorithm, s.valid_error) AS algorithm, any_value(s.metric) AS metric,"
            " arg_min(s.test, s.valid_error) AS test, arg_min(s.lower, s.valid_error) AS lower,"
            " arg_min(s.upper, s.valid_error) AS upper, j.finished_at"
            " FROM last j JOIN trials t ON t.job_id = j.id AND t.attempt = j.shown_attempt"
            " JOIN scores s ON s.trial_id = t.id AND s.metric = t.metric JOIN datasets d ON d.id = j.dataset_id"
            " GROUP BY j.id, d.name, j.finished_at ORDER BY j.finished_at DESC",
            [limit],
        ).df()


@dataclass(frozen=True, slots=True)
class Trial:
    """An evaluated candidate with all that is stored about it. `scores` has one row for each metric."""

    id: int
    job_id: int
    dataset_id: int
    engine: str
    candidate: str
    algorithm: str
    yardstick: bool
    metric: str
    fit_s: float
    predict_row_s: float
    size_bytes: int | None
    n_parameters: int | None
    happened_at: float
    params: dict[str, Any]
    details: dict[str, Any]
    scores: pd.DataFrame
    artifacts: pd.DataFrame


def trial(trial_id: int) -> Trial:
    """Return a trial with its scores, its artifacts, and those of its whole job (name, kind, candidate, sha256, size).

    Raises InputError if there is no trial with this id.
    """
    fields = "id, job_id, dataset_id, engine, candidate, algorithm, yardstick, metric, fit_s, predict_row_s"
    fields += ", size_bytes, n_parameters, happened_at, params, details"
    with database.transaction() as connection:
        rows = connection.execute(f"SELECT {fields}, attempt FROM trials WHERE id=?", [int(trial_id)]).fetchall()
        if not rows:
            raise InputError(f"There is no trial {trial_id}.", remedy="The Leaderboard page lists all trials.")
        *values, attempt = rows[0]
        row = dict(zip(fields.split(", "), values, strict=True))
        scores = connection.execute(
            "SELECT * EXCLUDE (trial_id, dataset_id) FROM scores WHERE trial_id=?", [row["id"]]
        ).df()
        files = connection.execute(
            "SELECT name, kind, candidate, sha256, size_bytes FROM artifacts"
            " WHERE job_id=? AND attempt=? AND (candidate IS NULL OR candidate=?)",
            [row["job_id"], attempt, row["candidate"]],
        ).df()
    row |= {"params": json.loads(row["params"]), "details": json.loads(row["details"])}
    return Trial(**row, scores=scores, artifacts=files)


def artifacts_of(job_id: int) -> pd.DataFrame:
    """Return the files of a job's shown attempt: name, kind, candidate, sha256, size_bytes, happened_at."""
    with database.transaction() as connection:
        return connection.execute(
            "SELECT a.name, a.kind, a.candidate, a.sha256, a.size_bytes, a.happened_at FROM artifacts a"
            " JOIN jobs j ON j.id = a.job_id AND j.shown_attempt = a.attempt WHERE a.job_id = ? ORDER BY a.happened_at",
            [int(job_id)],
        ).df()


def best_by_dataset() -> pd.DataFrame:
    """Return the best trial of each dataset by validation score and the default metric of its task.

    Index dataset_id; columns trial_id, algorithm, metric, test.
    """
    with database.transaction() as connection:
        return (
            connection.execute(
                "SELECT s.dataset_id, arg_min(t.id, s.valid_error) AS trial_id,"
                " arg_min(t.algorithm, s.valid_error) AS algorithm, any_value(s.metric) AS metric,"
                f" arg_min(s.test, s.valid_error) AS test FROM {_DEFAULT_SCORES} GROUP BY s.dataset_id",
                [_defaults()],
            )
            .df()
            .set_index("dataset_id")
        )


def performance_table() -> pd.DataFrame:
    """Return the test errors: index dataset, columns candidate ("H2O GBM"), NaN where a candidate has not run.

    If a candidate has several trials on a dataset, the trial with the lowest *validation* error counts: the value is
    not the best of many test scores. Errors are by the default metric of each dataset's task.
    """
    return best_by_candidate().pivot(index="dataset", columns="candidate", values="error")


def best_by_candidate(metrics: Mapping[Task, str] = DEFAULT_METRIC) -> pd.DataFrame:
    """Return the trial with the lowest validation error by the task's default metric, for each dataset and candidate.

    Columns: dataset_id, dataset, fingerprint, source, task, candidate (see core/kinds.py), fit_s, metric (of
    the task in `metrics`), error (on the test set, by that metric) and valid_error.
    """
    with database.transaction() as connection:
        return connection.execute(
            "WITH best AS (SELECT t.id, d.id AS dataset_id, d.name AS dataset, d.fingerprint, d.source, d.task,"
            f" {CANDIDATE_SQL} AS candidate, t.fit_s FROM {_DEFAULT_SCORES}"
            f" QUALIFY row_number() OVER (PARTITION BY d.id, {CANDIDATE_SQL} ORDER BY s.valid_error, t.id) = 1)"
            " SELECT best.* EXCLUDE (id), m.metric, m.test_error AS error, m.valid_error FROM best JOIN scores m"
            " ON m.trial_id = best.id AND list_contains(?, task || ':' || m.metric)",
            [_defaults(), [f"{task}:{metric}" for task, metric in metrics.items()]],
        ).df()


_DEFAULT_SCORES = (
    "scores s JOIN trials t ON t.id = s.trial_id JOIN jobs j ON j.id = t.job_id AND j.shown_attempt = t.attempt"
    " JOIN datasets d ON d.id = s.dataset_id WHERE list_contains(?, d.task || ':' || s.metric)"
)


def _defaults() -> list[str]:
    return [f"{task}:{metric}" for task, metric in DEFAULT_METRIC.items()]
