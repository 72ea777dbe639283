"""Scratch: a DuckDB of bounded memory, whose spilled rows go below the data directory."""

from __future__ import annotations

import pytest

from core.datasets.files import scratch


@pytest.mark.parametrize(("n_columns", "limit"), [(0, "488.2 MiB"), (1_001, "1.8 GiB")])
def test_memory_and_threads_are_bounded_and_times_are_utc(home, own_duckdb, n_columns, limit):
    names = ("memory_limit", "threads", "temp_directory", "TimeZone", "autoinstall_known_extensions")
    with scratch.connect(n_columns) as connection:
        select = ", ".join(f"current_setting('{name}')" for name in names)
        [row] = connection.execute(f"SELECT {select}").fetchall()
    assert row == (limit, 2, str(home / "tmp" / "duckdb"), "UTC", False)
