"""Loss and error of every candidate from outputs [candidates, rows, outputs]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def losses(outputs: Tensor, y: Tensor) -> Tensor:
    """Mean loss over the rows: cross-entropy for integer targets, squared error for floating-point ones."""
    candidates, rows, width = outputs.shape
    if y.is_floating_point():
        return (outputs.squeeze(2) - y.to(outputs.dtype)).square().mean(1)
    target = y.expand(candidates, rows).reshape(-1)
    return F.cross_entropy(outputs.reshape(-1, width), target, reduction="none").view(candidates, rows).mean(1)


def misses(outputs: Tensor, y: Tensor) -> Tensor:
    """Sum over the rows of wrong classes, or of squared errors."""
    if y.is_floating_point():
        return (outputs.squeeze(2) - y.to(outputs.dtype)).square().sum(1)
    return (outputs.argmax(2) != y).sum(1).to(outputs.dtype)


def as_error(missed: Tensor, rows: int, y: Tensor) -> Tensor:
    """Fraction of wrong rows, or root mean squared error, out of the sum of misses; NaN stays NaN."""
    mean = missed / rows
    return mean.sqrt() if y.is_floating_point() else mean


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that an allocation failed, on a GPU or on the processor."""
    texts = ("out of memory", "can't allocate memory", "not enough memory", "could not create a memory object")
    known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return known or (isinstance(error, RuntimeError) and any(text in str(error).lower() for text in texts))
