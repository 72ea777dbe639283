"""Sources: a foreign file of runs, staged as texts, with what its columns mean."""

from __future__ import annotations

from dataclasses import dataclass

from core.datasets.files import scratch
from core.datasets.files.tables import StagedTable
from core.errors import InputError

MAX_METRICS = 100


@dataclass(frozen=True, slots=True)
class Roles:
    """The column of each meaning, None if there is none.

    `value` is what was measured, `metric` names it, `status` says whether the run ended well, `direction` whether
    higher is better.
    """

    dataset: str | None
    candidate: str | None
    value: str | None
    fold: str | None = None
    fit_s: str | None = None
    status: str | None = None
    metric: str | None = None
    direction: str | None = None

    def columns(self) -> set[str]:
        """Return the columns that have a meaning."""
        names = (self.dataset, self.candidate, self.value, self.fold, self.fit_s, self.status, self.metric)
        return {name for name in (*names, self.direction) if name is not None}


@dataclass(frozen=True, slots=True)
class Source:
    """A file of runs, and perhaps one of meta-features, with what their columns mean."""

    name: str
    runs: StagedTable
    features: StagedTable | None  # a second file, in which `features_dataset` names the dataset
    features_dataset: str | None
    roles: Roles
    metric: str | None = None
    higher_is_better: bool | None = None
    average: bool = False  # whether rows that contradict each other are repeats
    feature_prefixes: tuple[str, ...] = ("",)  # of the columns of the runs that may be meta-features

    def key(self, column: str | None) -> str:
        """Return the staged column of the runs as SQL."""
        return "CAST(NULL AS VARCHAR)" if column is None else f"c{self.runs.names.index(column)}"

    def condition(self) -> tuple[str, dict[str, str]]:
        """Return the SQL condition for the rows of the metric, and the parameters of a query on the runs' $file."""
        parameters = {"file": str(self.runs.parquet)}
        if self.roles.metric is None:
            return "true", parameters
        return f"{self.key(self.roles.metric)} = $metric", parameters | {"metric": str(self.metric)}


def distinct(source: Source, column: str) -> tuple[str, ...]:
    """Return the values of a column of metrics, sorted. Raises InputError if there is none, or more than 100."""
    key = source.key(column)
    query = f"SELECT DISTINCT {key} FROM read_parquet(?) WHERE {key} IS NOT NULL ORDER BY 1 LIMIT {MAX_METRICS + 1}"
    with scratch.connect() as connection:
        values = tuple(row[0] for row in connection.execute(query, [str(source.runs.parquet)]).fetchall())
    if not 0 < len(values) <= MAX_METRICS:
        count = "no value" if not values else f"more than {MAX_METRICS} values"
        raise InputError(
            f"The column {column!r} of {source.name} should name the metrics, but has {count}.", value=column,
            remedy="Rename it.",
        )  # fmt: skip
    return values


def direction(source: Source) -> bool | None:
    """Return what the file's own column says of the metric: whether higher is better; None if there is no such column.

    Raises InputError if its values differ, or one is neither true nor false.
    """
    if source.roles.direction is None:
        return None
    key, (condition, parameters) = source.key(source.roles.direction), source.condition()
    query = (
        f"SELECT DISTINCT try_cast({key} AS BOOLEAN) FROM read_parquet($file) WHERE {key} IS NOT NULL AND {condition}"
    )
    with scratch.connect() as connection:
        values = [row[0] for row in connection.execute(query, parameters).fetchall()]
    if len(values) > 1 or None in values:
        raise InputError(
            f"{source.name} mixes directions: {source.roles.direction!r} is not the same true or false in all rows of"
            f" {source.metric}.",
            field="metric", value=source.metric, remedy="Import each metric by itself.",
        )  # fmt: skip
    return values[0] if values else None
