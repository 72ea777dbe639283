"""Which columns of a foreign table are meta-features, written in the form in which the store takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.datasets.files.findings import plural
from core.datasets.files.tables import StagedTable
from core.errors import InputError
from core.knowledge.sources import Source
from core.knowledge.table import FEATURE

if TYPE_CHECKING:
    import duckdb

MAX_ROWS = 2_000_000  # pairs of a dataset and a candidate, and as many values of meta-features
_MAX_LISTED = 10


@dataclass(frozen=True, slots=True)
class _Column:
    """A column as grouped by dataset: whether it holds texts or nothing, differs within a dataset, or is constant."""

    name: str
    key: str  # in the table grouped
    text: bool
    empty: bool
    differs: bool
    constant: bool

    @property
    def feature(self) -> str:
        """The name of the meta-feature."""
        return self.name.removeprefix(FEATURE).removeprefix("params.").removeprefix("tags.")


def write(connection: duckdb.DuckDBPyConnection, source: Source, file: Path) -> tuple[tuple[str, ...], list[str]]:
    """Write dataset, name, value for the datasets in the table pairs; returns the names, and notes.

    A meta-feature is a column of numbers that has one value for each dataset and not the same for all; an infinite
    value is missing. A column of a second file, or one named feature:..., must have one number for each dataset, else
    InputError is raised.
    """
    staged, dataset, prefixes = source.runs, str(source.roles.dataset), (*source.feature_prefixes, FEATURE)
    other = source.roles.columns()
    ignored = []
    if source.features is not None:
        ignored = [name for name in staged.names if name not in other]
        staged, dataset, prefixes = source.features, str(source.features_dataset), ("",)
        other = {dataset}
    names = [name for name in staged.names if name not in other and name.startswith(prefixes)]
    columns, n_described = _group(connection, staged, dataset, names)
    if source.features is not None and n_described == 0:
        raise InputError(
            f"None of the datasets in {source.name} has meta-features in the second file.", field="features",
            remedy="Write the names of the datasets alike.",
        )  # fmt: skip
    features: dict[str, _Column] = {}
    for column in columns:
        if _is_feature(source, column):
            features.setdefault(column.feature, column)  # the first column of a name
    check_size(source, n_described * len(features), "values of meta-features")
    _copy(connection, features, file)
    used = other | {column.name for column in features.values()}
    ignored += [name for name in staged.names if name not in used]
    return tuple(features), _notes(connection, len(features), ignored, n_described)


def check_size(source: Source, n: int, what: str) -> None:
    """Raise InputError for more than MAX_ROWS; `what` says what the number counts."""
    if n > MAX_ROWS:
        raise InputError(
            f"{source.name} has {n:,} {what}; the maximum is {MAX_ROWS:,}.", value=n, remedy="Leave some out."
        )


def _group(
    connection: duckdb.DuckDBPyConnection, staged: StagedTable, dataset: str, names: Sequence[str]
) -> tuple[list[_Column], int]:
    """Create the table grouped: a row per dataset with the lowest values as x0, x1, ...; return columns, row count."""
    keys = [f"c{staged.names.index(name)}" for name in names]
    numbers = "".join(f", {key}, try_cast({key} AS DOUBLE) AS v{i}" for i, key in enumerate(keys))
    parts = "".join(
        f", min(v{i}) FILTER (isfinite(v{i})) AS x{i}, max(v{i}) FILTER (isfinite(v{i})) AS high{i},"
        f" count({key}) - count(v{i}) AS n_texts{i}"
        for i, key in enumerate(keys)
    )
    connection.execute(
        f"CREATE TEMP TABLE grouped AS SELECT dataset{parts} FROM (SELECT c{staged.names.index(dataset)} AS dataset"
        f"{numbers} FROM read_parquet(?)) GROUP BY dataset HAVING dataset IN (SELECT dataset FROM pairs)",
        [str(staged.parquet)],
    )
    flags = "".join(
        f", coalesce(sum(n_texts{i}) > 0, false), max(high{i}) IS NULL, count(*) FILTER (x{i} < high{i}) > 0,"
        f" min(x{i}) IS NOT DISTINCT FROM max(high{i})"
        for i in range(len(keys))
    )
    n, *row = connection.execute(f"SELECT count(*){flags} FROM grouped").fetchall()[0]
    return [_Column(name, f"x{i}", *row[4 * i : 4 * i + 4]) for i, name in enumerate(names)], n


def _is_feature(source: Source, column: _Column) -> bool:
    explicit = column.name.startswith(FEATURE)
    if explicit and column.text:
        raise InputError(
            f"{source.name}: the meta-feature {column.name!r} holds texts.", value=column.name,
            remedy="Write numbers, or leave it out.",
        )  # fmt: skip
    if source.features is not None or explicit:
        if column.differs:
            text = f"The meta-feature {column.name!r} has several values for one dataset."
            raise InputError(text, value=column.name, remedy="Keep one.")
        return not (column.text or column.empty)
    return not (column.text or column.empty or column.differs or column.constant)


def _copy(connection: duckdb.DuckDBPyConnection, features: Mapping[str, _Column], file: Path) -> None:
    values = ", ".join(column.key for column in features.values())
    connection.execute(
        "CREATE TEMP TABLE described AS SELECT dataset, unnest($names::VARCHAR[]) AS name,"
        f" unnest([{values}]::DOUBLE[]) AS value FROM grouped ORDER BY dataset",
        {"names": list(features)},
    )
    connection.execute("COPY described TO ? (FORMAT parquet)", [str(file)])


def _notes(connection: duckdb.DuckDBPyConnection, n_names: int, ignored: Sequence[str], n_described: int) -> list[str]:
    n_datasets, n_missing = connection.execute(
        "SELECT (SELECT count(DISTINCT dataset) FROM pairs), count(*) - count(value) FROM described"
    ).fetchall()[0]
    notes = []
    if not n_names:
        notes.append(
            "No meta-features: candidates can be compared, but nothing can be predicted from these runs. Add columns"
            " of numbers that describe the dataset, or a second file with them."
        )
    elif n_described < n_datasets:
        notes.append(f"{plural(n_datasets - n_described, 'dataset has', 'datasets have')} no meta-features.")
    if n_missing:
        missing = plural(n_missing, "value of a meta-feature is", "values of meta-features are")
        notes.append(f"{missing} missing or infinite.")
    if ignored:
        more = f" and {len(ignored) - _MAX_LISTED:,} more" if len(ignored) > _MAX_LISTED else ""
        listed = ", ".join(ignored[:_MAX_LISTED])
        notes.append(f"Columns ignored, because they describe neither a run nor a dataset: {listed}{more}.")
    return notes
