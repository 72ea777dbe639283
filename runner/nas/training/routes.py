"""Moving candidates between the groups of neighbouring layers: few copies, and no loop over candidates.

Images are [rows, candidates x width, height, width] with channels last, so that a candidate is a short run of
neighbouring numbers at each pixel; picking candidates is then as fast as a plain copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten


Runs = tuple[tuple[str | None, int], ...]  # activation (or none) and number of neighbouring candidates


@dataclass(frozen=True, slots=True)
class Passage:
    """From one layer's chunks to the next layer's: `runs` of each chunk, and who goes where.

    `picks` index the candidates after this layer, one tensor for each chunk of the next layer. The last layer has
    none: there the pixels' mean [rows, candidates x width] of all in order comes out.
    `backs` index the candidates of the next layer's chunks laid side by side, one tensor for each run.
    """

    width: int
    runs: tuple[Runs, ...]
    picks: tuple[Tensor, ...]
    backs: tuple[tuple[Tensor, ...], ...]


def passage(
    width: int, chunks: Sequence[Sequence[str | None]], picks: Sequence[Sequence[int]], device: torch.device
) -> Passage:
    """A passage for chunks whose members have these activations (equal ones together) to chunks of these places."""
    count = sum(len(chunk) for chunk in chunks)
    places = {member: place for place, member in enumerate(member for pick in picks for member in pick)}
    runs = tuple(runs_of(chunk) for chunk in chunks)
    backs, start = [], 0
    for its in runs:
        tensors = []
        for _, size in its:
            tensors.append(torch.tensor([places.get(i, i) for i in range(start, start + size)], device=device))
            start += size
        backs.append(tuple(tensors))
    assert start == count
    return Passage(width, runs, tuple(torch.tensor(pick, device=device) for pick in picks), tuple(backs))


def runs_of(activations: Sequence[str | None]) -> Runs:
    """Neighbours of equal activation."""
    return tuple((name, len(list(run))) for name, run in groupby(activations))


class Pass(torch.autograd.Function):
    """Chunks through their candidates' activations and on to the chunks of the next layer."""

    @staticmethod
    def forward(ctx: Any, plan: Passage, *chunks: Tensor) -> tuple[Tensor, ...]:
        before, after = [], []
        for runs, chunk in zip(plan.runs, chunks, strict=True):
            parts = chunk.split([count * plan.width for _, count in runs], 1) if len(runs) > 1 else (chunk,)
            for (name, _), part in zip(runs, parts, strict=True):
                before.append(part if name in (None, "relu") else _dense(part))
                after.append(_activate(name, before[-1]))
        ctx.plan, ctx.sides = plan, chunks[0].shape[2:]
        names = [name for runs in plan.runs for name, _ in runs]
        ctx.save_for_backward(*(x if name else None for name, x in zip(names, before, strict=True)))
        if not plan.picks:
            return (torch.cat([part.mean((2, 3)) for part in after], 1),)
        joined = _cat(after)
        return tuple(_select(joined, plan.width, pick) for pick in plan.picks)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        plan, saved = ctx.plan, iter(ctx.saved_tensors)
        names = [name for runs in plan.runs for name, _ in runs]
        parts = _picked(plan, grads) if plan.picks else _spread(plan, grads[0], ctx.sides)
        done = iter([_activate_back(name, part, next(saved)) for name, part in zip(names, parts, strict=True)])
        return None, *(_cat([next(done) for _ in runs]) for runs in plan.runs)


def _picked(plan: Passage, grads: Sequence[Tensor]) -> list[Tensor]:
    """The gradient of each run, out of those of the next layer's chunks."""
    together = _dense(_cat(grads))
    return [_select(together, plan.width, back) for backs in plan.backs for back in backs]


def _spread(plan: Passage, grad: Tensor, sides: tuple[int, int]) -> list[Tensor]:
    """The gradient of each run, out of that of the pixels' mean."""
    pixels = (grad / (sides[0] * sides[1]))[:, None, None].expand(-1, *sides, -1).contiguous().permute(0, 3, 1, 2)
    parts = pixels.split([count * plan.width for runs in plan.runs for _, count in runs], 1)
    return [_dense(part) for part in parts]


class Mixed(torch.autograd.Function):
    """Activations of neighbouring candidates of a stacked tensor [candidates, ...]: `runs` of (name, count)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, runs: Runs) -> Tensor:
        ctx.save_for_backward(x)
        ctx.runs = runs
        parts = x.split([count for _, count in runs])
        done = [_activate(name, part) for (name, _), part in zip(runs, parts, strict=True)]
        return torch.cat(done) if len(done) > 1 else done[0]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        counts = [count for _, count in ctx.runs]
        pairs = zip(ctx.runs, grad.split(counts), ctx.saved_tensors[0].split(counts), strict=True)
        done = [_activate_back(name, part, x) for (name, _), part, x in pairs]
        return torch.cat(done) if len(done) > 1 else done[0], None


def _select(x: Tensor, width: int, pick: Tensor) -> Tensor:
    rows, channels, height, breadth = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(rows * height * breadth, channels // width, width)
    return pixels.index_select(1, pick).view(rows, height, breadth, -1).permute(0, 3, 1, 2)


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


def _activate_back(name: str | None, grad: Tensor, x: Tensor) -> Tensor:
    if name is None:
        return grad
    grad = grad.to(x.dtype)  # neighbours in mixed precision may have brought more digits
    if name == "relu":
        return _aten.threshold_backward(grad, x, 0)
    return _aten.silu_backward(grad, x) if name == "silu" else _aten.gelu_backward(grad, x)
