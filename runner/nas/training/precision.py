"""In which numbers a forward pass computes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def precision(device: torch.device, mixed: bool) -> AbstractContextManager[Any]:
    """Forward passes in bfloat16 where `mixed`; weights, norms' statistics, losses and optimizer stay as they are."""
    if not mixed:
        return nullcontext()
    # Each weight is used once a pass, so that keeping its rounded copy would only cost memory.
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)
