"""Recording the events of jobs: a batch in one transaction, with one function for each kind of event."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import events as e
from core import metafeatures
from core.errors import InputError
from core.events import Event, finite
from core.queue import jobs, log
from core.queue.jobs import Job
from core.results import initialisations
from core.store import artifacts, database

if TYPE_CHECKING:
    import duckdb

    Connection = duckdb.DuckDBPyConnection

Stamped = list[tuple[Any, float]]  # events of one kind with their times, in their order
File = tuple[str, int]  # sha256 and bytes of a stored file

# A job shows the last attempt that has reported one of these.
_RESULTS = (e.Metric, e.TrialDone, e.Architecture, e.PolicyPoint, e.Initialised, e.Evaluation, e.Adapted)


def record(
    job: Job, events: Iterable[Event], *, times: Sequence[float] | None = None, offset: int | None = None
) -> bool:
    """Save a batch of events, all of it or nothing. Return False if this is no longer the running attempt.

    `times` are the times of the events (seconds since the epoch; default: now). `offset` is the position in the event
    file after this batch. It is saved in the same transaction: no event is recorded twice.
    """
    now, events = time.time(), list(events)
    stamped: Stamped = list(zip(events, times or [now] * len(events), strict=True))
    files, warnings = _store_files(events)
    stamped += [(warning, now) for warning in warnings]
    # An artifact without its file is only a warning.
    stamped = [(event, at) for event, at in stamped if not isinstance(event, _WITH_FILES) or event.path in files]
    with database.transaction(write=True) as connection:
        if not jobs.accept_events(connection, job, now, offset):
            return False
        if any(isinstance(event, _RESULTS) for event, _ in stamped):
            jobs.show_attempt(connection, job)
        for kind, save in _SAVE.items():
            if batch := [(event, at) for event, at in stamped if isinstance(event, kind)]:
                save(connection, job, batch, files)
    return True


def _store_files(events: list[Event]) -> tuple[dict[str, File], list[e.Message]]:
    """Store the files of events. Return them by path, and a warning for each missing file."""
    files: dict[str, File] = {}
    warnings = []
    for event in events:
        if isinstance(event, _WITH_FILES):
            try:
                files[event.path] = artifacts.store(Path(event.path))
            except InputError as error:
                warnings.append(e.Message(str(error), "warning"))
    return files, warnings


def _progress(connection: Connection, job: Job, stamped: Stamped, files: dict[str, File]) -> None:
    last = stamped[-1][0]
    jobs.set_progress(connection, job, min(1.0, max(0.0, last.fraction)), last.stage, last.remaining_s)


def _environment(connection: Connection, job: Job, stamped: Stamped, files: dict[str, File]) -> None:
    jobs.set_environment(connection, job, json.dumps(finite(stamped[-1][0].facts)))


def _messages(connection: Connection, job: Job, stamped: Stamped, files: dict[str, File]) -> None:
    log.add(connection, job.id, job.attempt, [(at, event.level, event.text) for event, at in stamped])


def _metrics(connection: Connection, job: Job, stamped: Stamped, files: dict[str, File]) -> None:
    rows = [(m.candidate, m.name, m.step, m.value, at) for m, at in stamped]
    _insert_all(connection, "metrics", job, rows, ("VARCHAR", "VARCHAR", "BIGINT", "DOUBLE", "DOUBLE"))


def _policy(connection: Connection, job: Job, stamped: Stamped, files: dict[str, File]) -> None:
    rows = [(p.source, p.decision, p.option, p.step, p.probability, at) for p, at in stamped]
    types = ("VARCHAR", "VARCHAR", "VARCHAR", "BIGINT", "DOUBLE", "DOUBLE")
    _insert_all(connection, "policy_points", job, rows, types)


def _architectures(connection: Connection, job: Job, stamped: Stamped, files: dict[str, File]) -> None:
    rows = [(event.candidate, json.dumps(finite(event.layers)), at) for event, at in stamped]
    _insert_all(connection, "architectures", job, rows, ("VARCHAR", "VARCHAR", "DOUBLE"))


def _landmarkers(connection: Connection, job: Job, stamped: Stamped, files: dict[str, File]) -> None:
    for event, _ in stamped:
        metafeatures.save(connection, job.dataset_id, event.values)


def _trials(connection: Connection, job: Job, stamped: Stamped, files: dict[str, File]) -> None:
    plain = ("candidate", "algorithm", "yardstick", "metric", "fit_s", "predict_row_s", "size_bytes", "n_parameters")
    for trial, happened_at in stamped:
        row = {
            "job_id": job.id,
            "attempt": job.attempt,
            "dataset_id": job.dataset_id,
            "engine": job.kind,
            "happened_at": happened_at,
            "params": json.dumps(finite(trial.params)),
            "details": json.dumps(finite(trial.details)),
            **{name: getattr(trial, name) for name in plain},
        }
        trial_id = database.insert(connection, "trials", row)
        for s in trial.scores:
            connection.execute(
                "INSERT INTO scores VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [trial_id, job.dataset_id, s.metric, s.valid, s.test, s.lower, s.upper, s.valid_error, s.test_error],
            )


def _artifacts(connection: Connection, job: Job, stamped: Stamped, files: dict[str, File]) -> None:
    for file, happened_at in stamped:
        connection.execute(
            "INSERT INTO artifacts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [job.id, job.attempt, file.candidate, file.name, file.kind, *files[file.path], happened_at],
        )


def _initialisations(connection: Connection, job: Job, stamped: Stamped, files: dict[str, File]) -> None:
    for event, happened_at in stamped:
        initialisations.add(connection, job, event, files[event.path], happened_at)


def _evaluations(connection: Connection, job: Job, stamped: Stamped, files: dict[str, File]) -> None:
    for event, happened_at in stamped:
        initialisations.add_evaluation(connection, job, event, happened_at)


def _adaptations(connection: Connection, job: Job, stamped: Stamped, files: dict[str, File]) -> None:
    for event, happened_at in stamped:
        initialisations.add_adaptation(connection, job, event, happened_at)


def _insert_all(
    connection: Connection, table: str, job: Job, rows: list[tuple[Any, ...]], types: tuple[str, ...]
) -> None:
    """Insert many rows in one statement."""
    columns = ", ".join(f"unnest(?::{kind}[])" for kind in types)
    connection.execute(
        f"INSERT INTO {table} SELECT ?, ?, {columns}", [job.id, job.attempt, *map(list, zip(*rows, strict=True))]
    )


_WITH_FILES = (e.Artifact, e.Initialised)
_SAVE: dict[type, Callable[[Connection, Job, Stamped, dict[str, File]], None]] = {
    e.Progress: _progress,
    e.Environment: _environment,
    e.Message: _messages,
    e.Metric: _metrics,
    e.PolicyPoint: _policy,
    e.Architecture: _architectures,
    e.Landmarkers: _landmarkers,
    e.TrialDone: _trials,
    e.Artifact: _artifacts,
    e.Initialised: _initialisations,
    e.Evaluation: _evaluations,
    e.Adapted: _adaptations,
}
