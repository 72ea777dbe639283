"""Splits: which rows train, select and test. Seeded, stratified, and the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from core.datasets.files import scratch
from core.datasets.files.findings import Finding, plural
from core.datasets.files.tables import StagedTable
from core.datasets.target import TargetAnalysis
from core.errors import InputError

PARTS = {
    "train": "train", "training": "train", "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid",
    "test": "test", "testing": "test",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Parts:
    """Counts of the file's own split. `n_unknown` rows name no part; `n_shared` test rows are also train rows."""

    n_rows: dict[str, int]  # by part
    n_unknown: int
    unknown_word: str | None
    untrained: tuple[str, ...]  # classes with fewer than 2 train rows
    untested: tuple[str, ...]  # classes without a test row
    n_shared: int


def part_sql(key: str) -> str:
    """Return SQL for the part that a split column names: 'train', 'valid' or 'test'; NULL where it names none."""
    cases = " ".join(f"WHEN '{word}' THEN '{part}'" for word, part in PARTS.items())
    return f"CASE lower(trim({key})) {cases} END"


def analyse(table: StagedTable, name: str, target: TargetAnalysis) -> tuple[Finding, ...]:
    """Return findings about the file's own split in the column `name`.

    Raises InputError where a value names no part, or where a part or a class has nothing to train on or to test.
    """
    parts = _count_parts(table, name, target)
    remedy = "or let Metascout make the split."
    if parts.n_unknown:
        text = f"{parts.n_unknown:,} rows of the split column {name!r} are neither train, valid nor test"
        raise InputError(f"{text}, such as {parts.unknown_word!r}.", remedy=f"Correct them, {remedy}")
    for part in ("train", "test"):
        if not parts.n_rows.get(part):
            raise InputError(f"The split column {name!r} has no {part} rows.", remedy=f"Add some, {remedy}")
    if target.labels and parts.untrained:
        text = f"{plural(len(parts.untrained), 'class has', 'classes have')} fewer than 2 train rows by {name!r}"
        text = f"{text}: {_names(parts.untrained)}."
        raise InputError(text, remedy=f"Remove them from the file, {remedy}")
    return tuple(_findings(name, parts))


def _count_parts(table: StagedTable, name: str, target: TargetAnalysis) -> _Parts:
    key, value = f"c{table.names.index(name)}", target.value_sql
    label = value if target.labels else "''"
    keys = [column.key for column in target.columns if column.type != "ignored" and column != target.column]
    with scratch.connect(len(keys)) as connection:
        connection.execute(
            f"""CREATE TEMP TABLE parts AS SELECT {key} AS word, {part_sql(key)} AS part, {label} AS label,
            hash({", ".join(keys)}) AS unit FROM read_parquet(?)
            WHERE ({value}) IS NOT NULL AND NOT list_contains(?, CAST(({value}) AS VARCHAR))""",
            [str(table.parquet), list(target.dropped_labels)],
        )
        unknown = connection.execute("SELECT any_value(coalesce(word, '')), count(*) FROM parts WHERE part IS NULL")
        word, n_unknown = unknown.fetchall()[0]
        n_rows = dict(connection.execute("SELECT part, count(*) FROM parts GROUP BY part").fetchall())
        untrained, untested = connection.execute(
            """SELECT list(label ORDER BY label) FILTER (n_train < 2), list(label ORDER BY label) FILTER (n_test = 0)
            FROM (SELECT label, count(*) FILTER (part = 'train') AS n_train, count(*) FILTER (part = 'test') AS n_test
            FROM parts GROUP BY label)"""
        ).fetchall()[0]
        query = "SELECT count(*) FROM parts WHERE part = 'test' AND unit IN (SELECT unit FROM parts WHERE part='train')"
        n_shared = connection.execute(query).fetchall()[0][0]
    return _Parts(n_rows, n_unknown, word, tuple(untrained or ()), tuple(untested or ()), n_shared)


def _findings(name: str, parts: _Parts) -> Iterator[Finding]:
    n_train, n_test = parts.n_rows["train"], parts.n_rows["test"]
    text = f"The file's own split is used: {n_train:,} train rows and {n_test:,} test rows."
    if "valid" not in parts.n_rows:
        text += " A fifth of the train rows becomes the validation set."
    yield Finding("own_split", text, name)
    if parts.untested:
        classes = plural(len(parts.untested), "class has no test row", "classes have no test row")
        text = f"{classes}: {_names(parts.untested)}. Not covered by the test score."
        yield Finding("no_test", text)
    if parts.n_shared:
        text = f"{parts.n_shared:,} of {n_test:,} test rows are also train rows. Test scores will be too good."
        yield Finding("own_split_leak", text, name)


def _names(labels: Sequence[str]) -> str:
    return ", ".join(map(str, labels[:5]))


def make(connection: duckdb.DuckDBPyConnection, table: Path, keys: Sequence[str], target: str, *,
         regression: bool, seed: int, part: str = "'all'") -> None:  # fmt: skip
    """Create the temporary table `splits` (position, split) for the rows of a Parquet file, in its order.

    60% train, 20% valid, 20% test within each class, or within each tenth of a regression target; every class has at
    least one row in valid and in test. Rows that are equal in all of `keys` go to one split, so no test row is also a
    train row, unless they are over 5% of their class: in such data repetition is normal.
    `part` is a column with the file's own split, which stays; a fifth of its train becomes valid if it has no valid.
    """
    # md5 of the values, not DuckDB's hash(), which may change between versions.
    texts = ", ".join(f"coalesce(CAST({key} AS VARCHAR), chr(30))" for key in keys)
    stratum = f"((rank() OVER (ORDER BY {target}) - 1) * 10) // count(*) OVER ()" if regression else target
    connection.execute(
        f"""CREATE TEMP TABLE units AS
        SELECT file_row_number AS position, {stratum} AS stratum, {part} AS part,
            md5_number_lower(concat_ws(chr(31), CAST(? AS VARCHAR), {texts})) AS unit
        FROM read_parquet(?, file_row_number = true)""",
        [seed, str(table)],
    )
    connection.execute(
        """CREATE TEMP TABLE splits AS
        WITH ranked AS (
            SELECT position, part, count(*) OVER (PARTITION BY part, stratum) AS n,
                count(*) OVER (PARTITION BY part, stratum, unit) AS n_equal,
                rank() OVER (PARTITION BY part, stratum ORDER BY unit) - 1 AS first_place,
                row_number() OVER (PARTITION BY part, stratum ORDER BY unit, position) - 1 AS own_place
            FROM units),
        placed AS (
            SELECT position, part, greatest(1, (2 * n + 5) // 10) AS fifth,
                CASE WHEN n_equal * 20 <= n THEN first_place ELSE own_place END AS place
            FROM ranked)
        SELECT position,
            CASE WHEN part IN ('valid', 'test') THEN part
                WHEN place < fifth AND (SELECT count(*) FROM units WHERE part = 'valid') = 0 THEN 'valid'
                WHEN place < 2 * fifth AND part = 'all' THEN 'test' ELSE 'train' END AS split
        FROM placed ORDER BY position"""
    )
    connection.execute("DROP TABLE units")
