"""Reading the queue: one job by its id, the list of jobs, their counts and their history."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from core import specs
from core.errors import InputError
from core.store import database

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

Status = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
ENDED: tuple[Status, ...] = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Job:
    """A queued request; with `attempt`, one try at it.

    `event_offset` is the number of bytes of its event file that are recorded. `fraction` (0 to 1), `stage` and
    `remaining_s` (an estimate) are its progress. Times are seconds since the epoch. `environment` is JSON.
    `continues` is the job whose search this one continues.
    """

    id: int
    attempt: int
    spec_text: str
    kind: str
    dataset_id: int
    priority: int
    owner: str
    note: str
    status: Status
    cpus: int
    gpus: int
    worker_id: str | None
    event_offset: int
    fraction: float = 0.0
    stage: str | None = None
    remaining_s: float | None = None
    created_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    error: str | None = None
    cancel_requested: bool = False
    pause_requested: bool = False
    environment: str | None = None
    continues: int | None = None

    @property
    def spec(self) -> specs.Spec:
        """Return the spec. Raises InputError if this version no longer accepts it."""
        return specs.parse(self.spec_text)

    @property
    def directory(self) -> Path:
        """Return the attempt's run directory (absolute; it may not exist yet)."""
        return database.home() / "jobs" / f"{self.id}-{self.attempt}"

    @property
    def elapsed_s(self) -> float | None:
        """Return the seconds that the attempt took or has run so far; None before it started."""
        if self.started_at is None:
            return None
        end = self.finished_at or (time.time() if self.status == "running" else None)
        return None if end is None else end - self.started_at


COLUMNS = ", ".join({"spec_text": "spec"}.get(field.name, field.name) for field in fields(Job))


def get(job_id: int) -> Job:
    """Return the job with this id. Raises InputError if there is none."""
    with database.transaction() as connection:
        return read(connection, job_id)


def read(connection: duckdb.DuckDBPyConnection, job_id: int) -> Job:
    """Return the job with this id within a transaction. Raises InputError if there is none."""
    rows = connection.execute(f"SELECT {COLUMNS} FROM jobs WHERE id=?", [int(job_id)]).fetchall()
    if not rows:
        raise InputError(f"There is no job {job_id}.", remedy="The Jobs page lists all jobs.")
    return Job(*rows[0])


def running() -> list[Job]:
    """Return the running jobs of all runners."""
    with database.transaction() as connection:
        rows = connection.execute(f"SELECT {COLUMNS} FROM jobs WHERE status='running' ORDER BY id").fetchall()
    return [Job(*row) for row in rows]


def counts() -> dict[str, int]:
    """Return the number of jobs in each state. A state without jobs is left out."""
    with database.transaction() as connection:
        return dict(connection.execute("SELECT status, count(*) FROM jobs GROUP BY status").fetchall())


def overview(
    *, job_id: int | None = None, statuses: Sequence[str] = (), dataset_id: int | None = None, limit: int | None = 200
) -> pd.DataFrame:
    """Return the queue as a table: running, queued (next first), paused, then ended (newest first).

    One row a job: id, kind, dataset, note, owner, status, priority, attempt, fraction (0 to 1), stage, remaining_s,
    created_at, started_at, finished_at, elapsed_s, n_trials, error, cancel_requested, pause_requested, spec,
    environment, dataset_id, continues (the job that it continues). `limit` None: all jobs.
    """
    with database.transaction() as connection:
        return connection.execute(
            "SELECT j.id, j.kind, d.name AS dataset, j.note, j.owner, j.status, j.priority, j.attempt, j.fraction,"
            " j.stage, j.remaining_s, j.created_at, j.started_at, j.finished_at,"
            " coalesce(j.finished_at, CASE WHEN j.status='running' THEN $now END) - j.started_at AS elapsed_s,"
            " (SELECT count(*) FROM trials t WHERE t.job_id = j.id AND t.attempt = j.shown_attempt) AS n_trials,"
            " j.error, j.cancel_requested, j.pause_requested, j.spec, j.environment, j.dataset_id, j.continues"
            " FROM jobs j LEFT JOIN datasets d ON d.id = j.dataset_id"
            " WHERE ($job IS NULL OR j.id = $job) AND ($dataset IS NULL OR j.dataset_id = $dataset)"
            " AND (len($statuses) = 0 OR list_contains($statuses, j.status))"
            " ORDER BY CASE j.status WHEN 'running' THEN 0 WHEN 'queued' THEN 1 WHEN 'paused' THEN 2 ELSE 3 END,"
            " CASE WHEN j.status='queued' THEN -j.priority ELSE 0 END,"
            " CASE WHEN j.status='queued' THEN j.id ELSE -j.id END LIMIT $limit",
            {"now": time.time(), "job": job_id, "dataset": dataset_id, "statuses": list(statuses), "limit": limit},
        ).df()


def continuations(job_id: int) -> list[int]:
    """Return the ids of the jobs that continue this one, oldest first."""
    with database.transaction() as connection:
        rows = connection.execute("SELECT id FROM jobs WHERE continues=? ORDER BY id", [int(job_id)]).fetchall()
    return [row[0] for row in rows]


def history(job_id: int) -> pd.DataFrame:
    """Return every change of state of a job: attempt, status, happened_at, reason; oldest first."""
    with database.transaction() as connection:
        return connection.execute(
            "SELECT attempt, status, happened_at, reason FROM job_history WHERE job_id=? ORDER BY happened_at", [job_id]
        ).df()
