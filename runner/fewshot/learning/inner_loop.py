"""The inner loop: SGD steps on the support sets of many tasks at once. Training, evaluation and fine-tuning use it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from runner.fewshot.learning.episodes import Batch
from runner.fewshot.learning.task_networks import (
    HEAD,
    STATISTICS_PREFIX,
    STORED_STATISTICS,
    Network,
    Weights,
    apply_head,
)

RATE_PREFIX = "rate."  # of the name of a learned rate among the meta-parameters


@dataclass(frozen=True)
class Inner:
    """How a task is learned, and which batch-norm statistics its query rows are predicted with.

    `only_head` leaves the features unchanged (ANIL). `first_order` treats the inner gradients as constants in the
    meta-gradient. `learned_rates` makes the rate of each tensor and step a meta-parameter (MAML++). `transductive`
    predicts the query rows together, with their own statistics; otherwise the statistics are those stored with the
    weights or, where the features change, those of the support set. `every_step` is the share of the meta-loss that
    averages over all steps instead of using the last one only (MAML++).

    Checkpoints and initialisation files hold this class's name and fields: do not rename them.
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
        """Whether all tasks have the same features, because no step changes them."""
        return self.only_head or self.steps == 0

    def names(self, network: Network) -> tuple[str, ...]:
        """Return the names of the weights that a task changes."""
        return HEAD if self.only_head else tuple(network.shapes())

    def rates(self, network: Network, dtype: torch.dtype = torch.float32) -> Weights:
        """Return the learned rates among the meta-parameters: one vector [steps] a tensor, or none."""
        names = self.names(network) if self.learned_rates else ()
        return {RATE_PREFIX + name: torch.full((self.steps,), self.rate, dtype=dtype) for name in names}


def losses(outputs: Tensor, y: Tensor) -> Tensor:
    """Return the mean loss over the rows of each task [tasks]: cross-entropy of classes, squared error of numbers."""
    if y.is_floating_point():
        return (outputs - y).square().mean((1, 2))
    flat = F.cross_entropy(outputs.flatten(0, 1), y.flatten(), reduction="none")
    return flat.view(y.shape).mean(1)


def weights_per_task(network: Network, meta: Weights, tasks: int) -> Weights:
    """Return the weights of `meta` for each task [tasks, *shape], with stored statistics, without learned rates."""
    names = [*network.shapes(), *(name for name in meta if name.startswith(STATISTICS_PREFIX))]
    return {name: _channels_last(meta[name]).expand(tasks, *meta[name].shape) for name in names}


def _channels_last(weight: Tensor) -> Tensor:
    """Return a convolution's weight in the memory format of images, so that steps need no copies."""
    return weight.contiguous(memory_format=torch.channels_last) if weight.dim() == 4 else weight


def statistics_source(weights: Weights, inner: Inner, n_support: int) -> int | None:
    """Return where batch norm gets its statistics, as `n_statistics`: all rows, the stored ones, or the support set."""
    if inner.transductive:
        return None
    return STORED_STATISTICS if has_statistics(weights) else n_support


def has_statistics(weights: Weights) -> bool:
    """Return whether the statistics of the norms are stored with the weights."""
    return any(name.startswith(STATISTICS_PREFIX) for name in weights)


def shared_features(network: Network, meta: Weights, batch: Batch, inner: Inner) -> tuple[Tensor, Tensor]:
    """Return the features of support and query rows by weights that no task changes, computed together."""
    n_support = batch.support_x.shape[1]
    x = network.prepare(torch.cat([batch.support_x, batch.query_x], 1))
    weights = weights_per_task(network, meta, len(batch))
    features = network.features(weights, x, statistics_source(meta, inner, n_support))
    return features[:, :n_support], features[:, n_support:]


def adapt_in_steps(
    network: Network,
    meta: Weights,
    x: Tensor,
    y: Tensor,
    inner: Inner,
    graph: bool = False,
    features: Tensor | None = None,
) -> Iterator[Weights]:
    """Yield the tasks' weights before the first step and after each one, learned from the support sets x and y.

    x is [tasks, rows, ...], y [tasks, rows] (classes) or [tasks, rows, outputs] (numbers). With `graph` the weights can
    be differentiated with respect to `meta`. Steps beyond the learned rates use the last learned one. `features` are
    those of x, where the caller has them and no step changes them.
    """
    weights = weights_per_task(network, meta, len(x))
    if not graph:
        weights = {name: value.detach() for name, value in weights.items()}
    yield weights
    names = inner.names(network)
    if features is None:
        inputs = network.prepare(x)
        if inner.only_head:  # no step changes the features: compute them once
            features = network.features(weights, inputs, statistics_source(weights, inner, x.shape[1]))
    for step in range(inner.steps):
        weights = weights | {name: _leaf(weights[name]) for name in names}
        current = network.features(weights, inputs) if features is None else features
        # The sum, not the mean: each task's gradient is its own, however many tasks there are. The rate is part of the
        # objective, so that a step is a plain sum, through which a meta-gradient passes for free.
        objective = -(1.0 if inner.learned_rates else inner.rate) * losses(apply_head(weights, current), y).sum()
        targets = [weights[name] for name in names]
        changes = torch.autograd.grad(objective, targets, create_graph=graph and not inner.first_order)
        if inner.learned_rates:
            changes = tuple(_rate(meta, name, step) * change for name, change in zip(names, changes, strict=True))
        if graph:
            values = tuple(weights[name] + change for name, change in zip(names, changes, strict=True))
        else:
            values = torch._foreach_add([weights[name].detach() for name in names], changes)
        weights = weights | dict(zip(names, values, strict=True))
        yield weights


def adapt(network: Network, meta: Weights, x: Tensor, y: Tensor, inner: Inner, graph: bool = False) -> Weights:
    """Return the tasks' weights after all steps; see `adapt_in_steps`."""
    *_, last = adapt_in_steps(network, meta, x, y, inner, graph)
    return last


def query_outputs(network: Network, weights: Weights, batch: Batch, inner: Inner) -> Tensor:
    """Return the outputs of adapted weights for the query rows [tasks, rows, outputs]."""
    if inner.transductive:
        return apply_head(weights, network.features(weights, network.prepare(batch.query_x)))
    n_support = batch.support_x.shape[1]
    x = network.prepare(torch.cat([batch.support_x, batch.query_x], 1))
    features = network.features(weights, x, statistics_source(weights, inner, n_support))
    return apply_head(weights, features[:, n_support:])


def _leaf(value: Tensor) -> Tensor:
    """Return the tensor itself where it has a graph, else a leaf that requires a gradient."""
    return value if value.requires_grad else value.detach().requires_grad_()


def _rate(meta: Weights, name: str, step: int) -> Tensor:
    rates = meta[RATE_PREFIX + name]
    return rates[min(step, len(rates) - 1)]
