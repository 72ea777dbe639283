"""The queue: submit, claim, heartbeat, cancel, pause, resume, finish, requeue.

queued -> running -> succeeded | failed | cancelled, and running -> paused -> queued for kinds of job that can go on
from a checkpoint. Every write for a running job matches (id, attempt, running), so
that a process which was given up for dead cannot overwrite its successor. Each move leaves a row in the history.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from core import datasets, specs
from core.errors import InputError
from core.queue import log, runners
from core.scoring import check_metric
from core.store import backbones, database

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

Status = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
ENDED: tuple[Status, ...] = ("succeeded", "failed", "cancelled")
RESUMABLE = ("nas", "fewshot")  # the kinds of job that leave a checkpoint, from which they go on after a pause
CONTINUABLE = ("nas",)  # those that a later job can go on from
MAX_ATTEMPTS = 3
_PRIORITIES = range(-100, 101)
_FIELDS = "id, attempt, spec, kind, dataset_id, priority, owner, note, status, cpus, gpus, worker_id, event_offset"


@dataclass(frozen=True, slots=True)
class Job:
    """A queued request; with `attempt`, one try at it. `event_offset`: bytes of its event file that are recorded."""

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

    @property
    def spec(self) -> specs.Spec:
        """What was asked. Raises InputError where this version no longer takes it."""
        return specs.parse(self.spec_text)

    @property
    def directory(self) -> Path:
        """The attempt's run directory (absolute; it may not exist yet)."""
        return database.home() / "jobs" / f"{self.id}-{self.attempt}"


def submit(spec: specs.Spec, *, priority: int = 0, user: str | None = None, reason: str = "submitted") -> int:
    """Queue a job and return its id. Higher `priority` goes first; equal ones in the order of submission.

    Raises InputError where the dataset does not exist, the spec does not fit it, or the runner's machine could never
    give what it asks for.
    """
    _check_priority(priority)
    _check_fits(spec)
    _check_slots(spec)
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
        "continues": _continued(spec),
    }
    with database.transaction(write=True) as connection:
        job_id = database.insert(connection, "jobs", row)
        _remember(connection, job_id, 1, "queued", now, reason)
    return job_id


def _check_priority(priority: int) -> None:
    if priority not in _PRIORITIES:
        raise InputError(f"priority: {priority} is out of range; use a whole number from -100 to 100.")


def _check_fits(spec: specs.Spec) -> None:
    dataset = datasets.get(spec.dataset_id)
    if spec.kind == "automl" and dataset.modality != "table":
        raise InputError(
            f"AutoML learns from tables, and {dataset.name!r} holds {dataset.modality}s: choose another kind of job "
            "or dataset."
        )
    check_metric(dataset.task, spec.metric)
    if isinstance(spec, specs.FewShotSpec):
        _check_few_shot(spec, dataset)
    elif isinstance(spec, specs.FineTuneSpec):
        _check_fine_tune(spec, dataset)
    if (old_id := _continued(spec)) is not None:
        _check_continues(get(old_id), spec.dataset_id)
    for other in getattr(spec, "starts", ()):
        if (kind := get(other).kind) != "nas":
            raise InputError(f"starts: job {other} is of kind {kind!r}; choose jobs that have searched for networks.")


def _check_few_shot(spec: specs.FewShotSpec, dataset: datasets.Dataset) -> None:
    """Raises InputError where the dataset has no tasks of that kind."""
    if dataset.task == "regression":
        columns = [column.name for column in dataset.features]
        if spec.group not in columns:
            raise InputError(
                "group: few-shot regression needs the column whose values are the tasks, "
                f"{f'and {spec.group!r} is no feature of {dataset.name!r}' if spec.group else 'and none is chosen'}. "
                f"Choose one of {', '.join(columns[:20])}."
            )
        if spec.algorithm == "ProtoNet":
            raise InputError("algorithm: ProtoNet has classes only; choose MAML, first-order MAML, ANIL or Reptile.")
    elif spec.group is not None:
        raise InputError(f"group: the classes of {dataset.name!r} are the tasks' classes; leave it empty.")
    elif len(dataset.labels) < 3 * spec.ways:
        # A third at least is left for each of train, valid and test where there are few.
        most = len(dataset.labels) // 3
        told = f"choose at most {most}" if most > 1 else "add classes: six or more"
        raise InputError(
            f"ways: train, valid and test need {spec.ways} classes each, and {dataset.name!r} has "
            f"{len(dataset.labels)} in all; {told}."
        )
    elif dataset.modality == "image":
        _check_shots(spec, dataset)
    if spec.backbone is not None:
        backbones.kept(spec.backbone)


