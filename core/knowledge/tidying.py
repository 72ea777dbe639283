"""Tidying: runs of a foreign table checked, averaged and written in the form in which the store takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.datasets.files import scratch
from core.datasets.files.findings import plural
from core.errors import InputError
from core.knowledge import feature_columns
from core.knowledge.feature_columns import check_size
from core.knowledge.sources import Source
from core.knowledge.table import FEATURE

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

_ENDED_WELL = ("ok", "success", "succeeded", "finished", "done", "complete", "completed", "true", "1")


@dataclass(frozen=True, slots=True)
class TidyFiles:
    """Parquet files, what they hold, and sentences on what became of the rows.

    errors has dataset, candidate, error, fit_s; features has dataset, name, value.
    """

    errors: Path
    features: Path
    n_datasets: int
    n_candidates: int
    n_rows: int
    names: tuple[str, ...]
    notes: tuple[str, ...]


def tidy(source: Source, work: Path) -> TidyFiles:
    """Write errors.parquet and features.parquet into the folder `work`.

    An error is 1 - value if a higher value is better, else the value; folds and repeats are averaged. Raises
    InputError if too little remains, or rows contradict each other.
    """
    errors, features = work / "errors.parquet", work / "features.parquet"
    with scratch.connect(len(source.runs.names)) as connection:
        notes = _load(connection, source)
        notes += _average(connection, source)
        counts = _write_errors(connection, source, errors, notes)
        names, more = feature_columns.write(connection, source, features)
    return TidyFiles(errors, features, *counts, names, (*notes, *more))


def preview(files: TidyFiles, max_rows: int = 20) -> pd.DataFrame:
    """Return the first rows as a tidy table: dataset, candidate, error, fit_s and the meta-features as feature:NAME."""
    first = scratch.query(
        f"SELECT dataset, candidate, error, fit_s FROM read_parquet(?) LIMIT {max_rows}", [str(files.errors)]
    )
    values = scratch.query(
        "SELECT dataset, name, value FROM read_parquet(?) WHERE list_contains(?, dataset)",
        [str(files.features), list(first["dataset"].unique())],
    )
    wide = values.pivot(index="dataset", columns="name", values="value").reindex(columns=list(files.names))
    return first.join(wide.add_prefix(FEATURE), on="dataset")


def _load(connection: duckdb.DuckDBPyConnection, source: Source) -> list[str]:
    """Create the view runs of the rows with a dataset, a candidate and a finite value; return notes on the others."""
    roles, (condition, parameters) = source.roles, source.condition()
    value, fit_s = (f"try_cast({source.key(name)} AS DOUBLE)" for name in (roles.value, roles.fit_s))
    connection.execute(
        f"CREATE TEMP TABLE loaded AS SELECT {source.key(roles.dataset)} AS dataset, {source.key(roles.candidate)} AS"
        f" candidate, {source.key(roles.fold)} AS fold, {value} AS value,"
        f" CASE WHEN isfinite({fit_s}) AND {fit_s} >= 0 THEN {fit_s} END AS fit_s,"
        f" coalesce(lower({source.key(roles.status)}) IN {_ENDED_WELL}, true) AS ended,"
        " dataset IS NOT NULL AND candidate IS NOT NULL AS named, coalesce(isfinite(value), false) AS good"
        f" FROM read_parquet($file) WHERE {condition}",
        parameters,
    )
    connection.execute("CREATE TEMP VIEW runs AS FROM loaded WHERE ended AND named AND good")
    n_failed, n_unnamed, n_bad = connection.execute(
        "SELECT count(*) FILTER (NOT ended), count(*) FILTER (ended AND NOT named),"
        " count(*) FILTER (ended AND named AND NOT good) FROM loaded"
    ).fetchall()[0]
    left_out = (
        (n_failed, f"that did not end well (by {roles.status!r})"),
        (n_unnamed, "without a dataset or a candidate"),
        (n_bad, f"in which {roles.value!r} is missing, infinite or not a number"),
    )
    return [f"{plural(n, 'row', 'rows')} {what}: left out." for n, what in left_out if n]


def _average(connection: duckdb.DuckDBPyConnection, source: Source) -> list[str]:
    """Create the table cells of the runs, one row per dataset, candidate and fold; return notes."""
    connection.execute(
        "CREATE TEMP TABLE cells AS SELECT dataset, candidate, fold, avg(fit_s) AS fit_s, count(*) AS n,"
        " min(value) AS low, max(value) AS high, CASE WHEN low = high THEN low ELSE avg(value) END AS value"
        " FROM runs GROUP BY dataset, candidate, fold"
    )
    n_same, n_differing, highest, n_folds = connection.execute(
        "SELECT coalesce(sum(n - 1) FILTER (low = high), 0)::BIGINT, count(*) FILTER (low <> high), max(high),"
        " count(DISTINCT fold) FROM cells"
    ).fetchall()[0]
    if n_differing and not source.average:
        raise _contradiction(connection, source, n_differing)
    notes = []
    if n_same:
        notes.append(f"{plural(n_same, 'row repeats', 'rows repeat')} another one: counted once.")
    if n_differing:
        pairs = plural(n_differing, "pair of a dataset and a candidate has", "pairs of a dataset and a candidate have")
        notes.append(f"{pairs} several runs: their mean counts.")
    if n_folds > 1:
        notes.append(f"Errors are means over the {n_folds:,} values of {source.roles.fold!r}.")
    if source.higher_is_better and highest is not None and highest > 1:
        notes.append(
            f"{source.metric} has values up to {highest:,.6g}: errors are 1 - value, so below 0. If the values are per"
            " cent, divide them by 100 first."
        )
    return notes


def _contradiction(connection: duckdb.DuckDBPyConnection, source: Source, n_differing: int) -> InputError:
    dataset, candidate, fold, low, high = connection.execute(
        "SELECT dataset, candidate, fold, low, high FROM cells WHERE low <> high ORDER BY ALL LIMIT 1"
    ).fetchall()[0]
    where = f"dataset {dataset!r}, candidate {candidate!r}" + ("" if fold is None else f", fold {fold!r}")
    others = f" ({n_differing - 1:,} more are like this)" if n_differing > 1 else ""
    return InputError(
        f"{source.name} contradicts itself: {where} has the values {low:,.6g} and {high:,.6g}{others}.",
        field="average", remedy="Keep one row of each, name the column of folds, or average repeats.",
    )  # fmt: skip


def _write_errors(
    connection: duckdb.DuckDBPyConnection, source: Source, file: Path, notes: Sequence[str]
) -> tuple[int, int, int]:
    """Write the file and return the numbers of datasets, candidates and rows."""
    sign = "1 - " if source.higher_is_better else ""
    connection.execute(
        f"CREATE TEMP TABLE pairs AS SELECT dataset, candidate, {sign}avg(value) AS error, avg(fit_s) AS fit_s"
        " FROM cells GROUP BY dataset, candidate"
    )
    n_datasets, n_candidates, n_rows = connection.execute(
        "SELECT count(DISTINCT dataset), count(DISTINCT candidate), count(*) FROM pairs"
    ).fetchall()[0]
    if n_datasets < 2 or n_candidates < 2:
        counts = f"{plural(n_datasets, 'dataset', 'datasets')} and {plural(n_candidates, 'candidate', 'candidates')}"
        text = f"{source.name} has usable runs of {counts}; at least 2 of each are needed."
        raise InputError(" ".join([text, *notes]), remedy="Add runs.")
    check_size(source, n_rows, "pairs of a dataset and a candidate")
    connection.execute("COPY (FROM pairs ORDER BY dataset, candidate) TO ? (FORMAT parquet)", [str(file)])
    return n_datasets, n_candidates, n_rows
