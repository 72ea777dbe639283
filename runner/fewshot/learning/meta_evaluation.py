"""The score of an initialisation on the episodes of a split."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from runner.fewshot.learning.algorithms import Algorithm
from runner.fewshot.learning.episodes import ClassTasks, Split, Tasks, scale_pixels
from runner.fewshot.learning.inner_loop import RATE_PREFIX, Inner, has_statistics, losses, weights_per_task
from runner.fewshot.learning.task_networks import HEAD, STORED_STATISTICS, Identity, Network, Weights

_MIN_EPISODES = 50  # fewer say little
_ROWS = 64  # whose features are computed at once


@dataclass(frozen=True)
class Estimate:
    """The mean over episodes and its 95% interval: accuracy for classes, mean squared error for numbers."""

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
    tasks_at_once: int = 16,
    device: str = "cpu",
    deadline: float = math.inf,
) -> Estimate:
    """Return the estimate from the first `n_episodes` of a split.

    After the deadline (of the monotonic clock) it stops early, once it has 50 episodes. Raises ValueError for fewer
    than two episodes.
    """
    if n_episodes < 2:
        raise ValueError(f"{n_episodes} episodes give no interval: ask for 2 or more.")
    if inner.shares_features and not inner.transductive and has_statistics(meta) and isinstance(tasks, ClassTasks):
        network, meta, tasks = _embed(network, meta, tasks, split, device)
    scores = []
    for first in range(0, n_episodes, tasks_at_once):
        if first >= _MIN_EPISODES and time.monotonic() > deadline:
            break
        batch = tasks.batch(split, first, min(tasks_at_once, n_episodes - first)).to(device)
        outputs = algorithm.outputs(network, meta, batch, inner).detach()
        scores.append(_scores(outputs, batch.query_y).double().cpu())
    values = torch.cat(scores)
    mean, half = float(values.mean()), 1.96 * float(values.std()) / math.sqrt(len(values))
    return Estimate(mean, mean - half, mean + half, len(values))


@torch.no_grad()
def _embed(
    network: Network, meta: Weights, tasks: ClassTasks, split: Split, device: str
) -> tuple[Network, Weights, ClassTasks]:
    """Replace each row's inputs by its features: a row is part of many tasks, with the same features in each."""
    weights = weights_per_task(network, meta, 1)
    rows = torch.tensor([row for label in tasks.splits[split] for row in tasks.rows.get(label, ())])
    parts = []
    for part in rows.split(_ROWS):
        x = network.prepare(scale_pixels(tasks.inputs[part.to(tasks.inputs.device)].to(device))[None])
        parts.append(network.features(weights, x, STORED_STATISTICS)[0])
    values = torch.cat(parts)
    features = values.new_zeros(len(tasks.inputs), values.shape[1])
    features[rows.to(device)] = values
    identity = Identity(values.shape[1], len(meta[HEAD[0]]))
    names = identity.shapes()
    heads = {name: value for name, value in meta.items() if name in names or name.startswith(RATE_PREFIX)}
    return identity, heads, replace(tasks, inputs=features, rotations=False, distortions=False)


def _scores(outputs: Tensor, y: Tensor) -> Tensor:
    return losses(outputs, y) if y.is_floating_point() else (outputs.argmax(2) == y).float().mean(1)
