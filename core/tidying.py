"""Tidying: staged runs and meta-features checked, averaged and written as the Parquet files that the store takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core import featuretables, tables
from core.errors import InputError
from core.roles import Source
from core.tables import counted

if TYPE_CHECKING:
    import duckdb

MAX_PAIRS = 2_000_000  # of a dataset and a candidate, and as many meta-features
_PAR = 10  # PAR10: a run that did not end well counts as ten times the limit
_ENDED_WELL = ("ok", "success", "succeeded", "finished", "done", "complete", "completed", "true", "1")


@dataclass(frozen=True, slots=True)
class Tidied:
    """Parquet files as `scenarios.add` takes them, what they hold, and sentences on what became of the rows."""

    errors: Path
    features: Path
    n_datasets: int
    n_candidates: int
    n_pairs: int
    names: tuple[str, ...]
    notes: tuple[str, ...]

    @classmethod
    def nothing(cls, work: Path) -> Tidied:
        """Before anything was read."""
        return cls(work, work, 0, 0, 0, (), ())


def distinct(source: Source, column: str) -> tuple[str, ...]:
    """The values of a column of the runs, sorted. Raises InputError where there are none, or more than 100."""
    with tables.connect() as connection:
        key = source.key(column)
        query = f"SELECT DISTINCT {key} FROM read_parquet(?) WHERE {key} IS NOT NULL ORDER BY 1 LIMIT 101"
        found = tuple(row[0] for row in connection.execute(query, [str(source.runs.parquet)]).fetchall())
    if not 0 < len(found) <= 100:
        n = "no value" if not found else "more than 100 values"
        raise InputError(f"The column {column!r} of {source.name} should name the metrics, but has {n}. Rename it.")
    return found


def directions(source: Source) -> bool | None:
    """What the file's own column says of the chosen metric: whether higher is better.

    Raises InputError where it says both, or neither.
    """
    column = source.roles.direction
    chosen = "" if source.roles.metric is None else f" AND {source.key(source.roles.metric)} = $metric"
    wanted = {"file": str(source.runs.parquet)} | ({"metric": source.metric} if chosen else {})
    key = source.key(column)
    with tables.connect() as connection:
        query = f"SELECT DISTINCT try_cast({key} AS BOOLEAN) FROM read_parquet($file) WHERE {key} IS NOT NULL{chosen}"
        found = [row[0] for row in connection.execute(query, wanted).fetchall()]
    if len(found) > 1 or None in found:
        raise InputError(
            f"{source.name} mixes directions: {column!r} is not the same true or false in all rows of "
            f"{source.metric}. Import each metric by itself."
        )
    return found[0] if found else None


def tidy(source: Source, work: Path) -> Tidied:
    """Write errors.parquet and features.parquet into the folder `work`.

    Repeats and folds are averaged. Raises InputError where too little remains, or rows contradict each other.
    """
    with tables.connect(len(source.runs.names)) as connection:
        notes = _load(connection, source)
        notes += _average(connection, source)
        n_datasets, n_candidates, n_pairs = _write_errors(connection, source, work / "errors.parquet")
        names, more, n_values = featuretables.write(connection, source, work / "features.parquet")
        _check_size(source, n_values, "values of meta-features")
    counts = (n_datasets, n_candidates, n_pairs)
    return Tidied(work / "errors.parquet", work / "features.parquet", *counts, names, tuple(notes + more))


def _load(connection: duckdb.DuckDBPyConnection, source: Source) -> list[str]:
    """The rows that say something, as the table runs."""
    told, wanted = source.roles, {"file": str(source.runs.parquet)}
    chosen = ""
    if told.metric is not None:
        chosen, wanted = f" WHERE {source.key(told.metric)} = $metric", wanted | {"metric": str(source.metric)}
    ended = "true"
    if told.status is not None:
        ended = f"coalesce(lower({source.key(told.status)}) IN {_ENDED_WELL}, true)"
    value = f"try_cast({source.key(told.value)} AS DOUBLE)"
    if source.penalty is not None:
        limit = source.penalty.cutoff_s
        value = f"CASE WHEN {ended} THEN {value} ELSE {'NULL' if limit is None else _PAR * limit} END"
    fit_s = f"try_cast({source.key(told.fit_s)} AS DOUBLE)"
    connection.execute(
        f"CREATE TEMP TABLE loaded AS SELECT {source.key(told.dataset)} AS dataset, {source.key(told.candidate)} AS"
        f" candidate, {source.key(told.fold)} AS fold, {value} AS value, {ended} AS ended,"
        f" CASE WHEN {ended} AND isfinite({fit_s}) AND {fit_s} >= 0 THEN {fit_s} END AS fit_s"
        f" FROM read_parquet($file){chosen}",
        wanted,
    )
    kept = "true" if source.aslib else "ended"
    named, good = "dataset IS NOT NULL AND candidate IS NOT NULL", "coalesce(isfinite(value), false)"
    n_ended, n_unnamed, n_bad = connection.execute(
        f"SELECT count(*) FILTER (NOT ended), count(*) FILTER ({kept} AND NOT ({named})),"
        f" count(*) FILTER ({kept} AND {named} AND NOT {good}) FROM loaded"
    ).fetchall()[0]
    connection.execute(f"CREATE TEMP VIEW runs AS SELECT * FROM loaded WHERE {kept} AND {named} AND {good}")
    return [*_ended_notes(source, n_ended), *_left_out(source, n_unnamed, n_bad)]


def _ended_notes(source: Source, n: int) -> list[str]:
    if not n:
        return []
    runs = counted(n, "run that did not end well", "runs that did not end well")
    if source.penalty is not None and source.penalty.cutoff_s is not None:
        return [f"{runs}: counted as {_PAR} times the limit of {source.penalty.cutoff_s:,g} s (PAR{_PAR})."]
    if source.penalty is not None:
        return [f"{runs}: left out, as the scenario gives no limit of time."]
    if source.aslib:
        return [f"{runs}: their {source.metric} was taken as it stands."]
    return [f"{runs} (by {source.roles.status!r}): left out."]


def _left_out(source: Source, n_unnamed: int, n_bad: int) -> list[str]:
    notes = []
    if n_unnamed:
        notes.append(f"{counted(n_unnamed, 'row', 'rows')} without a dataset or a candidate: left out.")
    if n_bad:
        rows = counted(n_bad, "row", "rows")
        notes.append(f"{rows} whose {source.roles.value!r} is missing, infinite or no number: left out.")
    return notes


def _average(connection: duckdb.DuckDBPyConnection, source: Source) -> list[str]:
    """The runs as the table cells, one row a dataset, candidate and fold."""
    connection.execute(
        "CREATE TEMP TABLE cells AS SELECT dataset, candidate, fold, CASE WHEN min(value) = max(value) THEN min(value) ELSE"
        " avg(value) END AS value, avg(fit_s) AS fit_s, count(*) AS n, min(value) AS low, max(value) AS high FROM runs GROUP BY dataset, candidate, fold"
    )
    same, differing, most, least = connection.execute(
        "SELECT coalesce(sum(n - 1) FILTER (low = high), 0)::BIGINT, count(*) FILTER (low <> high), max(high),"
        " min(low) FROM cells"
    ).fetchall()[0]
    if differing and not source.average:
        raise InputError(_contradiction(connection, source, differing))
    notes = []
    if same:
        notes.append(f"{counted(same, 'row', 'rows')} repeated another one: counted once.")
    if differing:
        pairs = counted(differing, "pair of a dataset and a candidate has", "pairs of a dataset and a candidate have")
        notes.append(f"{pairs} several runs: their mean counts.")
    if source.higher_is_better and most is not None and most > 1:
        notes.append(
            f"{source.metric} has values up to {most:,.6g}: errors are 1 - value, so below 0. If these are per cent, "
            "divide them by 100 first."
        )
    if source.roles.fold is not None:
        notes.append(f"Errors are means over {source.roles.fold!r}.")
    return notes


def _contradiction(connection: duckdb.DuckDBPyConnection, source: Source, differing: int) -> str:
    dataset, candidate, fold, low, high = connection.execute(
        "SELECT dataset, candidate, fold, low, high FROM cells WHERE low <> high ORDER BY ALL LIMIT 1"
    ).fetchall()[0]
    where = f"dataset {dataset!r}, candidate {candidate!r}" + ("" if fold is None else f", fold {fold!r}")
    others = f" ({differing - 1:,} more are like this)" if differing > 1 else ""
    return (
        f"{source.name} contradicts itself: {where} has the values {low:,.6g} and {high:,.6g}{others}. Keep one row of "
        "each, name the column of folds (fold), or have them averaged (average)."
    )


def _write_errors(connection: duckdb.DuckDBPyConnection, source: Source, file: Path) -> tuple[int, int, int]:
    sign = "1 - " if source.higher_is_better else ""
    connection.execute(
        f"CREATE TEMP TABLE pairs AS SELECT dataset, candidate, {sign}avg(value) AS error, avg(fit_s) AS fit_s"
        " FROM cells GROUP BY dataset, candidate"
    )
    n_datasets, n_candidates, n_pairs = connection.execute(
        "SELECT count(DISTINCT dataset), count(DISTINCT candidate), count(*) FROM pairs"
    ).fetchall()[0]
    if n_datasets < 2 or n_candidates < 2:
        told = f"{counted(n_datasets, 'dataset', 'datasets')} and {counted(n_candidates, 'candidate', 'candidates')}"
        raise InputError(
            f"{source.name} has usable runs of {told}; nothing can be learned from fewer than 2 of each. Add runs."
        )
    _check_size(source, n_pairs, "pairs of a dataset and a candidate")
    connection.execute("COPY (FROM pairs ORDER BY dataset, candidate) TO ? (FORMAT parquet)", [str(file)])
    return n_datasets, n_candidates, n_pairs


def _check_size(source: Source, n: int, what: str) -> None:
    if n > MAX_PAIRS:
        raise InputError(f"{source.name} has {n:,} {what}; at most {MAX_PAIRS:,} are allowed. Leave some out.")
