"""Inner learning: steps of SGD on the support sets of many tasks at once. Training, evaluation and users share it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from runner.fewshot.learning.episodes import Batch
from runner.fewshot.learning.task_networks import HEAD, STATISTICS, STORED, Network, Weights, head

RATE = "rate."  # begins the name of a learned rate among the meta-parameters


@dataclass(frozen=True)
class Inner:
    """How a task is learned, and by which statistics of batch norm its query rows are predicted.

    `only_head` leaves the features as they are (ANIL); `first_order` takes the inner gradients as constants in the
    meta-gradient; `learned_rates` makes the rate of each tensor and step a meta-parameter (MAML++). `transductive`
    takes the statistics from the query rows themselves, which then are predicted together; else they are those stored
    with the weights or, where these change, those of the support.
    `every_step` is the part of the meta-loss that is the mean over all steps and not that of the last one (MAML++).
    """

    steps: int = 5
    rate: float = 0.4
    first_order: bool = False
    only_head: bool = False
    learned_rates: bool = False
    transductive: bool = False
    every_step: float = 0.0

    @property
    def shares_features(self) -> bool:
        """Whether all tasks have the same features: no step changes them."""
        return self.only_head or self.steps == 0

    def names(self, network: Network) -> tuple[str, ...]:
        """Names of the weights that a task changes."""
        return HEAD if self.only_head else tuple(network.shapes())

    def rates(self, network: Network, dtype: torch.dtype = torch.float32) -> Weights:
        """The meta-parameters beside the weights: a rate [steps] for each tensor, or none."""
        wanted = self.names(network) if self.learned_rates else ()
        return {RATE + name: torch.full((self.steps,), self.rate, dtype=dtype) for name in wanted}


def losses(outputs: Tensor, y: Tensor) -> Tensor:
    """Mean loss over the rows of each task [tasks]: cross-entropy for integer targets, else squared error."""
    if y.is_floating_point():
        return (outputs - y).square().mean((1, 2))
    flat = F.cross_entropy(outputs.flatten(0, 1), y.flatten(), reduction="none")
    return flat.view(y.shape).mean(1)


def each(network: Network, meta: Weights, tasks: int) -> Weights:
    """The weights of `meta` for each of the tasks [tasks, *shape], with stored statistics, without learned rates."""
    names = [*network.shapes(), *(name for name in meta if name.startswith(STATISTICS))]
    return {name: _laid(meta[name]).expand(tasks, *meta[name].shape) for name in names}


def _laid(weight: Tensor) -> Tensor:
    """A convolution's weight channels last, as images are: what comes of it by steps then need not be copied."""
    return weight.contiguous(memory_format=torch.channels_last) if weight.dim() == 4 else weight


def source(weights: Weights, inner: Inner, n_support: int) -> int | None:
    """Whence batch norm has its statistics: all rows, those stored, or the support set; as `n_statistics`."""
    if inner.transductive:
        return None
    return STORED if has_statistics(weights) else n_support


def has_statistics(weights: Weights) -> bool:
    """Whether the statistics of the norms are stored with the weights."""
    return any(name.startswith(STATISTICS) for name in weights)


def shared_features(network: Network, meta: Weights, batch: Batch, inner: Inner) -> tuple[Tensor, Tensor]:
    """Features of support and query rows by weights that no task changes, all rows of a task together."""
    n_support = batch.support_x.shape[1]
    x = network.prepared(torch.cat([batch.support_x, batch.query_x], 1))
    features = network.features(each(network, meta, len(batch)), x, source(meta, inner, n_support))
    return features[:, :n_support], features[:, n_support:]


def steps(
    network: Network,
    meta: Weights,
    x: Tensor,
    y: Tensor,
    inner: Inner,
    graph: bool = False,
    features: Tensor | None = None,
) -> Iterator[Weights]:
    """The tasks' weights before the first step and after each one, learned from the support sets x and y.

    x [tasks, rows, ...], y [tasks, rows] (classes) or [tasks, rows, outputs] (numbers). With `graph` what is yielded
    can be differentiated by `meta`. Rates past the learned ones are the last learned one. `features` are those of x
    where they are known and no step changes them.
    """
    second_order = graph and not inner.first_order
    weights = each(network, meta, len(x))
    if not graph:
        weights = {name: value.detach() for name, value in weights.items()}
    yield weights
    names = inner.names(network)
    # What no step changes is computed once.
    if features is None:
        inputs = network.prepared(x)
        features = network.features(weights, inputs, source(weights, inner, x.shape[1])) if inner.only_head else None
    for step in range(inner.steps):
        weights = weights | {name: _leaf(weights[name]) for name in names}
        found = network.features(weights, inputs) if features is None else features
        # The sum, not the mean: each task's gradient is its own, however many there are. What is climbed has the rate
        # in it, so that a step is a sum, through which a meta-gradient passes without work.
        climbed = -(1.0 if inner.learned_rates else inner.rate) * losses(head(weights, found), y).sum()
        ways = torch.autograd.grad(climbed, [weights[name] for name in names], create_graph=second_order)
        if inner.learned_rates:
            ways = tuple(_rate(meta, name, step) * way for name, way in zip(names, ways, strict=True))
        if graph:
            changed = tuple(weights[name] + way for name, way in zip(names, ways, strict=True))
        else:
            changed = torch._foreach_add([weights[name].detach() for name in names], ways)
        weights = weights | dict(zip(names, changed, strict=True))
        yield weights


def adapt(network: Network, meta: Weights, x: Tensor, y: Tensor, inner: Inner, graph: bool = False) -> Weights:
    """The tasks' weights after all steps; see `steps`."""
    *_, last = steps(network, meta, x, y, inner, graph)
    return last


def query_outputs(network: Network, weights: Weights, batch: Batch, inner: Inner) -> Tensor:
    """What adapted weights say of the query rows [tasks, rows, outputs]."""
    if inner.transductive:
        return head(weights, network.features(weights, network.prepared(batch.query_x)))
    n_support = batch.support_x.shape[1]
    x = network.prepared(torch.cat([batch.support_x, batch.query_x], 1))
    features = network.features(weights, x, source(weights, inner, n_support))
    return head(weights, features[:, n_support:])


def _leaf(value: Tensor) -> Tensor:
    """The tensor itself where it has a graph, else one that can be differentiated by."""
    return value if value.requires_grad else value.detach().requires_grad_()


def _rate(meta: Weights, name: str, step: int) -> Tensor:
    learned = meta[RATE + name]
    return learned[min(step, len(learned) - 1)]
