"""A data directory and datasets for the tests of a module, so that a run of half a minute is made only once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import datasets
from core.datasets import Dataset
from core.events import Event
from runner.automl import job
from tests.runner.automl.h2o_runs import context_of, spec_of


@pytest.fixture(scope="module")
def home(empty_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One data directory for the module."""
    path = shutil.copytree(empty_home, tmp_path_factory.mktemp("automl") / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METASCOUT_HOME", str(path))
        patch.delenv("METASCOUT_STORE", raising=False)
        yield path


@pytest.fixture(scope="module")
def telco(home: Path, data: Path) -> Dataset:
    return datasets.register(data / "tabular/telco_churn.csv", name="telco", target="churn")


@pytest.fixture(scope="module")
def cancer(home: Path) -> Dataset:
    """A small binary dataset, for tests that start no process."""
    return datasets.add_sample("breast_cancer")


@pytest.fixture(scope="module")
def run_of_telco(telco: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Event], Path]:
    """The events of a real run on telco_churn, and its directory."""
    directory = tmp_path_factory.mktemp("run")
    context = context_of(telco, directory)
    return list(job.run(spec_of(telco, budget_s=120, max_models=3, folds=3), context)), directory
