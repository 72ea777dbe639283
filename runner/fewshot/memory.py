"""How many tasks are worked on at once: as many as a limit on memory allows, whatever the meta-batch."""

from __future__ import annotations

import math
from collections.abc import Iterator

from runner.fewshot.adapt import Inner
from runner.fewshot.episodes import Batch
from runner.fewshot.networks import Network

LIMIT = 192 * 2**20  # bytes; more is slower on a processor, whose caches are small
# Copies of activations and of weights that a step keeps for the meta-gradient, as measured (docs/decisions.md).
_ACTIVATIONS, _WEIGHTS = 5, 4


def task_bytes(network: Network, batch: Batch, inner: Inner) -> int:
    """About what one task takes in second-order training, in bytes."""
    steps = 1 if inner.first_order or inner.only_head else max(1, inner.steps)
    support, query = batch.support_x.shape[1], batch.query_x.shape[1]
    rows = support * steps + query + (0 if inner.transductive else support)
    activations = rows * network.n_activations(batch.support_x.shape[2:])
    weights = (steps + 1) * sum(math.prod(shape) for shape in network.shapes().values())
    return batch.support_x.element_size() * (_ACTIVATIONS * activations + _WEIGHTS * weights)


def chunks(network: Network, batch: Batch, inner: Inner, limit: int = LIMIT) -> Iterator[Batch]:
    """The batch in parts of equal size (the last may be smaller) that keep within the limit, one task at least."""
    most = max(1, limit // task_bytes(network, batch, inner))
    size = math.ceil(len(batch) / math.ceil(len(batch) / most))
    for first in range(0, len(batch), size):
        yield batch.part(first, first + size)
