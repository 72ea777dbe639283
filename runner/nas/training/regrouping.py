"""Activations, and the regrouping of candidates between two layers: few copies, and no loop over candidates.

Images are [rows, candidates x width, height, width] with channels last: a candidate is a short run of adjacent numbers
at each pixel, and to select candidates is as fast as a plain copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten

Runs = tuple[tuple[str | None, int], ...]  # run lengths: activation (or none), number of adjacent candidates


@dataclass(frozen=True, slots=True)
class Regrouping:
    """How candidates move from the chunks of one layer to those of the next; `runs` are the run lengths of each chunk.

    `forward` indexes the candidates after this layer, with one tensor for each chunk of the next layer. It is empty
    for the last layer, whose result is the mean over the pixels [rows, candidates x width] of all candidates in order.
    `backward` indexes the candidates of the next layer's chunks side by side, with one tensor for each run.
    """

    width: int
    runs: tuple[Runs, ...]
    forward: tuple[Tensor, ...]
    backward: tuple[tuple[Tensor, ...], ...]


def plan_regrouping(
    width: int, activations: Sequence[Sequence[str | None]], forward: Sequence[Sequence[int]], device: torch.device
) -> Regrouping:
    """Return a regrouping from the activations of each chunk (equal ones adjacent) and the index of each next chunk."""
    count = sum(len(chunk) for chunk in activations)
    places = {member: place for place, member in enumerate(member for index in forward for member in index)}
    runs = tuple(run_lengths(chunk) for chunk in activations)
    backward, start = [], 0
    for chunk_runs in runs:
        tensors = []
        for _, size in chunk_runs:
            tensors.append(torch.tensor([places.get(i, i) for i in range(start, start + size)], device=device))
            start += size
        backward.append(tuple(tensors))
    assert start == count
    return Regrouping(width, runs, tuple(torch.tensor(index, device=device) for index in forward), tuple(backward))


def run_lengths(activations: Sequence[str | None]) -> Runs:
    """Return the run lengths of equal activations."""
    return tuple((name, len(list(run))) for name, run in groupby(activations))


class Regroup(torch.autograd.Function):
    """Apply the activations of the candidates, and gather them into the chunks of the next layer."""

    @staticmethod
    def forward(ctx: Any, plan: Regrouping, *chunks: Tensor) -> tuple[Tensor, ...]:
        before, after = [], []
        for runs, chunk in zip(plan.runs, chunks, strict=True):
            parts = chunk.split([count * plan.width for _, count in runs], 1) if len(runs) > 1 else (chunk,)
            for (name, _), part in zip(runs, parts, strict=True):
                before.append(part if name in (None, "relu") else _dense(part))
                after.append(_activate(name, before[-1]))
        ctx.plan, ctx.sides = plan, chunks[0].shape[2:]
        names = [name for runs in plan.runs for name, _ in runs]
        ctx.save_for_backward(*(x if name else None for name, x in zip(names, before, strict=True)))
        if not plan.forward:
            return (torch.cat([part.mean((2, 3)) for part in after], 1),)
        joined = _cat(after)
        return tuple(_select(joined, plan.width, index) for index in plan.forward)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        plan, saved = ctx.plan, iter(ctx.saved_tensors)
        names = [name for runs in plan.runs for name, _ in runs]
        parts = _gather_gradients(plan, grads) if plan.forward else _spread_gradient(plan, grads[0], ctx.sides)
        results = iter([_activate_backward(name, part, next(saved)) for name, part in zip(names, parts, strict=True)])
        return None, *(_cat([next(results) for _ in runs]) for runs in plan.runs)


def _gather_gradients(plan: Regrouping, grads: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradient of each run from those of the next layer's chunks."""
    together = _dense(_cat(grads))
    return [_select(together, plan.width, index) for indices in plan.backward for index in indices]


def _spread_gradient(plan: Regrouping, grad: Tensor, sides: tuple[int, int]) -> list[Tensor]:
    """Return the gradient of each run from that of the mean over the pixels."""
    pixels = (grad / (sides[0] * sides[1]))[:, None, None].expand(-1, *sides, -1).contiguous().permute(0, 3, 1, 2)
    parts = pixels.split([count * plan.width for runs in plan.runs for _, count in runs], 1)
    return [_dense(part) for part in parts]


class MixedActivation(torch.autograd.Function):
    """Apply the activations of `runs` to the candidates of a stacked tensor [candidates, ...]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, runs: Runs) -> Tensor:
        ctx.save_for_backward(x)
        ctx.runs = runs
        parts = x.split([count for _, count in runs])
        results = [_activate(name, part) for (name, _), part in zip(runs, parts, strict=True)]
        return torch.cat(results) if len(results) > 1 else results[0]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        counts = [count for _, count in ctx.runs]
        pairs = zip(ctx.runs, grad.split(counts), ctx.saved_tensors[0].split(counts), strict=True)
        results = [_activate_backward(name, part, x) for (name, _), part, x in pairs]
        return torch.cat(results) if len(results) > 1 else results[0], None


def _select(x: Tensor, width: int, index: Tensor) -> Tensor:
    rows, channels, height, breadth = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(rows * height * breadth, channels // width, width)
    return pixels.index_select(1, index).view(rows, height, breadth, -1).permute(0, 3, 1, 2)


def _cat(parts: Sequence[Tensor]) -> Tensor:
    if len(parts) == 1:
        return parts[0]
    return torch.cat([part.permute(0, 2, 3, 1) for part in parts], 3).permute(0, 3, 1, 2)


def _dense(x: Tensor) -> Tensor:
    # Exponentials and reductions are vectorised over contiguous memory only.
    return x.contiguous(memory_format=torch.channels_last)


def _activate(name: str | None, x: Tensor) -> Tensor:
    if name is None:
        return x
    if name == "relu":
        return x.clamp_min(0)
    return _aten.silu(x) if name == "silu" else _aten.gelu(x)


def _activate_backward(name: str | None, grad: Tensor, x: Tensor) -> Tensor:
    if name is None:
        return grad
    grad = grad.to(x.dtype)  # in mixed precision the next layer may return float32
    if name == "relu":
        return _aten.threshold_backward(grad, x, 0)
    return _aten.silu_backward(grad, x) if name == "silu" else _aten.gelu_backward(grad, x)
