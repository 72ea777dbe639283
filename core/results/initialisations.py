"""The results of few-shot jobs: initialisations, their evaluations on held-out classes, and adaptations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import InputError
from core.events import Adapted, Evaluation, Initialised, finite
from core.queue.jobs import Job
from core.store import artifacts, database

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

PROTOCOLS = ("inductive", "transductive")
_STORED = "i.job_id, i.dataset_id, d.name AS dataset, i.algorithm, i.network, i.ways, i.shots, i.n_parameters, i.sha256"
_STORED += ", i.size_bytes, i.about, i.happened_at"
_FIELDS = [name.rpartition(".")[2].rpartition(" ")[2] for name in _STORED.split(", ")]
_SHOWN = "JOIN jobs j ON j.id = {0}.job_id AND j.shown_attempt = {0}.attempt"


@dataclass(frozen=True, slots=True)
class Initialisation:
    """A stored initialisation: its file (see `path`), and `about` as in `events.Initialised`."""

    job_id: int
    dataset_id: int
    dataset: str
    algorithm: str
    network: str
    ways: int
    shots: int
    n_parameters: int
    sha256: str
    size_bytes: int
    about: dict[str, Any]
    happened_at: float

    @property
    def path(self) -> Path:
        """The safetensors file in the store of artifacts."""
        return artifacts.locate(self.sha256)


def add(
    connection: duckdb.DuckDBPyConnection, job: Job, event: Initialised, file: tuple[str, int], happened_at: float
) -> None:
    """Save an initialisation; `file` is its sha256 and size. The last one of an attempt counts."""
    connection.execute("DELETE FROM initialisations WHERE job_id=? AND attempt=?", [job.id, job.attempt])
    row = {name: value for name, value in asdict(event).items() if name not in ("path", "about")}
    row |= {"about": json.dumps(finite(event.about)), "sha256": file[0], "size_bytes": file[1]}
    _insert(connection, "initialisations", job, row, happened_at, dataset_id=job.dataset_id)


def add_evaluation(connection: duckdb.DuckDBPyConnection, job: Job, event: Evaluation, happened_at: float) -> None:
    """Save the evaluation of an initialisation on held-out classes."""
    _insert(connection, "evaluations", job, asdict(event), happened_at, dataset_id=job.dataset_id)


def add_adaptation(connection: duckdb.DuckDBPyConnection, job: Job, event: Adapted, happened_at: float) -> None:
    """Save the result of a fine-tuning."""
    _insert(connection, "adaptations", job, {"body": json.dumps(finite(event.body))}, happened_at)


def _insert(
    connection: duckdb.DuckDBPyConnection, table: str, job: Job, row: dict[str, Any], at: float, **more: Any
) -> None:
    row = {"job_id": job.id, "attempt": job.attempt, **more, **row, "happened_at": at}
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(row.values()))


def all_initialisations() -> list[Initialisation]:
    """Return every initialisation, the newest first."""
    with database.transaction() as connection:
        rows = connection.execute(
            f"SELECT {_STORED} FROM initialisations i {_SHOWN.format('i')} JOIN datasets d ON d.id = i.dataset_id"
            " ORDER BY i.happened_at DESC"
        ).fetchall()
    return [_initialisation(row) for row in rows]


def exist() -> bool:
    """Return whether there is any initialisation; that is cheaper than reading them all."""
    with database.transaction() as connection:
        rows = connection.execute(f"SELECT 1 FROM initialisations i {_SHOWN.format('i')} LIMIT 1").fetchall()
    return bool(rows)


def get(job_id: int) -> Initialisation:
    """Return the initialisation of a meta-training. Raises InputError if the job has none."""
    with database.transaction() as connection:
        rows = connection.execute(
            f"SELECT {_STORED} FROM initialisations i {_SHOWN.format('i')} JOIN datasets d ON d.id = i.dataset_id"
            " WHERE i.job_id = ?",
            [int(job_id)],
        ).fetchall()
    if not rows:
        raise missing_error(job_id)
    return _initialisation(rows[0])


def missing_error(job_id: int) -> InputError:
    """Return the error for a job that has no initialisation."""
    return InputError(
        f"Job {job_id} has no initialisation.",
        field="initialisation",
        value=job_id,
        remedy="Choose a meta-training that has one, or leave it empty for the most similar one.",
    )


def _initialisation(row: tuple[Any, ...]) -> Initialisation:
    body = dict(zip(_FIELDS, row, strict=True))
    return Initialisation(**body | {"about": json.loads(body["about"])})


def leaderboard(
    dataset_id: int, *, ways: int | None = None, shots: int | None = None, protocol: str | None = None
) -> pd.DataFrame:
    """Return the evaluations of a dataset's meta-trainings, the best validation score first within each way and shot.

    Columns: job_id, algorithm, network, ways, shots, protocol, metric, valid, test, lower, upper (95% interval of
    test over episodes), n_episodes, adapt_s, n_parameters, happened_at, owner.
    """
    with database.transaction() as connection:
        return connection.execute(
            "SELECT e.job_id, e.algorithm, e.network, e.ways, e.shots, e.protocol, e.metric, e.valid, e.test, e.lower,"
            " e.upper, e.n_episodes, e.adapt_s, i.n_parameters, e.happened_at, j.owner"
            f" FROM evaluations e {_SHOWN.format('e')}"
            " LEFT JOIN initialisations i ON i.job_id = e.job_id AND i.attempt = e.attempt"
            " WHERE e.dataset_id = $dataset AND ($ways IS NULL OR e.ways = $ways)"
            " AND ($shots IS NULL OR e.shots = $shots) AND ($protocol IS NULL OR e.protocol = $protocol)"
            " ORDER BY e.ways, e.shots, CASE WHEN e.metric = 'mse' THEN e.valid ELSE -e.valid END, e.job_id,"
            " e.protocol",
            {"dataset": int(dataset_id), "ways": ways, "shots": shots, "protocol": protocol},
        ).df()


def evaluations_of(job_id: int) -> pd.DataFrame:
    """Return the evaluations of one job's initialisation: the table's columns, one row for each protocol."""
    with database.transaction() as connection:
        return connection.execute(
            f"SELECT e.* EXCLUDE (attempt) FROM evaluations e {_SHOWN.format('e')} WHERE e.job_id = ?"
            " ORDER BY e.protocol",
            [int(job_id)],
        ).df()


def validation_scores() -> dict[int, float]:
    """Return each job's inductive validation score: accuracy, or minus the squared error; higher is better."""
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT e.job_id, CASE WHEN e.metric = 'mse' THEN -e.valid ELSE e.valid END FROM evaluations e"
            f" {_SHOWN.format('e')} WHERE e.protocol = 'inductive'"
        ).fetchall()
    return dict(rows)


