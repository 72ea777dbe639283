"""Learn2learn, for the benchmark only: `python -m tests.benchmarks.fewshot_steps --peer FOLDER` takes it from a folder.

Of the package only `algorithms/maml.py` and what that needs is imported, since the rest wants libraries that are old.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from runner.fewshot.learning.episodes import Batch
from runner.fewshot.learning.inner_loop import Inner


def load(folder: Path) -> Any:
    """Its class MAML. Raises ImportError where the folder does not hold the package."""
    for name in ("learn2learn", "learn2learn.algorithms"):
        package = ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")))]
        sys.modules[name] = package
    return importlib.import_module("learn2learn.algorithms.maml").MAML


def model(ways: int, width: int = 64) -> nn.Module:
    """Its network for Omniglot: four strided convolutions with bias, batch norm and ReLU, then the mean."""
    layers: list[nn.Module] = []
    for layer in range(4):
        convolution = nn.Conv2d(width if layer else 1, width, 3, 2, 1)
        layers += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, ways))


def gradient(maml: Any, batch: Batch, inner: Inner) -> None:
    """The meta-gradient of the tasks, as its examples make it."""
    maml.zero_grad()
    for task in range(len(batch)):
        learner = adapted(maml, batch.support_x[task], batch.support_y[task], inner)
        F.cross_entropy(learner(batch.query_x[task]), batch.query_y[task]).backward()


def adapted(maml: Any, x: Tensor, y: Tensor, inner: Inner, first_order: bool = False) -> Any:
    """A clone that has learned one task; with `first_order` it keeps no graph, which its examples do."""
    learner = maml.clone(first_order=first_order)
    for _ in range(inner.steps):
        learner.adapt(F.cross_entropy(learner(x), y))
    return learner
