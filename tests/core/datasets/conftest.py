"""What the tests of datasets share: files to register, and one DuckDB for all of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from core.datasets.files import scratch

Save = Callable[..., Path]


@cache
def _duckdb() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:", config={"threads": 2, "memory_limit": "512MB"})
    connection.execute("SET TimeZone = 'UTC'")
    return connection


@pytest.fixture(autouse=True)
def one_duckdb(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One DuckDB for all quick tests, as starting one takes longer than most of their queries.

    Slow tests, and those that ask for `own_duckdb`, start their own ones as the product does.
    """
    if "own_duckdb" not in request.fixturenames and request.node.get_closest_marker("slow") is None:
        monkeypatch.setattr(scratch, "connect", lambda n_columns=0: _duckdb().cursor())


@pytest.fixture
def own_duckdb() -> None:
    """Start a DuckDB for each connection, as the product does."""


@pytest.fixture
def save_csv(home: Path, tmp_path: Path) -> Save:
    """A function that saves a table as a CSV file."""

    def save(frame: pd.DataFrame, name: str = "t.csv") -> Path:
        frame.to_csv(tmp_path / name, index=False)
        return tmp_path / name

    return save