def adaptation(job_id: int) -> dict[str, Any] | None:
    """Return the result of a fine-tuning, the body of `events.Adapted`; None before it has one."""
    with database.transaction() as connection:
        rows = connection.execute(
            f"SELECT a.body FROM adaptations a {_SHOWN.format('a')} WHERE a.job_id = ? ORDER BY a.happened_at DESC"
            " LIMIT 1",
            [int(job_id)],
        ).fetchall()
    return json.loads(rows[0][0]) if rows else None


def response_time_s(job_id: int) -> float | None:
    """Return the seconds from the submission of a fine-tuning to its result; None before it has one."""
    with database.transaction() as connection:
        rows = connection.execute(
            f"SELECT max(a.happened_at) - any_value(j.created_at) FROM adaptations a {_SHOWN.format('a')}"
            " WHERE a.job_id = ?",
            [int(job_id)],
        ).fetchall()
    return rows[0][0]


def order() -> dict[str, Any]:
    """Return what a fine-tuning gets beside its spec: every initialisation and its score, as JSON-like values."""
    stored, scores = all_initialisations(), validation_scores()
    return {
        "initialisations": [asdict(one) for one in stored],
        "worths": [scores.get(one.job_id) for one in stored],
    }


def from_order(order: Mapping[str, Any]) -> tuple[list[Initialisation], list[float | None]]:
    """Return the initialisations and their scores (higher is better; None: unknown) that `order` wrote."""
    return [Initialisation(**body) for body in order["initialisations"]], list(order["worths"])


def split_sizes(n_classes: int, ways: int) -> tuple[int, int, int]:
    """Return about how many classes train, valid and test get; each has enough for a task if possible."""
    minimum = max(1, min(ways, n_classes // 3))
    test, valid = max(minimum, round(0.25 * n_classes)), max(minimum, round(0.1 * n_classes))
    return max(0, n_classes - valid - test), valid, test
