"""The queue: submit, claim, heartbeat, cancel, pause, resume, finish, requeue.

queued -> running -> succeeded | failed | cancelled, and running -> paused -> queued for kinds of job that can resume
from a checkpoint. Every write for a running job matches (id, attempt, running): a process that was considered dead
cannot overwrite its successor. Each change of state adds a row to the history.
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
    "ENDED", "Job", "Status", "accept_events", "cancel_requests", "claim", "continuations", "counts", "extend",
    "finish", "get", "heartbeat", "history", "overview", "pause_requests", "request_cancel", "request_pause",
    "requeue", "requeue_stale", "resume", "retry", "running", "set_environment", "set_priority", "set_progress",
    "show_attempt", "submit",
]  # fmt: skip

MAX_ATTEMPTS = 3


def submit(spec: specs.Spec, *, priority: int = 0, user: str | None = None, reason: str = "submitted") -> int:
    """Queue a job and return its id. A higher `priority` goes first; equal priorities go in the order of submission.

    Raises InputError if the dataset does not exist, the spec does not fit it, or the job needs more threads or GPUs
    than the runner's machine has.
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
        _add_history(connection, job_id, 1, "queued", now, reason)
    return job_id


def extend(
    job_id: int,
    *,
    more_s: int | None = None,
    more_candidates: int | None = None,
    more_candidate_epochs: int | None = None,
    user: str | None = None,
) -> int:
    """Queue a new job that continues an ended one, and return its id. The old job does not change.

    A budget that is None is the same as that of the old job. Raises InputError if the old job has not ended or has
    no candidate to continue.
    """
    old = get(job_id)
    checks.check_continued(old, old.dataset_id)
    more = _budget(more_s, more_candidates, more_candidate_epochs)
    spec = specs.parse({**json.loads(old.spec_text), **more, "continues": job_id})
    return submit(spec, priority=old.priority, user=user, reason=f"continues job {job_id}")


def _budget(more_s: int | None, more_candidates: int | None, more_candidate_epochs: int | None) -> dict[str, int]:
    """Return the values that are not None, by the name of their field in the spec."""
    named = {"budget_s": more_s, "max_candidates": more_candidates, "max_candidate_epochs": more_candidate_epochs}
    return {name: value for name, value in named.items() if value is not None}


def retry(job_id: int, *, user: str | None = None) -> int:
    """Queue the same spec as a new job, and return its id. The old job and its results stay."""
    old = get(job_id)
    return submit(old.spec, priority=old.priority, user=user, reason=f"retry of job {job_id}")


def claim(worker_id: str, *, cpus: int | None = None, gpus: int | None = None) -> Job | None:
    """Claim and return the next queued job, or None. `cpus` and `gpus` are the free slots (None: no limit).

    A job that needs more threads than are free holds back the jobs behind it: small jobs cannot starve a large one.
    A job of an immediate kind takes no slot and goes first.
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
        _add_history(connection, job.id, job.attempt, "running", now, f"claimed by {worker_id}")
    return job


def heartbeat(job: Job) -> bool:
    """Save that this attempt is alive. Return False if it is no longer the running attempt and must stop."""
    with database.transaction(write=True) as connection:
        rows = connection.execute(
            "UPDATE jobs SET heartbeat_at=? WHERE id=? AND attempt=? AND status='running' RETURNING id",
            [time.time(), job.id, job.attempt],
        ).fetchall()
    return bool(rows)


def finish(job: Job, status: Status, error: str | None = None) -> bool:
    """End or pause this attempt. Return False, and change nothing, if it is no longer the running attempt.

    A job that has paused is cancelled if the user has since asked for it.
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
            _add_history(connection, job.id, job.attempt, rows[0][0], now, error)
    return bool(rows)


