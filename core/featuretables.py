"""Feature tables: which columns of a foreign file are meta-features, and their values one a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core import roles
from core.errors import InputError
from core.roles import FEATURE, Source
from core.tables import Staged, counted

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True, slots=True)
class _Column:
    """A column as grouped by dataset: whether it holds texts or nothing, differs within a dataset, or never."""

    name: str
    number: int  # in the table grouped
    text: bool
    empty: bool
    differs: bool
    constant: bool


def write(connection: duckdb.DuckDBPyConnection, source: Source, file: Path) -> tuple[tuple[str, ...], list[str], int]:
    """Write dataset, name, value of the datasets in the table pairs; returns the names, notes, and how many values.

    A meta-feature is a column of numbers that says one thing of each dataset; an infinite value is missing. Raises
    InputError where a column that must be one (of a second file, or called feature:...) is not.
    """
    staged, dataset = source.runs, str(source.roles.dataset)
    known = source.roles.columns()
    if source.features is not None:
        staged = source.features
        dataset = roles.dataset_column(str(source.features_name), staged.names, dataset)
        known = {dataset, "repetition"} if source.aslib else {dataset}
    columns = _grouped(connection, staged, dataset, [n for n in staged.names if n not in known and _may_be(source, n)])
    taken = [column for column in columns if _is_feature(source, column)]
    n_without = _n_without(connection, source)
    n_values = _copy(connection, taken, "mean" if source.aslib else "low", file)
    unused = [name for name in staged.names if name not in known | {column.name for column in taken}]
    if source.features is not None and not source.aslib:
        unused += [name for name in source.runs.names if name not in source.roles.columns()]
    names = tuple(roles.bare(column.name) for column in taken)
    return names, _notes(names, unused, n_without, connection), n_values


def _may_be(source: Source, name: str) -> bool:
    """MLflow has parameters and tags for what describes a run, and metrics for what came of it."""
    return not source.mlflow or name.startswith(("params.", "tags.", FEATURE))


def _is_feature(source: Source, column: _Column) -> bool:
    must = column.name.startswith(FEATURE)
    if must and column.text:
        raise InputError(
            f"{source.name}: the meta-feature {column.name!r} holds texts. Write numbers, or leave it out."
        )
    if column.differs and not source.aslib and (must or source.features is not None):
        raise InputError(f"The meta-feature {column.name!r} has several values for one dataset. Keep one.")
    if column.text or column.empty:
        return False
    return source.aslib or not (column.differs or (source.mlflow and column.constant and not must))


def _grouped(
    connection: duckdb.DuckDBPyConnection, staged: Staged, dataset: str, names: Sequence[str]
) -> list[_Column]:
    """The table grouped, one row a dataset: means, lowest and highest values of the columns; and what they are."""
    keys = [f"c{staged.names.index(name)}" for name in names]
    numbers = "".join(f", {key}, try_cast({key} AS DOUBLE) AS x{i}" for i, key in enumerate(keys))
    parts = "".join(
        f", avg(x{i}) FILTER (isfinite(x{i})) AS mean{i}, min(x{i}) FILTER (isfinite(x{i})) AS low{i},"
        f" max(x{i}) FILTER (isfinite(x{i})) AS high{i}, count({key}) - count(x{i}) AS n_texts{i}"
        for i, key in enumerate(keys)
    )
    connection.execute(
        f"CREATE TEMP TABLE grouped AS SELECT dataset{parts} FROM (SELECT c{staged.names.index(dataset)} AS dataset"
        f"{numbers} FROM read_parquet(?)) GROUP BY dataset HAVING dataset IN (SELECT dataset FROM pairs)",
        [str(staged.parquet)],
    )
    flags = "".join(
        f", coalesce(sum(n_texts{i}) > 0, false), max(high{i}) IS NULL, count(*) FILTER (low{i} < high{i}) > 0,"
        f" min(low{i}) IS NOT DISTINCT FROM max(high{i})"
        for i in range(len(keys))
    )
    row = connection.execute(f"SELECT 0{flags} FROM grouped").fetchall()[0][1:]
    return [_Column(name, i, *row[4 * i : 4 * i + 4]) for i, name in enumerate(names)]


def _n_without(connection: duckdb.DuckDBPyConnection, source: Source) -> int:
    n_datasets, n_described = connection.execute(
        "SELECT (SELECT count(DISTINCT dataset) FROM pairs), (SELECT count(*) FROM grouped)"
    ).fetchall()[0]
    if source.features is not None and n_described == 0:
        one = connection.execute("SELECT min(dataset) FROM pairs").fetchall()[0][0]
        raise InputError(
            f"{source.features_name} has meta-features of none of the datasets in {source.name}, such as {one!r}. "
            "Write the datasets' names alike in both."
        )
    return int(n_datasets - n_described)


def _copy(connection: duckdb.DuckDBPyConnection, taken: Sequence[_Column], kind: str, file: Path) -> int:
    names = [roles.bare(column.name) for column in taken]
    values = ", ".join(f"{kind}{column.number}" for column in taken)
    lists = f"unnest($names::VARCHAR[]) AS name, unnest([{values}]::DOUBLE[]) AS value"
    connection.execute(
        f"CREATE TEMP TABLE described AS SELECT dataset, {lists} FROM grouped ORDER BY dataset", {"names": names}
    )
    copied = connection.execute("COPY described TO ? (FORMAT parquet)", [str(file)]).fetchall()
    return int(copied[0][0])


def _notes(
    names: Sequence[str], unused: Sequence[str], n_without: int, connection: duckdb.DuckDBPyConnection
) -> list[str]:
    notes = []
    if not names:
        notes.append(
            "No meta-features: candidates can be compared, but nothing can be predicted from this. Add columns of "
            "numbers that describe the dataset, or a second file with them."
        )
    elif n_without:
        notes.append(f"{counted(n_without, 'dataset has', 'datasets have')} no meta-features.")
    missing = connection.execute("SELECT count(*) - count(value) FROM described").fetchall()[0][0]
    if missing:
        notes.append(f"{counted(missing, 'meta-feature is', 'meta-features are')} missing or infinite.")
    if unused:
        shown = ", ".join(unused[:10]) + (f" and {len(unused) - 10:,} more" if len(unused) > 10 else "")
        notes.append(f"Columns that were ignored, as they are neither runs nor numbers of a dataset: {shown}.")
    return notes
