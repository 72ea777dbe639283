"""The plain way: one task after another with torch's own layers. Tests and the benchmark compare the engine with it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from runner.fewshot.adapt import Inner
from runner.fewshot.episodes import Batch
from runner.fewshot.networks import Weights
from runner.fewshot.norms import EPSILON


def conv4(weights: Weights, x: Tensor) -> Tensor:
    """Outputs [rows, outputs] of one task's Conv4; batch norm by the statistics of these rows."""
    for layer in range(4):
        x = F.conv2d(x, weights[f"conv{layer}"], None, 2, 1)
        scale, shift = weights[f"scale{layer}"], weights[f"shift{layer}"]
        x = F.relu(F.batch_norm(x, None, None, scale, shift, True, 0.0, EPSILON))
    return F.linear(x.mean((2, 3)), weights["head.weight"], weights["head.bias"])


def learned(meta: Weights, x: Tensor, y: Tensor, inner: Inner, graph: bool) -> Weights:
    """One task's weights after the inner steps."""
    weights = dict(meta)
    for _ in range(inner.steps):
        loss = F.cross_entropy(conv4(weights, x), y)
        gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=graph and not inner.first_order)
        weights = {n: w - inner.rate * g for (n, w), g in zip(weights.items(), gradients, strict=True)}
        if not graph:
            weights = {name: value.detach().requires_grad_() for name, value in weights.items()}
    return weights


def gradient(meta: Weights, batch: Batch, inner: Inner) -> tuple[Weights, Tensor]:
    """As `maml.gradient` of a Conv4, transductive, all weights adapted."""
    meta = {name: value.detach().requires_grad_() for name, value in meta.items()}
    total = {name: torch.zeros_like(value) for name, value in meta.items()}
    found = []
    for task in range(len(batch)):
        weights = learned(meta, batch.support_x[task], batch.support_y[task], inner, graph=True)
        loss = F.cross_entropy(conv4(weights, batch.query_x[task]), batch.query_y[task])
        for name, part in zip(meta, torch.autograd.grad(loss, list(meta.values())), strict=True):
            total[name] += part
        found.append(loss.detach())
    return total, torch.stack(found)