def request_cancel(job_id: int) -> Status:
    """Request that a job stops, and return its state. A queued or paused job is cancelled at once.

    Raises InputError if there is no such job or it has ended.
    """
    now = time.time()
    with database.transaction(write=True) as connection:
        job = read(connection, job_id)
        if job.status in ENDED:
            raise InputError(f"Job {job_id} has already ended ({job.status}); there is nothing to cancel.")
        if job.status != "running":
            connection.execute(
                "UPDATE jobs SET status='cancelled', cancel_requested=true, finished_at=? WHERE id=?", [now, job_id]
            )
            _add_history(connection, job_id, job.attempt, "cancelled", now, f"cancelled while it was {job.status}")
            return "cancelled"
        connection.execute("UPDATE jobs SET cancel_requested=true WHERE id=?", [job_id])
        log.add(connection, job_id, job.attempt, [(now, "info", "The job was asked to stop.")])
    return "running"


def cancel_requests() -> set[int]:
    """Return the ids of the running jobs that a user wants to stop."""
    with database.transaction() as connection:
        rows = connection.execute("SELECT id FROM jobs WHERE status='running' AND cancel_requested").fetchall()
    return {row[0] for row in rows}


def request_pause(job_id: int) -> Status:
    """Request that a job pauses, and return its state. A queued job is paused at once, a running one at a checkpoint.

    Raises InputError if there is no such job, it is neither queued nor running, or its kind has no checkpoint.
    """
    now = time.time()
    with database.transaction(write=True) as connection:
        job = read(connection, job_id)
        if not kinds.of(job.kind).resumable:
            raise InputError(
                f"Job {job_id} is of kind {job.kind!r}, which cannot pause.", remedy="Cancel it, and retry it later."
            )
        if job.status not in ("queued", "running"):
            raise InputError(f"Job {job_id} is {job.status}; only a queued or running job can be paused.")
        if job.status == "queued":
            connection.execute("UPDATE jobs SET status='paused' WHERE id=?", [job_id])
            _add_history(connection, job_id, job.attempt, "paused", now, "paused while it was queued")
            return "paused"
        connection.execute("UPDATE jobs SET pause_requested=true WHERE id=?", [job_id])
        log.add(connection, job_id, job.attempt, [(now, "info", "The job was asked to pause.")])
    return "running"


def pause_requests() -> set[int]:
    """Return the ids of the running jobs that a user wants to pause."""
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
    """Queue a paused job again: its next attempt resumes from the checkpoint, with a larger budget if one is given.

    Raises InputError if the job is not paused or the new budget is out of range.
    """
    more = _budget(more_s, more_candidates, more_candidate_epochs)
    with database.transaction(write=True) as connection:
        job = read(connection, job_id)
        if job.status != "paused":
            raise InputError(f"Job {job_id} is {job.status}; only a paused job can be resumed.")
        # A job that was paused before it started keeps its attempt. A pause does not count towards the maximum.
        connection.execute(
            "UPDATE jobs SET status='queued', spec=?, pause_requested=false, worker_id=NULL, heartbeat_at=NULL,"
            " attempt = attempt + (started_at IS NOT NULL)::INT, event_offset=0, stage=NULL, finished_at=NULL,"
            " max_attempts = max_attempts + (started_at IS NOT NULL)::INT, started_at=NULL, error=NULL WHERE id=?",
            [_add_budget(job.spec_text, more) if more else job.spec_text, job_id],
        )
        reason = ", ".join(["resumed", *(f"{name} {value:+,}" for name, value in more.items())])
        attempt = read(connection, job_id).attempt
        _add_history(connection, job_id, attempt, "queued", time.time(), reason)


def _add_budget(spec_text: str, more: dict[str, int]) -> str:
    """Return the spec with a larger budget. Raises InputError if that is out of range."""
    body = json.loads(spec_text)
    for name, value in more.items():
        if value < 1:
            raise InputError(f"{value} cannot be added.", field=name, value=value, remedy="Use at least 1.")
        if body.get(name) is None:
            raise InputError(
                f"The job has no such limit, and {value} cannot be added.",
                field=name, value=value, remedy="Leave it out.",
            )  # fmt: skip
        body[name] += value
    return specs.to_json(specs.parse(body))


