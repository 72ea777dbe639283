"""A data directory for the tests of a module, with a table for each task."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.datasets import Dataset
from tests.runner.portfolio.portfolio_runs import mixed_table, register


@pytest.fixture(scope="module")
def classes(module_home: Path) -> Dataset:
    return register(mixed_table(240).drop(columns="size"), module_home.parent, "kind", said="text")


@pytest.fixture(scope="module")
def numbers(module_home: Path) -> Dataset:
    return register(mixed_table(240).drop(columns="kind"), module_home.parent, "size", said="text")
