"""How many tasks are worked on at once: as many as a limit on memory allows, whatever the meta-batch."""

from __future__ import annotations

import math
from collections.abc import Iterator

from runner.fewshot.learning.adapt import Inner
from runner.fewshot.learning.episodes import Batch
from runner.fewshot.learning.task_networks import Network

LIMIT = 256 * 2**20  # bytes; more is slower on a processor, whose caches are small
# Copies of activations and of weights that a step keeps for the meta-gradient, about.
_ACTIVATIONS, _WEIGHTS = 5, 4


def task_bytes(network: Network, batch: Batch, inner: Inner) -> int:
    """About what one task takes in second-order training, in bytes."""
    steps = 1 if inner.first_order or inner.only_head else max(1, inner.steps)
    support, query = batch.support_x.shape[1], batch.query_x.shape[1]
    judged = query + (0 if inner.transductive else support)
    rows = support * steps + judged * (inner.steps if inner.every_step else 1)
    activations = rows * network.n_activations(batch.support_x.shape[2:])
    weights = (steps + 1) * sum(math.prod(shape) for shape in network.shapes().values())
    return batch.support_x.element_size() * (_ACTIVATIONS * activations + _WEIGHTS * weights)


def at_once(network: Network, batch: Batch, inner: Inner, count: int, limit: int = LIMIT) -> int:
    """How many of `count` tasks like those of the batch keep within the limit, in parts of equal size; one at least."""
    most = max(1, limit // task_bytes(network, batch, inner))
    return math.ceil(count / math.ceil(count / most))


def chunks(network: Network, batch: Batch, inner: Inner, limit: int = LIMIT) -> Iterator[Batch]:
    """The batch in parts of equal size (the last may be smaller) that keep within the limit."""
    size = at_once(network, batch, inner, len(batch), limit)
    for first in range(0, len(batch), size):
        yield batch.part(first, first + size)
