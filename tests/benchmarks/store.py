"""The store: the cost of a read and a write, and whether four killed processes lose a row."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import duckdb

from core.store import database
from tests.benchmarks import own_home, sample, summary, times_ms
from tests.drills import contention

_COUNT = "SELECT count(*) FROM jobs"


def _read() -> None:
    with database.transaction() as connection:
        connection.execute(_COUNT).fetchall()


def _fresh_instance() -> None:
    connection = duckdb.connect(str(database.store_path()), read_only=True)
    connection.execute(_COUNT).fetchall()
    connection.close()


def _write() -> None:
    with database.transaction(write=True) as connection:
        connection.execute("INSERT INTO messages VALUES (1, 1, 0.0, 'info', 'a line of the log')")


def figures() -> Iterator[tuple[str, str]]:
    """The figures of this part, as they are measured."""
    with own_home() as folder:
        sample()
        read, fresh = times_ms(_read, _fresh_instance, rounds=20, block=11)
        yield "read through db.transaction()", summary(read)
        yield "read by opening a fresh DuckDB instance", summary(fresh)
        yield "fresh instance / transaction (median)", f"{statistics.median(fresh) / statistics.median(read):.1f}x"
        yield "small write through db.transaction()", summary(times_ms(_write, rounds=200)[0])
        outcome = contention.run(folder, submitters=4, submits=250, claimers=2, kill_every_s=0.5)
        yield "4 processes x 250 submits, 2 claimers, killed at random: acknowledged", str(outcome.acknowledged)
        yield "  kills", str(outcome.kills)
        yield "  acknowledged jobs lost", str(outcome.lost)
        yield "  jobs claimed (claimed twice)", f"{outcome.claimed} ({outcome.twice})"
        yield "  seconds", f"{outcome.seconds:.0f}"