def _check_shots(spec: specs.FewShotSpec, dataset: datasets.Dataset) -> None:
    """Raises InputError for more shots than even the largest classes can give; the engine knows of each split."""
    largest = dataset.target_column.histogram  # the counts of the commonest classes
    if len(largest) >= spec.ways and (most := largest[spec.ways - 1] - 1) < spec.shots:
        raise InputError(
            f"shots: {spec.shots} are more than {spec.ways} classes of {dataset.name!r} can give with a query left: "
            f"choose at most {max(1, most)}."
        )


def _check_fine_tune(spec: specs.FineTuneSpec, dataset: datasets.Dataset) -> None:
    """Raises InputError for an initialisation that is none, or classes that the dataset does not have."""
    if spec.initialisation is not None and get(spec.initialisation).kind != "fewshot":
        raise InputError(
            f"initialisation: job {spec.initialisation} is of another kind; choose a few-shot meta-training."
        )
    if dataset.task != "regression" and (wrong := [name for name in spec.classes if name not in dataset.labels]):
        raise InputError(
            f"classes: {wrong[0]!r} is no class of {dataset.name!r}, which has {len(dataset.labels)}, among them "
            f"{', '.join(dataset.labels[:5])}."
        )
    if dataset.task != "regression" and len(spec.classes) == 1:
        raise InputError(f"classes: {spec.classes[0]!r} alone tells nothing apart; choose 2 or more.")


def _check_slots(spec: specs.Spec) -> None:
    """Raises InputError for more than the runner's machine has; without a runner nobody knows, and all is taken."""
    if (slots := runners.slots()) is None:
        return
    cpus, gpus = slots
    most = max(cpus, type(spec).model_fields["cpus"].default)  # a job with the default runs alone on a smaller machine
    if spec.cpus > most:
        raise InputError(
            f"cpus: {spec.cpus} asked for, and the runner's machine has {cpus}; ask for {most} or fewer, or start "
            "the runner with a larger METASCOUT_CPU_SLOTS."
        )
    if spec.gpus > gpus:
        raise InputError(
            f"gpus: {spec.gpus} asked for, and the runner's machine has {gpus or 'none'}; ask for {gpus}, or start the "
            "runner where there are more."
        )


def _continued(spec: specs.Spec) -> int | None:
    return spec.continues if isinstance(spec, specs.NASSpec) else None


