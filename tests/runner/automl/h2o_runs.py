"""Runs of the H2O engine: their specs and contexts, their models, and the Java processes behind them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
import pytest

from core import datasets
from core.datasets import Dataset
from core.events import Event, TrialDone
from core.scoring import Array, score
from core.specs import AutoMLSpec
from runner.automl.jvm import find_java
from runner.shared.context import Context
from tests.model_folders import predict

GIB = 2**30


def context_of(dataset: Dataset, directory: Path, cancelled: Callable[[], bool] = lambda: False) -> Context:
    for name in ("tmp", "artifacts"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    return Context(1, 1, dataset, directory, 2, 0, cancelled)


def spec_of(dataset: Dataset, **fields: object) -> AutoMLSpec:
    return AutoMLSpec.model_validate({"dataset_id": dataset.id, "memory_bytes": GIB, **fields})


def models_of(events: list[Event]) -> list[TrialDone]:
    return [event for event in events if isinstance(event, TrialDone) and not event.yardstick]


def java_of(directory: Path) -> list[psutil.Process]:
    """The living Java processes whose files are below a directory."""
    processes = []
    for process in psutil.process_iter(["cmdline", "status"]):
        if f"-Djava.io.tmpdir={directory}" in " ".join(process.info["cmdline"] or ()):
            processes.append(process)
    return processes


def features_of_test_set(dataset: Dataset) -> pd.DataFrame:
    """The test set as a user has it, without the target."""
    names = {column.key: column.name for column in dataset.features}
    return datasets.load(dataset, "test")[list(names)].rename(columns=names)


def predictions(folder: Path, rows: pd.DataFrame | str) -> pd.DataFrame:
    """What the downloaded model predicts of rows, given as a table or as the text of a CSV file."""
    text = rows if isinstance(rows, str) else rows.to_csv(index=False)
    (folder / "rows.csv").write_text(text, "utf-8")
    return predict(folder, "rows.csv", env=java())


def java() -> dict[str, str]:
    """An environment that has a Java and nothing else."""
    return {"PATH": os.defpath, "METASCOUT_JAVA": str(find_java().path)}


def check_scores(trial: TrialDone, dataset: Dataset, actual: Array, out: pd.DataFrame) -> None:
    """The predictions of the downloaded model have the scores of its trial."""
    shares = out[[f"probability of {label}" for label in dataset.labels]].to_numpy(float)
    again = score("binary", dataset.labels, (actual, shares), (actual, shares))
    assert [s.test for s in again] == pytest.approx([s.test for s in trial.scores], abs=1e-6)
    assert [s.lower for s in again] == pytest.approx([s.lower for s in trial.scores], abs=1e-6)
