"""The log of a job: lines with a level, from the job itself and from the queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from core.store import database

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

Line = tuple[float, str, str]  # seconds since the epoch, level ("info", "warning", "error"), text


def add(connection: duckdb.DuckDBPyConnection, job_id: int, attempt: int, lines: Sequence[Line]) -> None:
    """Add lines to the log of an attempt."""
    if lines:
        connection.execute(
            "INSERT INTO messages SELECT ?, ?, unnest(?::DOUBLE[]), unnest(?::VARCHAR[]), unnest(?::VARCHAR[])",
            [job_id, attempt, *map(list, zip(*lines, strict=True))],
        )


def messages(job_id: int, *, limit: int = 500) -> pd.DataFrame:
    """Return the last lines of a job's log, the newest first: attempt, happened_at, level, text."""
    with database.transaction() as connection:
        return connection.execute(
            "SELECT attempt, happened_at, level, text FROM messages WHERE job_id=? ORDER BY happened_at DESC LIMIT ?",
            [int(job_id), limit],
        ).df()


def warnings(job_id: int) -> list[str]:
    """Return the warnings in a job's log without repetitions, the newest first."""
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT text FROM messages WHERE job_id=? AND level='warning' GROUP BY text ORDER BY max(happened_at) DESC,"
            " max(rowid) DESC",
            [int(job_id)],
        ).fetchall()
    return [row[0] for row in rows]
