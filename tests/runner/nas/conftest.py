"""Settings of every test of this engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_limits

from tests.runner.nas.searches import Search, shorten_epochs


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One thread: the tensors are small, and tests run side by side."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def one_blas_thread() -> Iterator[None]:
    """One thread for matrix products: the matrices are small."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """No longer epochs where a dataset has few rows."""
    shorten_epochs(monkeypatch)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Search:
    """A search that has ended, with eight candidates and two finalists; its checkpoint must stay as it is."""
    with pytest.MonkeyPatch.context() as patch:
        shorten_epochs(patch)
        return Search(tmp_path_factory.mktemp("finished") / "search.pt").run()


@pytest.fixture
def finished_path(finished: Search) -> Path:
    return finished.checkpoint
