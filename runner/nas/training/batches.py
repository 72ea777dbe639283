"""The batches that candidates are trained on: how many rows each has, and which."""

from __future__ import annotations

import torch
from torch import Tensor

EVALUATION_ROWS = 256  # of one forward pass without gradients

Pair = tuple[Tensor, Tensor]  # inputs, targets


def batch_size(rows: int) -> int:
    """Return the rows of one step for a number of train rows."""
    return 32 if rows < 3_000 else 64 if rows < 12_000 else 128


def batch_choices(rows: int) -> tuple[int, ...]:
    """Return the batch sizes to search: half, the same and twice, where an epoch then still has some steps."""
    size = batch_size(rows)
    return tuple(n for n in (size // 2, size, 2 * size) if n <= size or rows >= 4 * n)


def batches(x: Tensor, y: Tensor, size: int, rows: int, seed: int, epoch: int) -> list[Pair]:
    """Return the shuffled batches of one epoch of `rows` rows: the same for every candidate.

    A last batch of less than half the size is left out.
    """
    generator = torch.Generator().manual_seed((seed << 20) + epoch)
    order = torch.randperm(len(x), generator=generator)[:rows]
    cuts = [cut for cut in order.split(size) if 2 * len(cut) >= size or len(order) < size]
    return [(x[cut], y[cut]) for cut in cuts]
