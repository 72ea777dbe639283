"""Split a meta-batch into microbatches that fit a memory limit; their gradients add up to those of the whole."""

from __future__ import annotations

import math
from collections.abc import Iterator

from runner.fewshot.learning.episodes import Batch
from runner.fewshot.learning.inner_loop import Inner
from runner.fewshot.learning.task_networks import Network

MEMORY_LIMIT_BYTES = 256 * 2**20  # more is slower on a processor, whose caches are small
# About how many copies of activations and of weights a step stores for the meta-gradient.
_ACTIVATION_COPIES, _WEIGHT_COPIES = 5, 4


def task_bytes(network: Network, batch: Batch, inner: Inner) -> int:
    """Return roughly how many bytes one task needs in second-order training."""
    steps = 1 if inner.first_order or inner.only_head else max(1, inner.steps)
    support, query = batch.support_x.shape[1], batch.query_x.shape[1]
    predicted = query + (0 if inner.transductive else support)
    rows = support * steps + predicted * (inner.steps if inner.every_step else 1)
    activations = rows * network.n_activations(batch.support_x.shape[2:])
    weights = (steps + 1) * sum(math.prod(shape) for shape in network.shapes().values())
    return batch.support_x.element_size() * (_ACTIVATION_COPIES * activations + _WEIGHT_COPIES * weights)


def microbatch_size(network: Network, batch: Batch, inner: Inner, n_tasks: int, limit: int = MEMORY_LIMIT_BYTES) -> int:
    """Return the tasks of a microbatch when `n_tasks` like those of the batch are split evenly; at least one."""
    maximum = max(1, limit // task_bytes(network, batch, inner))
    return math.ceil(n_tasks / math.ceil(n_tasks / maximum))


def microbatches(network: Network, batch: Batch, inner: Inner, limit: int = MEMORY_LIMIT_BYTES) -> Iterator[Batch]:
    """Yield the batch in parts of equal size (the last may be smaller) that fit the limit."""
    size = microbatch_size(network, batch, inner, len(batch), limit)
    for first in range(0, len(batch), size):
        yield batch.part(first, first + size)
