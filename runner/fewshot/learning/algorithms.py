"""The meta-learning algorithms by their common names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from runner.fewshot.learning import maml, protonet, reptile
from runner.fewshot.learning.episodes import Batch
from runner.fewshot.learning.inner_loop import Inner
from runner.fewshot.learning.task_networks import Network, Weights


@dataclass(frozen=True)
class Algorithm:
    """A meta-gradient (summed over tasks, with the tasks' losses), query outputs, and the default inner loop.

    `rate`, `meta_batch` and `queries` (the maximum of a train task) are defaults of meta-training. They did best on
    Omniglot within minutes on one core.
    """

    gradient: Callable[[Network, Weights, Batch, Inner], tuple[Weights, Tensor]]
    outputs: Callable[[Network, Weights, Batch, Inner], Tensor]
    inner: Inner
    rate: float = 4e-3
    meta_batch: int = 8
    queries: int = 3


ALGORITHMS = {
    "MAML": Algorithm(maml.gradient, maml.outputs, Inner()),
    "First-order MAML": Algorithm(maml.gradient, maml.outputs, Inner(first_order=True)),
    "ANIL": Algorithm(maml.gradient, maml.outputs, Inner(rate=1.0, only_head=True), meta_batch=4),
    "Reptile": Algorithm(reptile.gradient, reptile.outputs, Inner(rate=0.3), meta_batch=4, queries=9),
    "ProtoNet": Algorithm(protonet.gradient, protonet.outputs, Inner(steps=0), meta_batch=1, queries=5),
}
