"""Training a part of a study over batches: whoever fails drops out, and a full memory halves the part and goes on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from runner.nas.training.batches import EVALUATION_ROWS
from runner.nas.training.individuals import Individuals
from runner.nas.training.losses import is_out_of_memory
from runner.nas.training.population import Population

Part = Population | Individuals
Batch = tuple[Tensor, Tensor, float]  # inputs, targets, factor of the learning rates


def train(part: Part, batches: Sequence[Batch]) -> tuple[list[Part], Tensor]:
    """Train on the batches in order; the parts to go on with, and each candidate's mean loss, in `part`'s order.

    Usually the parts are `[part]`. Where memory ran out they are pieces of it, and a candidate that does not fit
    alone is marked as failed.
    """
    if isinstance(part, Individuals):
        # One candidate after another: its weights stay in the processor's cache.
        return [part], part.train(batches)
    total = torch.zeros(len(part), device=part.device, dtype=part.dtype)
    for index, (x, y, rate) in enumerate(batches):
        if not _fits(part, total, x, y, rate):
            return _halved(part, total, batches, index)
    return [part], total / len(batches)


def _fits(part: Population, total: Tensor, x: Tensor, y: Tensor, rate: float) -> bool:
    try:
        total += part.step(x, y, rate)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def _halved(part: Population, total: Tensor, batches: Sequence[Batch], index: int) -> tuple[list[Part], Tensor]:
    if part.device.type == "cuda":
        torch.cuda.empty_cache()
    if len(part) == 1:
        part.failed[:] = True
        return [part], torch.full_like(total, torch.nan)
    rest = batches[index:]
    (first, one), (second, two) = (train(half, rest) for half in part.split())
    return first + second, (total + torch.cat([one, two]) * len(rest)) / len(batches)


def outputs(part: Part, x: Tensor) -> Tensor:
    """Outputs [candidates, rows, outputs] on any number of rows, on the processor."""
    return torch.cat([part.predict(piece).cpu() for piece in x.split(EVALUATION_ROWS)], 1)
