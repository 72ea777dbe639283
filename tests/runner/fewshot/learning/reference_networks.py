"""The plain way: one task after another with torch's own layers. Tests and the benchmark compare the engine with it."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from runner.fewshot.learning.batch_norm import EPSILON
from runner.fewshot.learning.episodes import Batch
from runner.fewshot.learning.inner_loop import Inner
from runner.fewshot.learning.task_networks import Weights

Plain = Callable[[Weights, Tensor], Tensor]


def conv4(weights: Weights, x: Tensor) -> Tensor:
    """Outputs [rows, outputs] of one task's Conv4; batch norm by the statistics of these rows."""
    for layer in range(4):
        x = F.conv2d(x, weights[f"conv{layer}"], None, 2, 1)
        scale, shift = weights[f"scale{layer}"], weights[f"shift{layer}"]
        x = F.relu(F.batch_norm(x, None, None, scale, shift, True, 0.0, EPSILON))
    return F.linear(x.mean((2, 3)), weights["head.weight"], weights["head.bias"])


def resnet(weights: Weights, x: Tensor) -> Tensor:
    """Outputs [rows, outputs] of one task's ResNet; batch norm by the statistics of these rows."""

    def norm(x: Tensor, name: str) -> Tensor:
        return F.relu(
            F.batch_norm(x, None, None, weights[f"{name}.scale"], weights[f"{name}.shift"], True, 0.0, EPSILON)
        )

    x = norm(F.conv2d(x, weights["stem.weight"], None, 2, 1), "stem")
    for block in ("block0", "block1", "block2"):
        inner = norm(F.conv2d(x, weights[f"{block}.first.weight"], None, 2, 1), f"{block}.first")
        inner = F.conv2d(inner, weights[f"{block}.second.weight"], None, 1, 1)
        x = norm(inner + F.conv2d(x, weights[f"{block}.skip"], None, 2), f"{block}.second")
    return F.linear(x.mean((2, 3)), weights["head.weight"], weights["head.bias"])


def text(weights: Weights, x: Tensor) -> Tensor:
    """Outputs [rows, outputs] of one task's TextMean."""
    mean = torch.stack([weights["words"][row[row > 0]].mean(0) for row in x])
    hidden = F.relu(F.linear(mean, weights["weight0"], weights["bias0"]))
    return F.linear(hidden, weights["head.weight"], weights["head.bias"])


def adapter(weights: Weights, x: Tensor) -> Tensor:
    """Outputs [rows, outputs] of one task's Adapter."""
    features = x + F.linear(x, weights["adapter.weight"], weights["adapter.bias"])
    return F.linear(features, weights["head.weight"], weights["head.bias"])


def learned(meta: Weights, x: Tensor, y: Tensor, inner: Inner, graph: bool, plain: Plain = conv4) -> Weights:
    """One task's weights after the inner steps."""
    weights = dict(meta)
    for _ in range(inner.steps):
        loss = F.cross_entropy(plain(weights, x), y)
        gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=graph and not inner.first_order)
        weights = {n: w - inner.rate * g for (n, w), g in zip(weights.items(), gradients, strict=True)}
        if not graph:
            weights = {name: value.detach().requires_grad_() for name, value in weights.items()}
    return weights


def gradient(meta: Weights, batch: Batch, inner: Inner, plain: Plain = conv4) -> tuple[Weights, Tensor]:
    """As `maml.gradient` of a network, transductive, all weights adapted."""
    meta = {name: value.detach().requires_grad_() for name, value in meta.items()}
    total = {name: torch.zeros_like(value) for name, value in meta.items()}
    query_losses = []
    for task in range(len(batch)):
        weights = learned(meta, batch.support_x[task], batch.support_y[task], inner, True, plain)
        loss = F.cross_entropy(plain(weights, batch.query_x[task]), batch.query_y[task])
        for name, part in zip(meta, torch.autograd.grad(loss, list(meta.values())), strict=True):
            total[name] += part
        query_losses.append(loss.detach())
    return total, torch.stack(query_losses)
