"""Splits: which rows train, select and test. Seeded, stratified, and the same on any machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb

from core.datasets.files import scratch, tables
from core.datasets.files.findings import Finding
from core.datasets.target import Verdict
from core.errors import InputError

PARTS = {
    "train": "train", "training": "train", "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid",
    "test": "test", "testing": "test",
}  # fmt: skip


def part_sql(key: str) -> str:
    """SQL of the part that a file's own split column names: 'train', 'valid' or 'test'; NULL where it names none."""
    cases = " ".join(f"WHEN '{word}' THEN '{part}'" for word, part in PARTS.items())
    return f"CASE lower(trim({key})) {cases} END"


def judge(staged: tables.StagedTable, name: str, verdict: Verdict) -> tuple[Finding, ...]:
    """What a file's own split in the column `name` leaves to learn from.

    Raises InputError where a value names no part, or where a part or a class has nothing to train on or to test.
    """
    key, target = f"c{staged.names.index(name)}", verdict.value_sql
    label = target if verdict.labels else "''"
    keys = [column.key for column in verdict.columns if column.type != "ignored" and column != verdict.column]
    with scratch.connect(len(keys)) as connection:
        connection.execute(
            f"""CREATE TEMP TABLE parts AS SELECT {key} AS word, {part_sql(key)} AS part, {label} AS label,
            hash({", ".join(keys)}) AS unit FROM read_parquet(?)
            WHERE ({target}) IS NOT NULL AND NOT list_contains(?, CAST(({target}) AS VARCHAR))""",
            [str(staged.parquet), list(verdict.dropped_labels)],
        )
        odd = connection.execute("SELECT any_value(coalesce(word, '')), count(*) FROM parts WHERE part IS NULL")
        example, n_odd = odd.fetchall()[0]
        counts = dict(connection.execute("SELECT part, count(*) FROM parts GROUP BY part").fetchall())
        bare = connection.execute(
            """SELECT list(label ORDER BY label) FILTER (n_train < 2), list(label ORDER BY label) FILTER (n_test = 0)
            FROM (SELECT label, count(*) FILTER (part = 'train') AS n_train, count(*) FILTER (part = 'test') AS n_test
            FROM parts GROUP BY label)"""
        ).fetchall()[0]
        query = "SELECT count(*) FROM parts WHERE part = 'test' AND unit IN (SELECT unit FROM parts WHERE part='train')"
        n_known = connection.execute(query).fetchall()[0][0]
    if n_odd:
        told = f"{n_odd:,} rows of the split column {name!r} are neither train, valid nor test, such as {example!r}"
        raise InputError(f"{told}. Correct them, or let the split be made here.")
    for part in ("train", "test"):
        if not counts.get(part):
            raise InputError(f"The split column {name!r} has no {part} rows. Add some, or let the split be made here.")
    if verdict.labels and bare[0]:
        told = f"{len(bare[0])} classes have fewer than 2 train rows by {name!r}: {', '.join(map(str, bare[0][:5]))}"
        raise InputError(f"{told}. Leave them out of the file, or let the split be made here.")
    return tuple(_findings(name, counts, bare[1] or (), n_known))


def _findings(name: str, counts: dict[str, int], untested: Sequence[str], n_known: int) -> Iterator[Finding]:
    cut = "" if "valid" in counts else ", a fifth of them for validation"
    told = f"{counts['train']:,} rows to learn from{cut}, {counts['test']:,} test rows"
    yield Finding("own_split", f"The file's own split is kept: {told}.", name)
    if untested:
        told = ", ".join(map(str, untested[:5]))
        yield Finding("no_test", f"{len(untested)} classes have no test row and are not judged there: {told}.")
    if n_known:
        told = f"{n_known:,} of {counts['test']:,} test rows are train rows, too"
        yield Finding("own_split_leak", f"{told}: what is measured on them is memory.", name)


def make(connection: duckdb.DuckDBPyConnection, table: Path, keys: Sequence[str], target: str, *,
         regression: bool, seed: int, part: str = "'all'") -> None:  # fmt: skip
    """Make the temporary table `splits` (position, split) for the rows of a Parquet file, in its order.

    60% train, 20% valid, 20% test within each class, or within each tenth of a regression target; every class has at
    least one row in valid and in test. Rows that are equal in all of `keys` go to one split, so that no test row was
    seen in training, unless they are over 5% of their class: there, repetition is the nature of the data.
    `part` is a column with the file's own split: it is kept, and a fifth of its train becomes valid if it has none.
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
