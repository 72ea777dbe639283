"""The loss and the error of every candidate, from outputs [candidates, rows, outputs]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def mean_losses(outputs: Tensor, y: Tensor) -> Tensor:
    """Return the mean loss over the rows: cross-entropy for integer targets, squared error for floating-point ones."""
    candidates, rows, width = outputs.shape
    if y.is_floating_point():
        return (outputs.squeeze(2) - y.to(outputs.dtype)).square().mean(1)
    target = y.expand(candidates, rows).reshape(-1)
    return F.cross_entropy(outputs.reshape(-1, width), target, reduction="none").view(candidates, rows).mean(1)


def error_sums(outputs: Tensor, y: Tensor) -> Tensor:
    """Return the number of rows with a wrong class, or the sum of squared errors."""
    if y.is_floating_point():
        return (outputs.squeeze(2) - y.to(outputs.dtype)).square().sum(1)
    return (outputs.argmax(2) != y).sum(1).to(outputs.dtype)


def mean_errors(sums: Tensor, rows: int, y: Tensor) -> Tensor:
    """Return the fraction of wrong rows, or the root mean squared error; NaN stays NaN."""
    mean = sums / rows
    return mean.sqrt() if y.is_floating_point() else mean


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception means that an allocation failed, on a GPU or in main memory."""
    texts = ("out of memory", "can't allocate memory", "not enough memory", "could not create a memory object")
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in texts)
