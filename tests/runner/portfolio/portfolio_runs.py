"""Runs of the portfolio engine on small tables, and models that fail as models do."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier

from core import datasets
from core.datasets import Dataset
from core.events import Event, Message, TrialDone
from core.scoring import Array
from core.specs import PortfolioSpec
from runner.portfolio import job
from runner.shared import pipelines
from runner.shared.context import Context

QUICK = ("Baseline", "Linear", "DecisionTree")
WORDS = ("good", "fine", "bright", "warm", "bad", "dull", "cold", "grey")


def mixed_table(n: int) -> pd.DataFrame:
    """Numbers, a category, times and texts, each with gaps; `kind` and `size` depend on all but the times."""
    random = np.random.default_rng(0)
    width, warm = random.normal(size=n), random.random(n) < 0.5
    colour = random.choice(["red", "green", "blue"], n)
    words = [" ".join(random.choice(WORDS[:5] if one else WORDS[3:], 5)) for one in warm]
    total = width + warm + (colour == "red") + random.normal(size=n) / 4
    frame = pd.DataFrame({"width": width.round(3), "colour": colour, "said": words})
    frame["seen"] = pd.to_datetime("2021-03-01") + pd.to_timedelta(random.integers(0, 1_000, n), unit="h")
    frame["seen"] = frame["seen"].dt.strftime("%Y-%m-%d %H:%M:%S")
    for place, name in enumerate(frame):
        frame[name] = frame[name].astype(object).where((np.arange(n) + place) % 9 > 0, "")
    return frame.assign(kind=np.where(total > 1, "much", "little"), size=total.round(3))


def register(frame: pd.DataFrame, folder: Path, target: str, **types: str) -> Dataset:
    path = folder / f"{target}.csv"
    frame.to_csv(path, index=False)
    return datasets.register(path, name=f"{folder.name} {target}", target=target, types=types)


def context_of(
    dataset: Dataset, directory: Path, *, cpus: int = 2, cancelled: Callable[[], bool] = lambda: False
) -> Context:
    (directory / "artifacts").mkdir(parents=True, exist_ok=True)
    return Context(1, 1, dataset, directory, cpus, 0, cancelled)


def spec_of(dataset: Dataset, **fields: object) -> PortfolioSpec:
    """A spec that saves no models unless asked to: the import of skops takes seconds."""
    return PortfolioSpec.model_validate({"dataset_id": dataset.id, "keep_models": False, **fields})


def run(dataset: Dataset, directory: Path, *, cpus: int = 2, **fields: object) -> list[Event]:
    return list(job.run(spec_of(dataset, **fields), context_of(dataset, directory, cpus=cpus)))


def trials_of(events: list[Event]) -> dict[str, TrialDone]:
    return {event.algorithm: event for event in events if isinstance(event, TrialDone)}


def warnings_of(events: list[Event]) -> list[str]:
    """The warnings, without that of a machine that has no skops to save models with."""
    warnings = [event.text for event in events if isinstance(event, Message) and event.level == "warning"]
    return [text for text in warnings if "skops" not in text]


def value(trial: TrialDone, metric: str) -> float:
    return next(score.test for score in trial.scores if score.metric == metric)


class Sleeper(DummyClassifier):
    """Takes longer than anybody waits."""

    def fit(self, x: object, y: Array) -> Sleeper:
        time.sleep(600)
        return self


class Broken(DummyClassifier):
    """Cannot be fitted."""

    def fit(self, x: object, y: Array) -> Broken:
        raise ValueError("the matrix is odd\nand more")


class Killed(DummyClassifier):
    """Ends as a process ends that takes all memory."""

    def fit(self, x: object, y: Array) -> Killed:
        os.kill(os.getpid(), signal.SIGKILL)
        return self


def change_row(monkeypatch: pytest.MonkeyPatch, name: str, **fields: object) -> None:
    """Change fields of a candidate's row for a test."""
    rows = tuple(replace(row, **fields) if row.name == name else row for row in pipelines.CANDIDATES)
    monkeypatch.setattr(pipelines, "CANDIDATES", rows)


def change_model(monkeypatch: pytest.MonkeyPatch, name: str, kind: type[DummyClassifier]) -> None:
    """Let a candidate fit another model for a test."""
    change_row(monkeypatch, name, family="trees", make=lambda shape: kind())
