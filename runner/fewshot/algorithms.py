"""The algorithms by the names that people know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from runner.fewshot import maml, protonet, reptile
from runner.fewshot.adapt import Inner
from runner.fewshot.episodes import Batch
from runner.fewshot.networks import Network, Weights


@dataclass(frozen=True)
class Algorithm:
    """A meta-gradient (summed over tasks, with the tasks' losses), query outputs, and a usual way to learn a task."""

    gradient: Callable[[Network, Weights, Batch, Inner], tuple[Weights, Tensor]]
    outputs: Callable[[Network, Weights, Batch, Inner], Tensor]
    inner: Inner


ALGORITHMS = {
    "MAML": Algorithm(maml.gradient, maml.outputs, Inner()),
    "First-order MAML": Algorithm(maml.gradient, maml.outputs, Inner(first_order=True)),
    "ANIL": Algorithm(maml.gradient, maml.outputs, Inner(only_head=True)),
    "Reptile": Algorithm(reptile.gradient, reptile.outputs, Inner(rate=0.1)),
    "ProtoNet": Algorithm(protonet.gradient, protonet.outputs, Inner(steps=0)),
}