def _check_continues(old: Job, dataset_id: int) -> None:
    """Raises InputError where another job cannot go on from `old` on that dataset."""
    if old.kind not in CONTINUABLE:
        raise InputError(
            f"continues: job {old.id} is of kind {old.kind!r}, which another cannot go on from. Clone it instead."
        )
    if old.dataset_id != dataset_id:
        raise InputError(f"continues: job {old.id} searched another dataset; choose that one, or leave this empty.")
    if old.status == "paused":
        raise InputError(f"continues: job {old.id} is paused; resume it, with more time if you like.")
    if old.status not in ENDED:
        raise InputError(f"continues: job {old.id} is {old.status}; wait until it has ended, or cancel it.")
    with database.transaction() as connection:
        rows = connection.execute("SELECT 1 FROM metrics WHERE job_id=? LIMIT 1", [old.id]).fetchall()
    if not rows:
        raise InputError(f"continues: job {old.id} has trained nothing to go on from. Retry it instead.")


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
    _check_continues(old, old.dataset_id)
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
    but one that needs none, as it takes seconds, goes first.
    """
    if "queued" not in counts():  # reading is cheaper than writing, and an idle runner asks four times a second
        return None
    now = time.time()
    with database.transaction(write=True) as connection:
        rows = connection.execute(
            "UPDATE jobs SET status='running', worker_id=$worker, started_at=$now, heartbeat_at=$now WHERE id = ("
            " SELECT id FROM jobs WHERE status='queued' AND ($gpus IS NULL OR gpus <= $gpus)"
            " ORDER BY cpus = 0 DESC, priority DESC, id LIMIT 1)"
            " AND status='queued' AND ($cpus IS NULL OR cpus <= $cpus)"
            f" RETURNING {_FIELDS}",
            {"worker": worker_id, "now": now, "cpus": cpus, "gpus": gpus},
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
        job = _get(connection, job_id)
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
        job = _get(connection, job_id)
        if job.kind not in RESUMABLE:
            raise InputError(
                f"Job {job_id} is of kind {job.kind!r}, which cannot pause; cancel it, and retry it later."
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
        job = _get(connection, job_id)
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
        attempt = _get(connection, job_id).attempt
        _remember(connection, job_id, attempt, "queued", time.time(), f"resumed, {more}" if more else "resumed")


def _larger(spec_text: str, more: dict[str, int]) -> str:
    """The spec with a larger budget. Raises InputError where that is out of range."""
    body = json.loads(spec_text)
    for name, value in more.items():
        if value < 1:
            raise InputError(f"{name}: {value} more is no more; give a whole number from 1.")
        if body.get(name) is None:
            raise InputError(f"{name}: the job has no such limit, so there is nothing to add {value} to. Leave it out.")
        body[name] += value
    return specs.to_json(specs.parse(body))


def set_priority(job_id: int, priority: int) -> None:
    """Move a queued job in the queue. Raises InputError for a job that is not queued."""
    _check_priority(priority)
    with database.transaction(write=True) as connection:
        job = _get(connection, job_id)
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
            f"SELECT {_FIELDS} FROM jobs WHERE status='running' AND heartbeat_at < ? ORDER BY id", [now - older_than_s]
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
        return _get(connection, job.id).status
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


def get(job_id: int) -> Job:
    """The job as it stands. Raises InputError where there is none of this id."""
    with database.transaction() as connection:
        return _get(connection, job_id)


def _get(connection: duckdb.DuckDBPyConnection, job_id: int) -> Job:
    rows = connection.execute(f"SELECT {_FIELDS} FROM jobs WHERE id=?", [int(job_id)]).fetchall()
    if not rows:
        raise InputError(f"There is no job {job_id}; see the Jobs page for those there are.")
    return Job(*rows[0])


def running() -> list[Job]:
    """The jobs that are running, by any runner."""
    with database.transaction() as connection:
        rows = connection.execute(f"SELECT {_FIELDS} FROM jobs WHERE status='running' ORDER BY id").fetchall()
    return [Job(*row) for row in rows]


def counts() -> dict[str, int]:
    """How many jobs there are in each state that has any."""
    with database.transaction() as connection:
        return dict(connection.execute("SELECT status, count(*) FROM jobs GROUP BY status").fetchall())


def overview(
    *, job_id: int | None = None, statuses: Sequence[str] = (), dataset_id: int | None = None, limit: int | None = 200
) -> pd.DataFrame:
    """The queue as a table: running, then queued in their order, then paused, then ended, the newest of these first.

    One row a job: id, kind, dataset, note, owner, status, priority, attempt, fraction (0 to 1), stage, remaining_s,
    created_at, started_at, finished_at, elapsed_s, n_trials, error, cancel_requested, pause_requested, spec,
    environment, dataset_id, continues (the job that it goes on from). `limit` None: all of them.
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
    """Ids of the jobs that go on from where this one stopped, in their order."""
    with database.transaction() as connection:
        rows = connection.execute("SELECT id FROM jobs WHERE continues=? ORDER BY id", [int(job_id)]).fetchall()
    return [row[0] for row in rows]


def history(job_id: int) -> pd.DataFrame:
    """Every move of a job: attempt, status, happened_at, reason; oldest first."""
    with database.transaction() as connection:
        return connection.execute(
            "SELECT attempt, status, happened_at, reason FROM job_history WHERE job_id=? ORDER BY happened_at", [job_id]
        ).df()
