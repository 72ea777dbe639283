"""Generated knowledge to ship, in which the share of categories decides what is best, and data directories with it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import datasets, results, specs
from core.advice import fits, learning_curve
from core.advice.selector import Selector
from core.datasets import Dataset
from core.events import Score, TrialDone
from core.metafeatures import LANDMARKERS, NAMES
from core.queue import jobs
from core.specs import PortfolioSpec

N_TASKS = 40
CANDIDATES = ("HistGradientBoosting", "Linear", "SVM", "Baseline")


def ship(path: Path, *, tasks: int = N_TASKS, noise: float = 0.005, seed: int = 0) -> Path:
    """Write the file: linear models win if all columns are numbers, boosting if they are categories."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(tasks):
        features = {f"feature:{name}": random.random() for name in NAMES if name not in LANDMARKERS}
        features |= {"feature:categorical_frac": float(number % 2), "feature:numeric_frac": float(1 - number % 2)}
        n_rows = 100 * (3 + number)
        features |= {
            "feature:n_rows": float(n_rows),
            "feature:log_n_rows": np.log10(n_rows),
            "feature:log_n_features": 1.0,
        }
        errors = (0.1, 0.3, 0.2, 0.5) if number % 2 else (0.3, 0.1, 0.2, 0.5)
        for candidate, error in zip(CANDIDATES, errors, strict=True):
            about = {"task": f"task {number}", "origin": "generated", "family": f"family {number}", "kind": "binary"}
            about |= {"fingerprint": f"print {number}", "candidate": candidate, "metric": "auc"}
            rows.append({**about, "error": error + noise * random.normal(), "fit_s": n_rows / 1000, **features})
    pd.DataFrame(rows).to_parquet(path)
    return path


class SmallSelector(Selector):
    """Smaller forests than a user's, which say the same of such plain knowledge."""

    def __init__(self) -> None:
        super().__init__(trees=100, plan_trees=50)


def use_small_selectors(patch: pytest.MonkeyPatch) -> None:
    """Let fits be quick."""
    patch.setattr(fits, "Selector", SmallSelector)
    patch.setattr(learning_curve, "_TREES", 20)


def record_job(dataset: Dataset, spec: specs.Spec | None = None, **errors: float) -> None:
    """Record a finished job on the dataset with a trial of each algorithm."""
    jobs.submit(spec or PortfolioSpec(dataset_id=dataset.id))
    job = jobs.claim("w")
    assert job is not None
    trials = [
        TrialDone(
            candidate=name, algorithm=name, metric="auc", fit_s=1.5, predict_row_s=1e-5, size_bytes=10,
            scores=tuple(_score(metric, error) for metric in ("auc", "log_loss")),
        )
        for name, error in errors.items()
    ]  # fmt: skip
    results.record(job, trials)
    jobs.finish(job, "succeeded")


def _score(metric: str, error: float) -> Score:
    return Score(metric, 1 - error, 1 - error, 1 - error - 0.01, 1 - error + 0.01, error, error)


@pytest.fixture(scope="session")
def sample_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that `ship` writes, to copy."""
    return ship(tmp_path_factory.mktemp("shipped") / "shipped.parquet")


@pytest.fixture(scope="session")
def numbers_home(empty_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a dataset whose columns are numbers, to copy."""
    folder = tmp_path_factory.mktemp("numbers")
    random = np.random.default_rng(1)
    frame = pd.DataFrame(random.normal(size=(200, 5)), columns=list("abcde"))
    frame["y"] = np.where(frame["a"] > 0, "yes", "no")
    frame.to_csv(folder / "numbers.csv", index=False)
    path = shutil.copytree(empty_home, folder / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METASCOUT_HOME", str(path))
        patch.delenv("METASCOUT_STORE", raising=False)
        datasets.register(folder / "numbers.csv", name="numbers", target="y")
    return path


@pytest.fixture(scope="session")
def fitted_home(numbers_home: Path, sample_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a selector for classes, to copy."""
    path = shutil.copytree(numbers_home, tmp_path_factory.mktemp("fitted") / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METASCOUT_HOME", str(path))
        patch.delenv("METASCOUT_STORE", raising=False)
        patch.setattr("core.knowledge.table.SHIPPED", sample_file)
        use_small_selectors(patch)
        assert fits.refit("classification")
    return path


@pytest.fixture
def shipped(sample_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The knowledge that ships, in place of the real one; a test may change the file. Fits are quick."""
    path = tmp_path / "shipped.parquet"
    shutil.copy2(sample_file, path)
    monkeypatch.setattr("core.knowledge.table.SHIPPED", path)
    use_small_selectors(monkeypatch)
    return path


@pytest.fixture
def numbers(home: Path, numbers_home: Path) -> Dataset:
    """A dataset whose columns are numbers."""
    shutil.copytree(numbers_home, home, dirs_exist_ok=True)
    return datasets.get("numbers")


@pytest.fixture
def fit(home: Path, shipped: Path, numbers: Dataset, fitted_home: Path) -> fits.Fit:
    """The fitted selector for classes, beside the dataset of numbers."""
    shutil.copytree(fitted_home, home, dirs_exist_ok=True)
    last = fits.last_fit("classification")
    assert last is not None
    return last
