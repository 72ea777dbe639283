"""Scratch: a folder and a DuckDB for heavy work on files, apart from the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from core.store import database
from core.store.database import explain_disk_full


def folder() -> Path:
    """Return the folder for temporary files; housekeeping deletes what nobody has used for a day."""
    path = database.home() / "tmp"
    with explain_disk_full():
        path.mkdir(parents=True, exist_ok=True)
    return path


def connect(n_columns: int = 0) -> duckdb.DuckDBPyConnection:
    """Return a new in-memory DuckDB: two threads, at most 512 MB of memory, spilling into the scratch folder.

    Pass `n_columns` for a query over more than 1,000 columns, which may use 2 GB.
    """
    settings: dict[str, Any] = {
        "memory_limit": "2GB" if n_columns > 1_000 else "512MB",
        "threads": 2,
        "temp_directory": str(folder() / "duckdb"),
        "autoinstall_known_extensions": False,
    }
    connection = duckdb.connect(":memory:", config=settings)
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def query(sql: str, parameters: list[Any]) -> pd.DataFrame:
    """Return the result of a query on Parquet files, with texts as pandas strings."""
    with explain_disk_full(), connect() as connection:
        return connection.sql(sql, params=parameters).to_arrow_table().to_pandas()
