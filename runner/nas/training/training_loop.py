"""Train a population on batches. Where memory runs out, the population is halved and training goes on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from runner.nas.training.batched_population import BatchedPopulation
from runner.nas.training.batches import EVALUATION_ROWS
from runner.nas.training.losses import is_out_of_memory
from runner.nas.training.sequential_population import SequentialPopulation

Population = BatchedPopulation | SequentialPopulation
Batch = tuple[Tensor, Tensor, float]  # inputs, targets, factor on the learning rates


def train(population: Population, batches: Sequence[Batch]) -> tuple[list[Population], Tensor]:
    """Train on the batches in order; return the populations to continue with, and each candidate's mean loss in order.

    Usually they are `[population]`. Where memory ran out they are pieces of it; a candidate that does not fit even
    alone is marked as failed.
    """
    if isinstance(population, SequentialPopulation):
        # All batches of one candidate, then the next: its weights stay in the CPU's cache.
        return [population], population.train(batches)
    total = torch.zeros(len(population), device=population.device, dtype=population.dtype)
    for index, (x, y, rate) in enumerate(batches):
        if not _step_fits(population, total, x, y, rate):
            return _train_halves(population, total, batches, index)
    return [population], total / len(batches)


def _step_fits(population: BatchedPopulation, total: Tensor, x: Tensor, y: Tensor, rate: float) -> bool:
    try:
        total += population.step(x, y, rate)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def _train_halves(
    population: BatchedPopulation, total: Tensor, batches: Sequence[Batch], index: int
) -> tuple[list[Population], Tensor]:
    if population.device.type == "cuda":
        torch.cuda.empty_cache()
    if len(population) == 1:
        population.failed[:] = True
        return [population], torch.full_like(total, torch.nan)
    rest = batches[index:]
    (first, one), (second, two) = (train(half, rest) for half in population.split())
    return first + second, (total + torch.cat([one, two]) * len(rest)) / len(batches)


def outputs(population: Population, x: Tensor) -> Tensor:
    """Return outputs [candidates, rows, outputs] for any number of rows, on the CPU."""
    return torch.cat([population.predict(piece).cpu() for piece in x.split(EVALUATION_ROWS)], 1)
