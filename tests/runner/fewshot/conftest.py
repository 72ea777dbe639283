"""Fixtures of the few-shot jobs: registered datasets, two trained initialisations, and stored pretrained weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.datasets import Dataset
from tests.runner.fewshot import small_datasets
from tests.runner.fewshot.pattern_jobs import patterns
from tests.runner.fewshot.resnet_weights import SMALL, SMALL_BLOCKS, resnet, store

__all__ = ["patterns"]


@pytest.fixture
def signs(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return small_datasets.copy_of(small_datasets.signs, home, tmp_path_factory)


@pytest.fixture
def table(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return small_datasets.copy_of(small_datasets.things, home, tmp_path_factory)


@pytest.fixture
def texts(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return small_datasets.copy_of(small_datasets.topics, home, tmp_path_factory)


@pytest.fixture
def sine_waves(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return small_datasets.copy_of(small_datasets.sine_waves, home, tmp_path_factory)


@pytest.fixture
def photos(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return small_datasets.copy_of(small_datasets.photos, home, tmp_path_factory)


@pytest.fixture
def weights(home: Path, tmp_path: Path) -> str:
    """The sha256 of a stored small ResNet of random numbers."""
    return store(tmp_path, resnet(SMALL, SMALL_BLOCKS))


@pytest.fixture
def no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skips the classifier's files, which take seconds and come after the answer."""
    monkeypatch.setattr("runner.fewshot.deploy.write_files", lambda *arguments: iter(()))
