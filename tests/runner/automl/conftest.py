"""A data directory and datasets for the tests of a module, so that a run of half a minute is made only once."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import datasets
from core.datasets import Dataset
from core.events import Event
from runner.automl import job
from tests.runner.automl.h2o_runs import context_of, spec_of


@pytest.fixture(scope="module")
def home(module_home: Path) -> Path:
    return module_home


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
