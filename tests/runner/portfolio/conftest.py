"""A data directory for the tests of a module, with a table for each task."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.datasets import Dataset
from tests.runner.portfolio.portfolio_runs import mixed_table, register


@pytest.fixture(scope="module")
def module_home(empty_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One data directory for the module: its tests add datasets, and no jobs."""
    path = shutil.copytree(empty_home, tmp_path_factory.mktemp("portfolio") / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METASCOUT_HOME", str(path))
        patch.delenv("METASCOUT_STORE", raising=False)
        yield path


@pytest.fixture(scope="module")
def classes(module_home: Path) -> Dataset:
    return register(mixed_table(240).drop(columns="size"), module_home.parent, "kind", said="text")


@pytest.fixture(scope="module")
def numbers(module_home: Path) -> Dataset:
    return register(mixed_table(240).drop(columns="kind"), module_home.parent, "size", said="text")
