"""Columns: what each column of a staged table holds, its type (judged from every value), and what looks wrong."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Literal, get_args

import duckdb
import numpy as np
import pandas as pd

from core.datasets.files import scratch
from core.datasets.files.findings import Finding, plural
from core.datasets.files.tables import Declared, StagedTable
from core.errors import InputError
from core.store.database import explain_disk_full

ColumnType = Literal["numeric", "categorical", "datetime", "text", "image", "ignored"]
TABLE_TYPES: tuple[ColumnType, ...] = tuple(kind for kind in get_args(ColumnType) if kind != "image")
MAX_CATEGORIES = 1_000
MIN_ROWS = 20
SAMPLE_ROWS = 20_000
_SAMPLE_CELLS = 2_000_000
_BATCH = 20  # columns measured in one query: the aggregates of each take memory
_N_BINS = 16


@dataclass(frozen=True, slots=True)
class Column:
    """One column as the user knows it (`name`) and as every engine sees it (`key`: c0, c1, ...).

    `missing_frac` and `cardinality` are over all rows of the file; above some thousands the cardinality is an
    estimate. Histogram and examples come from at most 20,000 evenly spaced rows.
    """

    name: str
    key: str
    type: ColumnType
    missing_frac: float
    cardinality: int
    histogram: tuple[int, ...]  # up to 16 bins of a number, or the counts of the 16 most common values
    examples: tuple[str, ...]  # up to 3
    shape: tuple[int, int, int] | None = None  # of an image column: height, width, channels


@dataclass(frozen=True, slots=True)
class Measure:
    """Counts over all values of one staged column."""

    n_rows: int
    n_present: int
    n_finite: int
    n_infinite: int
    n_integers: int
    n_codes: int  # whole numbers written with a leading zero
    n_dates: int
    n_spaced: int  # texts of more than one word
    low: float | None
    high: float | None
    odd: str | None  # a value that is not a number
    n_distinct: int

    @property
    def n_numbers(self) -> int:
        """Values that are numbers, including infinite ones."""
        return self.n_finite + self.n_infinite

    @property
    def is_numeric(self) -> bool:
        """Whether every value is a number and none is a code such as 007."""
        return 0 < self.n_present == self.n_numbers and self.n_codes == 0


def measure(table: StagedTable) -> tuple[Measure, ...]:
    """Return counts for each column; cached beside the table.

    One pass over the table counts, a second one makes cardinalities exact where needed.
    """
    cache = table.parquet.with_name("measures.json")
    if cache.exists():
        return tuple(Measure(**body) for body in json.loads(cache.read_text("utf-8")))
    measures: list[Measure] = []
    for start in range(0, len(table.names), _BATCH):
        keys = [f"c{i}" for i in range(start, min(start + _BATCH, len(table.names)))]
        measures += _measure_batch(table, keys)
    text = json.dumps([asdict(item) for item in measures])
    with explain_disk_full():
        whole = cache.with_name(f"measures.{uuid.uuid4().hex}")  # another process may read it at this moment
        whole.write_text(text, "utf-8")
        whole.replace(cache)
    return tuple(measures)


def _measure_batch(table: StagedTable, keys: list[str]) -> list[Measure]:
    aggregates = (
        "count({0})",
        "count(*) FILTER (isfinite({1}))",
        "count(*) FILTER (isinf({1}))",
        "count(*) FILTER (isfinite({1}) AND {1} = trunc({1}))",
        "count(*) FILTER (regexp_matches({0}, '^[+-]?0[0-9]+$'))",
        "count(CASE WHEN {1} IS NULL THEN TRY_CAST({0} AS TIMESTAMP) END)",  # a failed cast is slow, so not on numbers
        "count(*) FILTER (contains({0}, ' '))",
        "min({1}) FILTER (isfinite({1}))",
        "max({1}) FILTER (isfinite({1}))",
        "min({0}) FILTER ({1} IS NULL)",
        "approx_count_distinct({0})",
    )
    select = ", ".join(part.format(key, f"TRY_CAST({key} AS DOUBLE)") for key in keys for part in aggregates)
    with explain_disk_full(), scratch.connect() as connection:
        row = connection.execute(f"SELECT {select} FROM read_parquet(?)", [str(table.parquet)]).fetchall()[0]
        width = len(aggregates)
        measures = [Measure(table.n_rows, *row[i * width : (i + 1) * width]) for i in range(len(keys))]
        return _exact_counts(connection, table, dict(zip(keys, measures, strict=True)))


def _exact_counts(
    connection: duckdb.DuckDBPyConnection, table: StagedTable, items: dict[str, Measure]
) -> list[Measure]:
    """Return the measures; cardinalities are exact where a decision depends on them (few values, one for each row)."""
    small = [key for key, item in items.items() if min(item.n_rows / 10, item.n_distinct) <= 2 * MAX_CATEGORIES]
    unique = [key for key, item in items.items() if key not in small and _perhaps_unique(item)]
    counts = {key: min(item.n_distinct, item.n_present) for key, item in items.items()}
    for group in [small, *([key] for key in unique)]:  # many distinct values fill the memory, so one column at a time
        if group:
            select = ", ".join(f"count(DISTINCT {key})" for key in group)
            row = connection.execute(f"SELECT {select} FROM read_parquet(?)", [str(table.parquet)]).fetchall()[0]
            counts |= dict(zip(group, row, strict=True))
    return [replace(item, n_distinct=counts[key]) for key, item in items.items()]


def _perhaps_unique(item: Measure) -> bool:
    return item.n_distinct >= 0.8 * item.n_present and (item.n_numbers == 0 or _contiguous(item))


def _contiguous(item: Measure) -> bool:
    whole = item.n_integers == item.n_present == item.n_rows
    return whole and item.low is not None and item.high is not None and item.high - item.low == item.n_rows - 1


def sample(table: StagedTable) -> pd.DataFrame:
    """Return at most 20,000 evenly spaced rows as text, columns c0, c1, ...; fewer when the table is wide."""
    n_rows = max(500, min(SAMPLE_ROWS, _SAMPLE_CELLS // len(table.names)))
    step = max(1, -(-table.n_rows // n_rows))
    query = "SELECT * EXCLUDE file_row_number FROM read_parquet(?, file_row_number = true)"
    return scratch.query(f"{query} WHERE file_row_number % ? = 0", [str(table.parquet), step])


def natural_type(item: Measure, declared: Declared | None = None) -> ColumnType:
    """Return the type of a column's values, even where the column is useless as a feature."""
    if declared == "number" or (declared is None and item.is_numeric):
        return "numeric"
    if declared == "time" or (declared is None and 0 < item.n_dates == item.n_present):
        return "datetime"
    few = item.n_distinct <= min(MAX_CATEGORIES, max(MIN_ROWS // 2, item.n_present // 2))
    return "categorical" if few else "text"


def _useless(item: Measure, declared: Declared | None, name: str) -> Finding | None:
    """Return why a column is ignored by default (no value, one value, or one value for each row), or None."""
    if declared == "nested":
        return Finding("nested", f"{name!r} holds lists, structures or bytes, so it is ignored.", name)
    if item.n_present == 0:
        return Finding("constant", f"{name!r} has no values, so it is ignored.", name)
    if item.n_distinct == 1 and item.n_present == item.n_rows:
        return Finding("constant", f"{name!r} has the same value in every row, so it is ignored.", name)
    unique = item.n_distinct == item.n_present == item.n_rows >= MIN_ROWS
    words = item.n_numbers == 0 and item.n_dates == 0 and item.n_spaced * 10 < item.n_present
    if unique and (_contiguous(item) or words):
        text = f"{name!r} has a different value in every row, like an ID, so it is ignored. Set another type to use it."
        return Finding("id_like", text, name)
    return None


def describe(
    table: StagedTable, rows: pd.DataFrame, types: Mapping[str, ColumnType] | None = None
) -> tuple[tuple[Column, ...], tuple[Finding, ...]]:
    """Return the columns, and what looks wrong with each; `types` by name overrides inferred types.

    Raises InputError for a name or a type that does not exist, or a type that no value of the column has.
    """
    types = types or {}
    _check_types(table, types)
    columns: list[Column] = []
    findings = list(table.findings)
    for i, item in enumerate(measure(table)):
        name, declared = table.names[i], table.declared[i]
        useless = _useless(item, declared, name)
        inferred = "ignored" if useless else natural_type(item, declared)
        kind = types.get(name, inferred)
        odd = _odd_values(item, name, kind, name in types)
        findings += [useless] if useless and kind == "ignored" else odd
        columns.append(_column(f"c{i}", name, kind, item, rows[f"c{i}"].dropna()))
    return tuple(columns), tuple(findings)


def _check_types(table: StagedTable, types: Mapping[str, ColumnType]) -> None:
    for name, kind in types.items():
        if name not in table.names:
            remedy = f"The columns are {', '.join(table.names[:20])}."
            raise InputError(f"There is no column {name!r}.", value=name, remedy=remedy)
        if kind not in TABLE_TYPES:
            remedy = f"Choose one of {', '.join(TABLE_TYPES)}."
            raise InputError(f"{name!r} cannot be {kind!r}.", value=kind, remedy=remedy)
        item = measure(table)[table.names.index(name)]
        if kind != "ignored" and _n_usable(item, kind) == 0:
            remedy = "Choose another type, or ignored."
            raise InputError(f"{name!r} has no value that is {kind}.", value=kind, remedy=remedy)


def _n_usable(item: Measure, kind: ColumnType) -> int:
    return {"numeric": item.n_finite, "datetime": item.n_dates}.get(kind, item.n_present)


def _odd_values(item: Measure, name: str, kind: ColumnType, by_user: bool) -> list[Finding]:
    findings = []
    n_others = item.n_present - item.n_numbers
    if kind == "numeric" and n_others:
        n = plural(n_others, "value is not a number", "values are not numbers")
        findings.append(Finding("mixed", f"{name!r}: {n}, such as {item.odd!r}. Treated as missing.", name))
    elif kind in ("categorical", "text") and not by_user and n_others and item.n_numbers >= 0.9 * item.n_present:
        n = plural(n_others, "value is not a number", "values are not numbers")
        text = f"{name!r}: only {n}, such as {item.odd!r}. Set the type to numeric to treat them as missing."
        findings.append(Finding("mixed", text, name))
    if kind == "datetime" and item.n_dates < item.n_present:
        n = plural(item.n_present - item.n_dates, "value is not an ISO date", "values are not ISO dates")
        findings.append(Finding("mixed", f"{name!r}: {n}. Treated as missing.", name))
    if kind == "numeric" and item.n_infinite:
        n = plural(item.n_infinite, "infinite value", "infinite values")
        findings.append(Finding("infinite", f"{name!r}: {n}. Treated as missing.", name))
    return findings


def _column(key: str, name: str, kind: ColumnType, item: Measure, values: pd.Series) -> Column:
    examples = tuple(str(value)[:80] for value in values.drop_duplicates().head(3))
    missing_frac = 1 - _n_usable(item, kind) / item.n_rows
    return Column(name, key, kind, missing_frac, item.n_distinct, _histogram(values, kind), examples)


def _histogram(values: pd.Series, kind: ColumnType) -> tuple[int, ...]:
    if kind not in ("numeric", "datetime"):
        return tuple(int(count) for count in values.value_counts().head(_N_BINS))
    numbers = as_numbers(values, kind).to_numpy()
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return ()
    with np.errstate(over="ignore"):  # a column may span the whole range of a double
        if not np.isfinite(numbers.max() - numbers.min()):
            numbers = numbers / 4
        bins = min(_N_BINS, len(np.unique(numbers)))
        try:
            counts, _ = np.histogram(numbers, bins=bins)
        except ValueError:  # the values are too close for edges between them: one bar for each value
            counts = np.unique(numbers, return_counts=True)[1][:_N_BINS]
        return tuple(int(n) for n in counts)


def as_numbers(values: pd.Series, kind: ColumnType) -> pd.Series:
    """Return sampled texts of a numeric or datetime column as floats, else NaN; times as seconds since 1970."""
    if kind == "datetime":
        times = pd.to_datetime(values, format="ISO8601", errors="coerce", utc=True)
        return (times - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
    return pd.to_numeric(values, errors="coerce").astype(float)


def value_sql(key: str, kind: ColumnType, item: Measure) -> str:
    """Return SQL for the typed value of a staged text: DOUBLE, TIMESTAMP, or VARCHAR (a number as 3, not 3.0)."""
    number = f"TRY_CAST({key} AS DOUBLE)"
    if kind == "numeric":
        return number if item.n_finite == item.n_present else f"CASE WHEN isfinite({number}) THEN {number} END"
    if kind == "datetime":
        return f"TRY_CAST({key} AS TIMESTAMP)"
    if not item.is_numeric:
        return key
    whole = f"{number} = trunc({number}) AND abs({number}) < 1e15"
    return f"CASE WHEN {whole} THEN CAST(CAST({number} AS BIGINT) AS VARCHAR) ELSE CAST({number} AS VARCHAR) END"
