"""Tidying: runs and meta-features out of foreign tables, checked, averaged and written as the store takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.datasets.files import scratch
from core.datasets.files.findings import plural
from core.datasets.files.tables import StagedTable
from core.errors import InputError
from core.knowledge.table import FEATURE

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

MAX_ROWS = 2_000_000  # pairs of a dataset and a candidate, and as many meta-features
_ENDED_WELL = ("ok", "success", "succeeded", "finished", "done", "complete", "completed", "true", "1")


@dataclass(frozen=True, slots=True)
class Roles:
    """The column of each meaning, None where there is none: `value` is measured, `metric` says what it is, `status`
    whether the run ended well, `direction` whether higher is better."""

    dataset: str | None
    candidate: str | None
    value: str | None
    fold: str | None = None
    fit_s: str | None = None
    status: str | None = None
    metric: str | None = None
    direction: str | None = None

    def columns(self) -> set[str]:
        """The columns that have a meaning."""
        found = (self.dataset, self.candidate, self.value, self.fold, self.fit_s, self.status, self.metric)
        return {name for name in (*found, self.direction) if name is not None}


@dataclass(frozen=True, slots=True)
class Source:
    """A file of runs, and perhaps one of meta-features, with what their columns mean."""

    name: str
    runs: StagedTable
    features: StagedTable | None  # of a second file, in which `features_dataset` names the dataset
    features_dataset: str | None
    roles: Roles
    metric: str | None = None
    higher_is_better: bool | None = None
    average: bool = False  # rows that contradict each other are repeats
    described_by: tuple[str, ...] = ("",)  # how the name of a column of the runs begins that may be a meta-feature

    def key(self, column: str | None) -> str:
        """The staged column of the runs as SQL."""
        return "CAST(NULL AS VARCHAR)" if column is None else f"c{self.runs.names.index(column)}"


@dataclass(frozen=True, slots=True)
class Tidied:
    """Parquet files (errors: dataset, candidate, error, fit_s; features: dataset, name, value), what they hold, and
    sentences on what became of the rows."""

    errors: Path
    features: Path
    n_datasets: int
    n_candidates: int
    n_rows: int
    names: tuple[str, ...]
    notes: tuple[str, ...]


def distinct(source: Source, column: str) -> tuple[str, ...]:
    """The values of a column of the runs, sorted. Raises InputError where there are none, or more than 100."""
    key = source.key(column)
    query = f"SELECT DISTINCT {key} FROM read_parquet(?) WHERE {key} IS NOT NULL ORDER BY 1 LIMIT 101"
    with scratch.connect() as connection:
        found = tuple(row[0] for row in connection.execute(query, [str(source.runs.parquet)]).fetchall())
    if not 0 < len(found) <= 100:
        n = "no value" if not found else "more than 100 values"
        raise InputError(f"The column {column!r} of {source.name} should name the metrics, but has {n}. Rename it.")
    return found


def direction(source: Source) -> bool | None:
    """What the file's own column says of the chosen metric: whether higher is better; None where it has none.

    Raises InputError where it says both, or neither.
    """
    if source.roles.direction is None:
        return None
    key, (chosen, wanted) = source.key(source.roles.direction), _chosen(source)
    query = f"SELECT DISTINCT try_cast({key} AS BOOLEAN) FROM read_parquet($file) WHERE {key} IS NOT NULL AND {chosen}"
    with scratch.connect() as connection:
        found = [row[0] for row in connection.execute(query, wanted).fetchall()]
    if len(found) > 1 or None in found:
        raise InputError(
            f"{source.name} mixes directions: {source.roles.direction!r} is not the same true or false in all rows of "
            f"{source.metric}. Import each metric by itself."
        )
    return found[0] if found else None


def tidy(source: Source, work: Path) -> Tidied:
    """Write errors.parquet and features.parquet into the folder `work`.

    An error is 1 - value where a higher value is better, else the value; folds and repeats are averaged. Raises
    InputError where too little remains, or rows contradict each other.
    """
    errors, features = work / "errors.parquet", work / "features.parquet"
    with scratch.connect(len(source.runs.names)) as connection:
        notes = _load(connection, source)
        notes += _average(connection, source)
        counts = _write_errors(connection, source, errors, notes)
        names, more = _write_features(connection, source, features)
    return Tidied(errors, features, *counts, names, (*notes, *more))


def preview(tidied: Tidied, most: int = 20) -> pd.DataFrame:
    """The first rows as a tidy table: dataset, candidate, error, fit_s and the meta-features as feature:NAME."""
    first = scratch.query(
        f"SELECT dataset, candidate, error, fit_s FROM read_parquet(?) LIMIT {most}", [str(tidied.errors)]
    )
    values = scratch.query(
        "SELECT dataset, name, value FROM read_parquet(?) WHERE list_contains(?, dataset)",
        [str(tidied.features), list(first["dataset"].unique())],
    )
    wide = values.pivot(index="dataset", columns="name", values="value").reindex(columns=list(tidied.names))
    return first.join(wide.add_prefix(FEATURE), on="dataset")


def _chosen(source: Source) -> tuple[str, dict[str, str]]:
    """The rows of the metric that was chosen, as a condition with its parameters."""
    wanted = {"file": str(source.runs.parquet)}
    if source.roles.metric is None:
        return "true", wanted
    return f"{source.key(source.roles.metric)} = $metric", wanted | {"metric": str(source.metric)}


def _load(connection: duckdb.DuckDBPyConnection, source: Source) -> list[str]:
    """The rows that say something, as the view runs."""
    told, (chosen, wanted) = source.roles, _chosen(source)
    value, fit_s = (f"try_cast({source.key(name)} AS DOUBLE)" for name in (told.value, told.fit_s))
    connection.execute(
        f"CREATE TEMP TABLE loaded AS SELECT {source.key(told.dataset)} AS dataset, {source.key(told.candidate)} AS"
        f" candidate, {source.key(told.fold)} AS fold, {value} AS value,"
        f" CASE WHEN isfinite({fit_s}) AND {fit_s} >= 0 THEN {fit_s} END AS fit_s,"
        f" coalesce(lower({source.key(told.status)}) IN {_ENDED_WELL}, true) AS ended,"
        " dataset IS NOT NULL AND candidate IS NOT NULL AS named, coalesce(isfinite(value), false) AS good"
        f" FROM read_parquet($file) WHERE {chosen}",
        wanted,
    )
    connection.execute("CREATE TEMP VIEW runs AS FROM loaded WHERE ended AND named AND good")
    n_ended, n_unnamed, n_bad = connection.execute(
        "SELECT count(*) FILTER (NOT ended), count(*) FILTER (ended AND NOT named),"
        " count(*) FILTER (ended AND named AND NOT good) FROM loaded"
    ).fetchall()[0]
    left_out = (
        (n_ended, f"that did not end well (by {told.status!r})"),
        (n_unnamed, "without a dataset or a candidate"),
        (n_bad, f"whose {told.value!r} is missing, infinite or no number"),
    )
    return [f"{plural(n, 'row', 'rows')} {what}: left out." for n, what in left_out if n]


def _average(connection: duckdb.DuckDBPyConnection, source: Source) -> list[str]:
    """The runs as the table cells, one row a dataset, candidate and fold."""
    connection.execute(
        "CREATE TEMP TABLE cells AS SELECT dataset, candidate, fold, avg(fit_s) AS fit_s, count(*) AS n,"
        " min(value) AS low, max(value) AS high, CASE WHEN low = high THEN low ELSE avg(value) END AS value"
        " FROM runs GROUP BY dataset, candidate, fold"
    )
    n_same, n_differing, most, n_folds = connection.execute(
        "SELECT coalesce(sum(n - 1) FILTER (low = high), 0)::BIGINT, count(*) FILTER (low <> high), max(high),"
        " count(DISTINCT fold) FROM cells"
    ).fetchall()[0]
    if n_differing and not source.average:
        raise InputError(_contradiction(connection, source, n_differing))
    notes = []
    if n_same:
        notes.append(f"{plural(n_same, 'row', 'rows')} repeated another one: counted once.")
    if n_differing:
        pairs = plural(n_differing, "pair of a dataset and a candidate has", "pairs of a dataset and a candidate have")
        notes.append(f"{pairs} several runs: their mean counts.")
    if n_folds > 1:
        notes.append(f"Errors are means over the {n_folds:,} values of {source.roles.fold!r}.")
    if source.higher_is_better and most is not None and most > 1:
        notes.append(
            f"{source.metric} has values up to {most:,.6g}: errors are 1 - value, so below 0. If these are per cent, "
            "divide them by 100 first."
        )
    return notes


def _contradiction(connection: duckdb.DuckDBPyConnection, source: Source, n_differing: int) -> str:
    dataset, candidate, fold, low, high = connection.execute(
        "SELECT dataset, candidate, fold, low, high FROM cells WHERE low <> high ORDER BY ALL LIMIT 1"
    ).fetchall()[0]
    where = f"dataset {dataset!r}, candidate {candidate!r}" + ("" if fold is None else f", fold {fold!r}")
    others = f" ({n_differing - 1:,} more are like this)" if n_differing > 1 else ""
    return (
        f"{source.name} contradicts itself: {where} has the values {low:,.6g} and {high:,.6g}{others}. Keep one row of "
        "each, name the column of folds (fold), or have them averaged (average)."
    )


def _write_errors(
    connection: duckdb.DuckDBPyConnection, source: Source, file: Path, notes: Sequence[str]
) -> tuple[int, int, int]:
    sign = "1 - " if source.higher_is_better else ""
    connection.execute(
        f"CREATE TEMP TABLE pairs AS SELECT dataset, candidate, {sign}avg(value) AS error, avg(fit_s) AS fit_s"
        " FROM cells GROUP BY dataset, candidate"
    )
    n_datasets, n_candidates, n_rows = connection.execute(
        "SELECT count(DISTINCT dataset), count(DISTINCT candidate), count(*) FROM pairs"
    ).fetchall()[0]
    if n_datasets < 2 or n_candidates < 2:
        told = f"{plural(n_datasets, 'dataset', 'datasets')} and {plural(n_candidates, 'candidate', 'candidates')}"
        raise InputError(
            f"{source.name} has usable runs of {told}; nothing can be learned from fewer than 2 of each. "
            + " ".join([*notes, "Add runs."])
        )
    _check_size(source, n_rows, "pairs of a dataset and a candidate")
    connection.execute("COPY (FROM pairs ORDER BY dataset, candidate) TO ? (FORMAT parquet)", [str(file)])
    return n_datasets, n_candidates, n_rows


def _check_size(source: Source, n: int, what: str) -> None:
    if n > MAX_ROWS:
        raise InputError(f"{source.name} has {n:,} {what}; at most {MAX_ROWS:,} are allowed. Leave some out.")


@dataclass(frozen=True, slots=True)
class _Column:
    """A column as grouped by dataset: whether it holds texts or nothing, differs within a dataset, or never."""

    name: str
    key: str  # in the table grouped
    text: bool
    empty: bool
    differs: bool
    constant: bool

    @property
    def feature(self) -> str:
        return self.name.removeprefix(FEATURE).removeprefix("params.").removeprefix("tags.")


def _write_features(
    connection: duckdb.DuckDBPyConnection, source: Source, file: Path
) -> tuple[tuple[str, ...], list[str]]:
    """Write dataset, name, value of the datasets in the table pairs; returns the names, and notes.

    A meta-feature is a column of numbers that says one thing of each dataset and not the same of all; an infinite
    value is missing. In a second file, or called feature:..., it must be numbers and one a dataset: else InputError.
    """
    staged, dataset, starts = source.runs, str(source.roles.dataset), (*source.described_by, FEATURE)
    known = source.roles.columns()
    ignored = []
    if source.features is not None:
        ignored = [name for name in staged.names if name not in known]
        staged, dataset, starts = source.features, str(source.features_dataset), ("",)
        known = {dataset}
    asked = [name for name in staged.names if name not in known and name.startswith(starts)]
    grouped, n_described = _grouped(connection, staged, dataset, asked)
    if source.features is not None and n_described == 0:
        raise InputError(f"The meta-features are of none of the datasets in {source.name}. Write their names alike.")
    taken: dict[str, _Column] = {}
    for column in grouped:
        if _is_feature(source, column):
            taken.setdefault(column.feature, column)  # one name once
    _check_size(source, n_described * len(taken), "values of meta-features")
    _copy(connection, taken, file)
    used = known | {column.name for column in taken.values()}
    ignored += [name for name in staged.names if name not in used]
    return tuple(taken), _feature_notes(connection, len(taken), ignored, n_described)


def _grouped(
    connection: duckdb.DuckDBPyConnection, staged: StagedTable, dataset: str, names: Sequence[str]
) -> tuple[list[_Column], int]:
    """The columns by dataset, as the table grouped (x0, x1, ... the lowest values); what they are, and its rows."""
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
    if column.name.startswith(FEATURE) and column.text:
        raise InputError(
            f"{source.name}: the meta-feature {column.name!r} holds texts. Write numbers, or leave it out."
        )
    if source.features is not None or column.name.startswith(FEATURE):
        if column.differs:
            raise InputError(f"The meta-feature {column.name!r} has several values for one dataset. Keep one.")
        return not (column.text or column.empty)
    return not (column.text or column.empty or column.differs or column.constant)


def _copy(connection: duckdb.DuckDBPyConnection, taken: Mapping[str, _Column], file: Path) -> None:
    values = ", ".join(column.key for column in taken.values())
    connection.execute(
        "CREATE TEMP TABLE described AS SELECT dataset, unnest($names::VARCHAR[]) AS name,"
        f" unnest([{values}]::DOUBLE[]) AS value FROM grouped ORDER BY dataset",
        {"names": list(taken)},
    )
    connection.execute("COPY described TO ? (FORMAT parquet)", [str(file)])


def _feature_notes(
    connection: duckdb.DuckDBPyConnection, n_names: int, ignored: Sequence[str], n_described: int
) -> list[str]:
    n_datasets, n_missing = connection.execute(
        "SELECT (SELECT count(DISTINCT dataset) FROM pairs), count(*) - count(value) FROM described"
    ).fetchall()[0]
    notes = []
    if not n_names:
        notes.append(
            "No meta-features: candidates can be compared, but nothing can be predicted from this. Add columns of "
            "numbers that describe the dataset, or a second file with them."
        )
    elif n_described < n_datasets:
        notes.append(f"{plural(n_datasets - n_described, 'dataset has', 'datasets have')} no meta-features.")
    if n_missing:
        notes.append(f"{plural(n_missing, 'meta-feature is', 'meta-features are')} missing or infinite.")
    if ignored:
        shown = ", ".join(ignored[:10]) + (f" and {len(ignored) - 10:,} more" if len(ignored) > 10 else "")
        notes.append(f"Columns that were ignored, as they are neither runs nor numbers of a dataset: {shown}.")
    return notes
