"""How well a method does on the episodes of a split."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from runner.fewshot.adapt import Inner, losses
from runner.fewshot.algorithms import Algorithm
from runner.fewshot.episodes import Split, Tasks
from runner.fewshot.networks import Network, Weights


@dataclass(frozen=True)
class Estimate:
    """The mean over episodes and a 95% interval of it: accuracy of classes, mean squared error of numbers."""

    value: float
    lower: float
    upper: float
    n_episodes: int


def evaluate(
    network: Network,
    meta: Weights,
    tasks: Tasks,
    split: Split,
    algorithm: Algorithm,
    inner: Inner,
    n_episodes: int,
    *,
    chunk: int = 16,
    device: str = "cpu",
) -> Estimate:
    """Estimate from the first episodes of a split, at least two; `chunk` of them at a time are in memory."""
    if n_episodes < 2:
        raise ValueError(f"{n_episodes} episodes give no interval: ask for 2 or more.")
    found = []
    for first in range(0, n_episodes, chunk):
        batch = tasks.batch(split, first, min(chunk, n_episodes - first)).to(device)
        outputs = algorithm.outputs(network, meta, batch, inner).detach()
        found.append(_values(outputs, batch.query_y).double().cpu())
    values = torch.cat(found)
    mean, half = float(values.mean()), 1.96 * float(values.std()) / math.sqrt(n_episodes)
    return Estimate(mean, mean - half, mean + half, n_episodes)


def _values(outputs: Tensor, y: Tensor) -> Tensor:
    return losses(outputs, y) if y.is_floating_point() else (outputs.argmax(2) == y).float().mean(1)
