"""Splits: which rows train, select and test. Seeded, stratified, and the same on any machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb


def make(connection: duckdb.DuckDBPyConnection, table: Path, keys: Sequence[str], target: str, *,
         regression: bool, seed: int) -> None:  # fmt: skip
    """Make the temporary table `splits` (position, split) for the rows of a Parquet file, in its order.

    60% train, 20% valid, 20% test within each class, or within each tenth of a regression target; every class has at
    least one row in valid and in test. Rows that are equal in all of `keys` go to one split, so that no test row was
    seen in training, unless they are over 5% of their class: there, repetition is the nature of the data.
    """
    # md5 of the values, not DuckDB's hash(), which may change between versions.
    texts = ", ".join(f"coalesce(CAST({key} AS VARCHAR), chr(30))" for key in keys)
    stratum = f"((rank() OVER (ORDER BY {target}) - 1) * 10) // count(*) OVER ()" if regression else target
    connection.execute(
        f"""CREATE TEMP TABLE units AS
        SELECT file_row_number AS position, {stratum} AS stratum,
            md5_number_lower(concat_ws(chr(31), CAST(? AS VARCHAR), {texts})) AS unit
        FROM read_parquet(?, file_row_number = true)""",
        [seed, str(table)],
    )
    connection.execute(
        """CREATE TEMP TABLE splits AS
        WITH ranked AS (
            SELECT position, count(*) OVER (PARTITION BY stratum) AS n,
                count(*) OVER (PARTITION BY stratum, unit) AS n_equal,
                rank() OVER (PARTITION BY stratum ORDER BY unit) - 1 AS first_place,
                row_number() OVER (PARTITION BY stratum ORDER BY unit, position) - 1 AS own_place
            FROM units),
        placed AS (
            SELECT position, greatest(1, (2 * n + 5) // 10) AS fifth,
                CASE WHEN n_equal * 20 <= n THEN first_place ELSE own_place END AS place
            FROM ranked)
        SELECT position,
            CASE WHEN place < fifth THEN 'valid' WHEN place < 2 * fifth THEN 'test' ELSE 'train' END AS split
        FROM placed ORDER BY position"""
    )
    connection.execute("DROP TABLE units")