def set_priority(job_id: int, priority: int) -> None:
    """Change the priority of a queued job. Raises InputError if the job is not queued."""
    checks.check_priority(priority)
    with database.transaction(write=True) as connection:
        job = read(connection, job_id)
        if job.status != "queued":
            raise InputError(f"Job {job_id} is {job.status}; only a queued job can change its priority.")
        connection.execute("UPDATE jobs SET priority=? WHERE id=?", [priority, job_id])


def accept_events(connection: duckdb.DuckDBPyConnection, job: Job, now: float, offset: int | None) -> bool:
    """Save a heartbeat and the offset in the event file. Return False if this is no longer the running attempt."""
    rows = connection.execute(
        "UPDATE jobs SET heartbeat_at=?, event_offset=coalesce(?, event_offset)"
        " WHERE id=? AND attempt=? AND status='running' RETURNING id",
        [now, offset, job.id, job.attempt],
    ).fetchall()
    return bool(rows)


def show_attempt(connection: duckdb.DuckDBPyConnection, job: Job) -> None:
    """Show the results of this attempt as those of the job."""
    connection.execute("UPDATE jobs SET shown_attempt=? WHERE id=?", [job.attempt, job.id])


def set_progress(
    connection: duckdb.DuckDBPyConnection, job: Job, fraction: float, stage: str, remaining_s: float | None
) -> None:
    """Save the progress of a job: a fraction from 0 to 1, its stage, and the estimated seconds that remain."""
    connection.execute(
        "UPDATE jobs SET fraction=?, stage=?, remaining_s=? WHERE id=?", [fraction, stage, remaining_s, job.id]
    )


def set_environment(connection: duckdb.DuckDBPyConnection, job: Job, facts: str) -> None:
    """Save the environment of a job, as JSON."""
    connection.execute("UPDATE jobs SET environment=? WHERE id=?", [facts, job.id])


def requeue(job: Job, reason: str, *, counts: bool = True) -> Status:
    """End this attempt and queue the next one; return the new state of the job.

    The job fails after its last attempt, and it is cancelled or paused if the user has asked for that. `counts` is
    False if the runner is the cause: the attempt then does not count towards the maximum.
    """
    with database.transaction(write=True) as connection:
        if not counts:
            connection.execute(
                "UPDATE jobs SET max_attempts=max_attempts+1 WHERE id=? AND attempt=? AND status='running'",
                [job.id, job.attempt],
            )
        return _requeue(connection, job, reason, time.time())


def requeue_stale(older_than_s: float, *, now: float | None = None) -> list[int]:
    """Requeue every running job whose last heartbeat is older than `older_than_s` seconds. Return their ids."""
    now = time.time() if now is None else now
    with database.transaction(write=True) as connection:
        rows = connection.execute(
            f"SELECT {COLUMNS} FROM jobs WHERE status='running' AND heartbeat_at < ? ORDER BY id", [now - older_than_s]
        ).fetchall()
        for row in rows:
            _requeue(connection, Job(*row), f"no heartbeat for {older_than_s:g} s", now)
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
        _add_history(connection, job.id, job.attempt + 1, "queued", now, reason)
        return status
    error = f"{reason} (attempt {job.attempt} of {max_attempts})" if status == "failed" else None
    connection.execute(
        "UPDATE jobs SET status=?, error=?, finished_at=?, remaining_s=NULL WHERE id=?", [status, error, now, job.id]
    )
    _add_history(connection, job.id, job.attempt, status, now, reason)
    return status


def _add_history(
    connection: duckdb.DuckDBPyConnection, job_id: int, attempt: int, status: str, now: float, reason: str | None
) -> None:
    connection.execute("INSERT INTO job_history VALUES (?, ?, ?, ?, ?)", [job_id, attempt, status, now, reason])
