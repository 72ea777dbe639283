"""The number format of a forward pass."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def precision(device: torch.device, mixed: bool) -> AbstractContextManager[Any]:
    """Return a context in which forward passes compute in bfloat16 if `mixed`.

    Weights, the statistics of norms, losses and the optimizer keep their format.
    """
    if not mixed:
        return nullcontext()
    # A pass uses each weight once, so a cache of rounded copies would only cost memory.
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)
