"""How well a method does on the episodes of a split."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from runner.fewshot.learning.adapt import RATE, Inner, each, has_statistics, losses
from runner.fewshot.learning.algorithms import Algorithm
from runner.fewshot.learning.episodes import ClassTasks, Split, Tasks, scaled
from runner.fewshot.learning.task_networks import HEAD, STORED, Known, Network, Weights

_FEWEST = 50  # episodes that say something
_ROWS = 64  # whose features are computed at once


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
    until: float = math.inf,
) -> Estimate:
    """Estimate from the first episodes of a split, at least two; `chunk` of them at a time are in memory.

    After `until` (of the monotonic clock) it makes do with those that it has, if they are fifty.
    """
    if n_episodes < 2:
        raise ValueError(f"{n_episodes} episodes give no interval: ask for 2 or more.")
    if inner.shares_features and not inner.transductive and has_statistics(meta) and isinstance(tasks, ClassTasks):
        network, meta, tasks = _embedded(network, meta, tasks, split, device)
    found = []
    for first in range(0, n_episodes, chunk):
        if first >= _FEWEST and time.monotonic() > until:
            break
        batch = tasks.batch(split, first, min(chunk, n_episodes - first)).to(device)
        outputs = algorithm.outputs(network, meta, batch, inner).detach()
        found.append(_values(outputs, batch.query_y).double().cpu())
    values = torch.cat(found)
    mean, half = float(values.mean()), 1.96 * float(values.std()) / math.sqrt(len(values))
    return Estimate(mean, mean - half, mean + half, len(values))


@torch.no_grad()
def _embedded(
    network: Network, meta: Weights, tasks: ClassTasks, split: Split, device: str
) -> tuple[Network, Weights, ClassTasks]:
    """The same with each row's features in place of its inputs: a row comes in many tasks and has one answer."""
    weights = each(network, meta, 1)
    rows = torch.tensor([row for label in tasks.splits[split] for row in tasks.rows.get(label, ())])
    parts = []
    for part in rows.split(_ROWS):
        x = network.prepared(scaled(tasks.inputs[part.to(tasks.inputs.device)].to(device))[None])
        parts.append(network.features(weights, x, STORED)[0])
    found = torch.cat(parts)
    features = found.new_zeros(len(tasks.inputs), found.shape[1])
    features[rows.to(device)] = found
    known = Known(found.shape[1], len(meta[HEAD[0]]))
    heads = {name: value for name, value in meta.items() if name in known.shapes() or name.startswith(RATE)}
    return known, heads, replace(tasks, inputs=features, rotated=False, distorted=False)


def _values(outputs: Tensor, y: Tensor) -> Tensor:
    return losses(outputs, y) if y.is_floating_point() else (outputs.argmax(2) == y).float().mean(1)
