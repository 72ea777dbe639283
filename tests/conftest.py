"""Fixtures for all tests: an empty store, the real data, a small dataset and a spec on it."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: tests run side by side, and threads wait for each other

from core import datasets, kinds
from core.specs import AutoMLSpec
from core.store import database

# Tests that cannot even be imported without a package; those that only run with one carry its marker.
NEEDS = {
    "runner/nas": "torch",
    "runner/fewshot": "torch",
    "core/store/test_backbones.py": "torch",
    "runner/automl": "sklearn",
    "runner/portfolio": "sklearn",
    "runner/shared/test_baselines.py": "sklearn",
    "core/advice": "sklearn",
    "core/test_scoring.py": "sklearn",
    "tools": "sklearn",
    "pages/in_browser": "playwright",
}
PACKAGES = {"torch": "torch", "sklearn": "sklearn", "h2o": "h2o", "browser": "playwright"}  # by marker


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out tests whose packages are not installed; in CI their absence is a failure."""
    name = collection_path.relative_to(Path(__file__).parent).as_posix() if "tests" in collection_path.parts else ""
    missing = not os.environ.get("CI") and name in NEEDS and not _is_installed(NEEDS[name])
    return True if missing else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that are marked with a package which is not installed; in CI they run, and fail."""
    for marker, package in PACKAGES.items():
        if os.environ.get("CI") or _is_installed(package):
            continue
        for item in items:
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=f"{package} is not installed"))


@pytest.fixture(autouse=True)
def real_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the rows of the kinds of job, which a test may replace (see tests/engines.py)."""
    monkeypatch.setattr(kinds, "KINDS", kinds.KINDS)


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty data directory with a migrated store, to copy."""
    path = tmp_path_factory.mktemp("empty") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METASCOUT_HOME", str(path))
        patch.delenv("METASCOUT_STORE", raising=False)
        with database.transaction():
            pass
    return path


@pytest.fixture(scope="session")
def small_home(empty_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with one registered dataset (see `dataset`), to copy: a copy is 50 times as fast."""
    folder = tmp_path_factory.mktemp("small")
    lines = ["size,colour,target"]
    for row in range(120):
        colour = ("red", "green", "blue")[row % 3]
        lines.append(f"{row * 37 % 101 / 10},{colour},{'yes' if (row * 37 % 101 > 50) != (row % 3 == 0) else 'no'}")
    (folder / "small.csv").write_text("\n".join(lines) + "\n")
    path = shutil.copytree(empty_home, folder / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METASCOUT_HOME", str(path))
        patch.delenv("METASCOUT_STORE", raising=False)
        datasets.register(folder / "small.csv", name="small", target="target")
    return path


@pytest.fixture(scope="module")
def module_home(empty_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One data directory for the tests of a module, which only add to it."""
    path = shutil.copytree(empty_home, tmp_path_factory.mktemp("module") / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METASCOUT_HOME", str(path))
        patch.delenv("METASCOUT_STORE", raising=False)
        yield path


@pytest.fixture
def home(empty_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data directory with a migrated store."""
    path = shutil.copytree(empty_home, tmp_path / "home")
    monkeypatch.setenv("METASCOUT_HOME", str(path))
    monkeypatch.delenv("METASCOUT_STORE", raising=False)
    return path


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real datasets (METASCOUT_DATA); in CI its absence is a failure, elsewhere a skip."""
    root = Path(__file__).parents[1]
    path = Path(os.environ.get("METASCOUT_DATA", root / ".." / "shared" / "data")).resolve()
    if not (path / "README.md").exists():
        reason = f"the real datasets are not at {path}; set METASCOUT_DATA to their folder"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture
def dataset(home: Path, small_home: Path) -> datasets.Dataset:
    """A registered binary dataset of 120 rows: a number, a category, and a target that depends on both."""
    shutil.copytree(small_home, home, dirs_exist_ok=True)
    return datasets.get("small")


@pytest.fixture
def spec(dataset: datasets.Dataset) -> AutoMLSpec:
    """The default AutoML spec on the small dataset."""
    return AutoMLSpec(dataset_id=dataset.id)
