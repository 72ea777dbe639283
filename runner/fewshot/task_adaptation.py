"""Adapt an initialisation to one new task, step by step, with the same inner loop that trained it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from runner.fewshot.initialisation_file import LoadedInitialisation
from runner.fewshot.learning import protonet
from runner.fewshot.learning.episodes import Batch
from runner.fewshot.learning.inner_loop import RATE_PREFIX, adapt_in_steps, losses, query_outputs, shared_features
from runner.fewshot.learning.task_networks import HEAD, Weights

_ROWS = 256  # predicted at once


@dataclass(frozen=True)
class AdaptationStep:
    """A task after some inner steps.

    `weights` are without a task axis, `outputs` [rows, outputs] those of the query rows, `support_loss` the loss on the
    support set, `spent_s` the seconds of learning so far.
    """

    number: int
    weights: Weights
    outputs: Tensor
    support_loss: float
    spent_s: float


def configure(
    initialisation: LoadedInitialisation, n_outputs: int, n_steps: int | None, rate: float | None
) -> LoadedInitialisation:
    """Return the initialisation for a task of so many classes and, if set, other inner steps and one rate for all.

    The head has a row for each class. Additional rows are the mean of the learned ones; of surplus rows the first are
    used.
    """
    weights = dict(initialisation.weights)
    for name in HEAD:
        rows = weights[name]
        n_new = max(0, n_outputs - len(rows))
        weights[name] = torch.cat([rows, rows.mean(0, keepdim=True).expand(n_new, *rows.shape[1:])])
        weights[name] = weights[name][:n_outputs].contiguous()
    inner = replace(initialisation.inner, transductive=False)
    if rate is not None:
        weights = {name: value for name, value in weights.items() if not name.startswith(RATE_PREFIX)}
        inner = replace(inner, rate=rate, learned_rates=False)
    inner = replace(inner, steps=n_steps or inner.steps)
    network = replace(initialisation.network, n_outputs=n_outputs)
    return replace(initialisation, network=network, weights=weights, inner=inner)


def adapt_task(start: LoadedInitialisation, x: Tensor, y: Tensor, query: Tensor) -> Iterator[AdaptationStep]:
    """Yield the task before the first step and after each one; ProtoNet, which has no steps, yields one result.

    x, y and query have no task axis. Predictions are inductive: batch norm uses the support's statistics.
    """
    if start.algorithm == "ProtoNet":
        yield _prototypes(start, x, y, query)
        return
    began, spent = time.perf_counter(), 0.0
    for number, weights in enumerate(adapt_in_steps(start.network, start.weights, x[None], y[None], start.inner)):
        spent += time.perf_counter() - began
        with torch.no_grad():
            outputs = _predict(start, weights, x, y, torch.cat([x, query]))
        loss = float(losses(outputs[None, : len(x)], y[None]))
        task_weights = {name: value[0] for name, value in weights.items()}
        yield AdaptationStep(number, task_weights, outputs[len(x) :], loss, spent)
        began = time.perf_counter()


def _predict(start: LoadedInitialisation, weights: Weights, x: Tensor, y: Tensor, query: Tensor) -> Tensor:
    parts = [
        query_outputs(start.network, weights, Batch(x[None], y[None], part[None], y[None]), start.inner)[0]
        for part in query.split(_ROWS)
    ]
    return torch.cat(parts)


@torch.no_grad()
def _prototypes(start: LoadedInitialisation, x: Tensor, y: Tensor, query: Tensor) -> AdaptationStep:
    """Return ProtoNet's outputs, and the equivalent linear head: -|f - p|² equals 2 f·p - |p|² up to a constant."""
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
    weights = {name: value for name, value in start.weights.items() if not name.startswith(RATE_PREFIX)}
    return AdaptationStep(1, weights | head, outputs[len(x) :], loss, spent)
