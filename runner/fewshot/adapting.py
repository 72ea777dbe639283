"""One new task learned from an initialisation, step by step, on the engine that trained it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from runner.fewshot.initialisation import Initialisation
from runner.fewshot.learning import protonet
from runner.fewshot.learning.adapt import RATE, losses, query_outputs, shared_features, steps
from runner.fewshot.learning.episodes import Batch
from runner.fewshot.learning.task_networks import HEAD, Weights

_ROWS = 256  # that are predicted at once


@dataclass(frozen=True)
class Step:
    """What a task is after so many inner steps: its weights without a task axis, outputs of the query rows
    [rows, outputs], the loss on the support, and the seconds that learning has taken so far."""

    number: int
    weights: Weights
    outputs: Tensor
    support_loss: float
    spent_s: float


def fitted(initialisation: Initialisation, n_outputs: int, n_steps: int | None, rate: float | None) -> Initialisation:
    """The same for a task of so many classes and, where they are given, other inner steps or one rate for all.

    A head has a row a class: further ones are the mean of those that were learned, and of more the first are taken.
    """
    weights = dict(initialisation.weights)
    for name in HEAD:
        learned = weights[name]
        more = n_outputs - len(learned)
        weights[name] = torch.cat([learned, learned.mean(0, keepdim=True).expand(max(0, more), *learned.shape[1:])])
        weights[name] = weights[name][:n_outputs].contiguous()
    inner = replace(initialisation.inner, transductive=False)
    if rate is not None:
        weights = {name: value for name, value in weights.items() if not name.startswith(RATE)}
        inner = replace(inner, rate=rate, learned_rates=False)
    inner = replace(inner, steps=n_steps or inner.steps)
    network = replace(initialisation.network, n_outputs=n_outputs)
    return replace(initialisation, network=network, weights=weights, inner=inner)


def learned(start: Initialisation, x: Tensor, y: Tensor, query: Tensor) -> Iterator[Step]:
    """The task before the first step and after each; of ProtoNet, which has none, only what it has learned.

    x, y and query have no task axis. Inductive: batch norm by the support's statistics.
    """
    if start.algorithm == "ProtoNet":
        yield _prototypes(start, x, y, query)
        return
    meta, began, spent = start.weights, time.perf_counter(), 0.0
    for number, found in enumerate(steps(start.network, meta, x[None], y[None], start.inner)):
        spent += time.perf_counter() - began
        with torch.no_grad():
            outputs = _predicted(start, found, x, y, torch.cat([x, query]))
        loss = float(losses(outputs[None, : len(x)], y[None]))
        yield Step(number, {name: value[0] for name, value in found.items()}, outputs[len(x) :], loss, spent)
        began = time.perf_counter()


def _predicted(start: Initialisation, weights: Weights, x: Tensor, y: Tensor, query: Tensor) -> Tensor:
    parts = [
        query_outputs(start.network, weights, Batch(x[None], y[None], part[None], y[None]), start.inner)[0]
        for part in query.split(_ROWS)
    ]
    return torch.cat(parts)


@torch.no_grad()
def _prototypes(start: Initialisation, x: Tensor, y: Tensor, query: Tensor) -> Step:
    """ProtoNet's answer, and a linear head that says the same: -|f - p|² is 2 f·p - |p|² but for the classes alike."""
    began = time.perf_counter()
    own_task = Batch(x[None], y[None], x[None], y[None])
    features = shared_features(start.network, start.weights, own_task, start.inner)[0][0]
    members = torch.nn.functional.one_hot(y).to(features.dtype).T
    prototypes = members @ features / members.sum(1, keepdim=True)
    spent = time.perf_counter() - began
    outputs = torch.cat(
        [
            protonet.outputs(start.network, start.weights, Batch(x[None], y[None], part[None], y[None]), start.inner)[0]
            for part in torch.cat([x, query]).split(_ROWS)
        ]
    )
    head = {HEAD[0]: 2 * prototypes, HEAD[1]: -prototypes.square().sum(1)}
    loss = float(losses(outputs[None, : len(x)], y[None]))
    own = {name: value for name, value in start.weights.items() if not name.startswith(RATE)}
    return Step(1, own | head, outputs[len(x) :], loss, spent)
