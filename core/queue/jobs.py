"""The queue: submit, claim, heartbeat, cancel, pause, resume, finish, requeue.

queued -> running -> succeeded | failed | cancelled, and running -> paused -> queued for kinds of job that can resume
from a checkpoint. Every write for a running job matches (id, attempt, running), so that a process which was given up
for dead cannot overwrite its successor. Each move leaves a row in the history.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from core import datasets, kinds, specs
from core.errors import InputError
from core.queue import checks, log
from core.queue.job import (
    COLUMNS,
    ENDED,
    Job,
    Status,
    continuations,
    counts,
    get,
    history,
    overview,
    read,
    running,
)
from core.store import database

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "ENDED", "Job", "Status", "accept", "cancel_requests", "claim", "continuations", "counts", "extend", "finish",
    "get", "heartbeat", "history", "overview", "pause_requests", "request_cancel", "request_pause", "requeue",
    "requeue_stale", "resume", "retry", "running", "set_environment", "set_priority", "set_progress", "show_attempt",
    "submit",
]  # fmt: skip

MAX_ATTEMPTS = 3


def submit(spec: specs.Spec, *, priority: int = 0, user: str | None = None, reason: str = "submitted") -> int:
    """Queue a job and return its id. Higher `priority` goes first; equal ones in the order of submission.

    Raises InputError where the dataset does not exist, the spec does not fit it, or the runner's machine could never
    give what it asks for.
    """
    checks.check_priority(priority)
    checks.check_spec(spec, datasets.get(spec.dataset_id))
    checks.check_slots(spec)
    now = time.time()
    row = {
        "kind": spec.kind,
        "spec": specs.to_json(spec),
        "dataset_id": spec.dataset_id,
        "note": spec.note,
        "owner": user or "local",
        "status": "queued",
        "priority": priority,
        "cpus": spec.cpus,
        "gpus": spec.gpus,
        "attempt": 1,
        "max_attempts": MAX_ATTEMPTS,
        "created_at": now,
        "shown_attempt": 1,
        "continues": getattr(spec, "continues", None),
    }
    with database.transaction(write=True) as connection:
        job_id = database.insert(connection, "jobs", row)
        _remember(connection, job_id, 1, "queued", now, reason)
    return job_id


def extend(
    job_id: int,
    *,
    more_s: int | None = None,
    more_candidates: int | None = None,
    more_candidate_epochs: int | None = None,
    user: str | None = None,
) -> int:
    """Queue a new job that goes on from where an ended one stopped, and return its id; the old job stays as it is.

    What is not given is as much again as the old job had. Raises InputError where the old job has not ended or left
    nothing to go on from.
    """
    old = get(job_id)
    checks.check_continued(old, old.dataset_id)
    given = _given(more_s, more_candidates, more_candidate_epochs)
    spec = specs.parse({**json.loads(old.spec_text), **given, "continues": job_id})
    return submit(spec, priority=old.priority, user=user, reason=f"continues job {job_id}")


def _given(more_s: int | None, more_candidates: int | None, more_candidate_epochs: int | None) -> dict[str, int]:
    """The fields of the spec that are asked for."""
    named = {"budget_s": more_s, "max_candidates": more_candidates, "max_candidate_epochs": more_candidate_epochs}
    return {name: value for name, value in named.items() if value is not None}


def retry(job_id: int, *, user: str | None = None) -> int:
    """Queue the same spec again as a new job, and return its id; the old job and its results stay."""
    old = get(job_id)
    return submit(old.spec, priority=old.priority, user=user, reason=f"retry of job {job_id}")


def claim(worker_id: str, *, cpus: int | None = None, gpus: int | None = None) -> Job | None:
    """Take the next queued job, or None. `cpus` and `gpus` are what is free (None: any will do).

    A job that needs more cores than are free holds back those behind it, so that small jobs cannot starve a large one;
    but one of an immediate kind takes no slot, and goes first.
    """
    if "queued" not in counts():  # reading is cheaper than writing, and an idle runner asks four times a second
        return None
    now = time.time()
    with database.transaction(write=True) as connection:
        rows = connection.execute(
            "UPDATE jobs SET status='running', worker_id=$worker, started_at=$now, heartbeat_at=$now WHERE id = ("
            " SELECT id FROM jobs WHERE status='queued' AND ($gpus IS NULL OR gpus <= $gpus)"
            " ORDER BY list_contains($immediate, kind) DESC, priority DESC, id LIMIT 1)"
            " AND status='queued' AND ($cpus IS NULL OR cpus <= $cpus OR list_contains($immediate, kind))"
            f" RETURNING {COLUMNS}",
            {"worker": worker_id, "now": now, "cpus": cpus, "gpus": gpus, "immediate": kinds.immediate()},
        ).fetchall()
        if not rows:
            return None
        job = Job(*rows[0])
        _remember(connection, job.id, job.attempt, "running", now, f"claimed by {worker_id}")
    return job


def heartbeat(job: Job) -> bool:
    """Say that this attempt is alive; False when it is no longer the running one and must stop."""
    with database.transaction(write=True) as connection:
        rows = connection.execute(
            "UPDATE jobs SET heartbeat_at=? WHERE id=? AND attempt=? AND status='running' RETURNING id",
            [time.time(), job.id, job.attempt],
        ).fetchall()
    return bool(rows)


def finish(job: Job, status: Status, error: str | None = None) -> bool:
    """End this attempt, or pause it; False when it is no longer the running one (nothing is changed then).

    A job that has paused and was asked to stop meanwhile is cancelled.
    """
    if status not in (*ENDED, "paused"):
        raise ValueError(f"a job ends as one of {ENDED} or is paused, not {status!r}")
    now = time.time()
    with database.transaction(write=True) as connection:
        rows = connection.execute(
            "UPDATE jobs SET error=$error, finished_at=$now, remaining_s=NULL,"
            " status = CASE WHEN $status='paused' AND cancel_requested THEN 'cancelled' ELSE $status END,"
            " fraction = CASE WHEN $status='succeeded' THEN 1 ELSE fraction END"
            " WHERE id=$id AND attempt=$attempt AND status='running' RETURNING status",
            {"status": status, "error": error, "now": now, "id": job.id, "attempt": job.attempt},
        ).fetchall()
        if rows:
            _remember(connection, job.id, job.attempt, rows[0][0], now, error)
    return bool(rows)


def request_cancel(job_id: int) -> Status:
    """Ask for a job to stop and return its state: a running one stops soon, one that waits is cancelled at once.

    Raises InputError where there is no such job or it has ended.
    """
    now = time.time()
    with database.transaction(write=True) as connection:
        job = read(connection, job_id)
        if job.status in ENDED:
            raise InputError(f"Job {job_id} has ended already ({job.status}); there is nothing to cancel.")
        if job.status != "running":
            connection.execute(
                "UPDATE jobs SET status='cancelled', cancel_requested=true, finished_at=? WHERE id=?", [now, job_id]
            )
            _remember(connection, job_id, job.attempt, "cancelled", now, f"cancelled while it was {job.status}")
            return "cancelled"
        connection.execute("UPDATE jobs SET cancel_requested=true WHERE id=?", [job_id])
        log.add(connection, job_id, job.attempt, [(now, "info", "The job was asked to stop.")])
    return "running"


def cancel_requests() -> set[int]:
    """Ids of the running jobs that a user wants to stop."""
    with database.transaction() as connection:
        rows = connection.execute("SELECT id FROM jobs WHERE status='running' AND cancel_requested").fetchall()
    return {row[0] for row in rows}


def request_pause(job_id: int) -> Status:
    """Ask for a job to pause and return its state: a queued one is paused at once, a running one writes a checkpoint.

    Raises InputError where there is no such job, it neither waits nor runs, or its kind has no checkpoint.
    """
    now = time.time()
    with database.transaction(write=True) as connection:
        job = read(connection, job_id)
        if not kinds.of(job.kind).resumable:
            raise InputError(
                f"Job {job_id} is of kind {job.kind!r}, which cannot pause.", remedy="Cancel it, and retry it later."
            )
        if job.status not in ("queued", "running"):
            raise InputError(f"Job {job_id} is {job.status}; only a job that waits or runs can pause.")
        if job.status == "queued":
            connection.execute("UPDATE jobs SET status='paused' WHERE id=?", [job_id])
            _remember(connection, job_id, job.attempt, "paused", now, "paused while it was queued")
            return "paused"
        connection.execute("UPDATE jobs SET pause_requested=true WHERE id=?", [job_id])
        log.add(connection, job_id, job.attempt, [(now, "info", "The job was asked to pause.")])
    return "running"


def pause_requests() -> set[int]:
    """Ids of the running jobs that a user wants to pause."""
    with database.transaction() as connection:
        rows = connection.execute("SELECT id FROM jobs WHERE status='running' AND pause_requested").fetchall()
    return {row[0] for row in rows}


def resume(
    job_id: int,
    *,
    more_s: int | None = None,
    more_candidates: int | None = None,
    more_candidate_epochs: int | None = None,
) -> None:
    """Queue a paused job again: its next attempt goes on from the checkpoint, with a larger budget where one is given.

    Raises InputError where it is not paused, or the budget would be out of range.
    """
    given = _given(more_s, more_candidates, more_candidate_epochs)
    with database.transaction(write=True) as connection:
        job = read(connection, job_id)
        if job.status != "paused":
            raise InputError(f"Job {job_id} is {job.status}; only a paused job can be resumed.")
        # One that was paused before it began has no attempt to go on from; else the user's pause is nobody's fault.
        connection.execute(
            "UPDATE jobs SET status='queued', spec=?, pause_requested=false, worker_id=NULL, heartbeat_at=NULL,"
            " attempt = attempt + (started_at IS NOT NULL)::INT, event_offset=0, stage=NULL, finished_at=NULL,"
            " max_attempts = max_attempts + (started_at IS NOT NULL)::INT, started_at=NULL, error=NULL WHERE id=?",
            [_larger(job.spec_text, given) if given else job.spec_text, job_id],
        )
        more = ", ".join(f"{name} {value:+,}" for name, value in given.items())
        attempt = read(connection, job_id).attempt
        _remember(connection, job_id, attempt, "queued", time.time(), f"resumed, {more}" if more else "resumed")


def _larger(spec_text: str, more: dict[str, int]) -> str:
    """The spec with a larger budget. Raises InputError where that is out of range."""
    body = json.loads(spec_text)
    for name, value in more.items():
        if value < 1:
            raise InputError(f"{value} more is not possible.", field=name, value=value, remedy="Use at least 1.")
        if body.get(name) is None:
            raise InputError(
                f"The job has no such limit, so {value} cannot be added to it.",
                field=name, value=value, remedy="Leave it out.",
            )  # fmt: skip
        body[name] += value
    return specs.to_json(specs.parse(body))


def set_priority(job_id: int, priority: int) -> None:
    """Move a queued job in the queue. Raises InputError for a job that is not queued."""
    checks.check_priority(priority)
    with database.transaction(write=True) as connection:
        job = read(connection, job_id)
        if job.status != "queued":
            raise InputError(f"Job {job_id} is {job.status}; only a queued job's priority can change.")
        connection.execute("UPDATE jobs SET priority=? WHERE id=?", [priority, job_id])


def accept(connection: duckdb.DuckDBPyConnection, job: Job, now: float, offset: int | None) -> bool:
    """Note a heartbeat and how far the event file is read; False where this attempt is no longer the running one."""
    rows = connection.execute(
        "UPDATE jobs SET heartbeat_at=?, event_offset=coalesce(?, event_offset)"
        " WHERE id=? AND attempt=? AND status='running' RETURNING id",
        [now, offset, job.id, job.attempt],
    ).fetchall()
    return bool(rows)


def show_attempt(connection: duckdb.DuckDBPyConnection, job: Job) -> None:
    """Let the job show the results of this attempt from now on."""
    connection.execute("UPDATE jobs SET shown_attempt=? WHERE id=?", [job.attempt, job.id])


def set_progress(
    connection: duckdb.DuckDBPyConnection, job: Job, fraction: float, stage: str, remaining_s: float | None
) -> None:
    """Save how far a job is: a fraction from 0 to 1, what it does, and the seconds that it still needs."""
    connection.execute(
        "UPDATE jobs SET fraction=?, stage=?, remaining_s=? WHERE id=?", [fraction, stage, remaining_s, job.id]
    )


def set_environment(connection: duckdb.DuckDBPyConnection, job: Job, facts: str) -> None:
    """Save where a job runs, as JSON."""
    connection.execute("UPDATE jobs SET environment=? WHERE id=?", [facts, job.id])


def requeue(job: Job, reason: str, *, blame: bool = True) -> Status:
    """Give up this attempt: queued again as the next one, or failed after the last; cancelled or paused if asked for.

    Without `blame` the attempt does not count towards the last: it was the runner that stopped.
    """
    with database.transaction(write=True) as connection:
        if not blame:
            connection.execute(
                "UPDATE jobs SET max_attempts=max_attempts+1 WHERE id=? AND attempt=? AND status='running'",
                [job.id, job.attempt],
            )
        return _requeue(connection, job, reason, time.time())


def requeue_stale(older_than_s: float, *, now: float | None = None) -> list[int]:
    """Requeue every running job whose last heartbeat is older than `older_than_s` seconds; returns their ids."""
    now = time.time() if now is None else now
    with database.transaction(write=True) as connection:
        rows = connection.execute(
            f"SELECT {COLUMNS} FROM jobs WHERE status='running' AND heartbeat_at < ? ORDER BY id", [now - older_than_s]
        ).fetchall()
        for row in rows:
            _requeue(connection, Job(*row), f"no sign of life for {older_than_s:g} s", now)
    return [row[0] for row in rows]


def _requeue(connection: duckdb.DuckDBPyConnection, job: Job, reason: str, now: float) -> Status:
    rows = connection.execute(
        "SELECT cancel_requested, pause_requested, max_attempts FROM jobs"
        " WHERE id=? AND attempt=? AND status='running'",
        [job.id, job.attempt],
    ).fetchall()
    if not rows:
        return read(connection, job.id).status
    cancelled, paused, max_attempts = rows[0]
    last = job.attempt >= max_attempts
    status: Status = "cancelled" if cancelled else "failed" if last else "paused" if paused else "queued"
    if status == "queued":
        connection.execute(
            "UPDATE jobs SET status='queued', attempt=attempt+1, worker_id=NULL, started_at=NULL, heartbeat_at=NULL,"
            " fraction=0, stage=NULL, remaining_s=NULL, event_offset=0 WHERE id=?",
            [job.id],
        )
        _remember(connection, job.id, job.attempt + 1, "queued", now, reason)
        return status
    error = f"{reason} (attempt {job.attempt} of {max_attempts})" if status == "failed" else None
    connection.execute(
        "UPDATE jobs SET status=?, error=?, finished_at=?, remaining_s=NULL WHERE id=?", [status, error, now, job.id]
    )
    _remember(connection, job.id, job.attempt, status, now, reason)
    return status


def _remember(
    connection: duckdb.DuckDBPyConnection, job_id: int, attempt: int, status: str, now: float, reason: str | None
) -> None:
    connection.execute("INSERT INTO job_history VALUES (?, ?, ?, ?, ?)", [job_id, attempt, status, now, reason])
