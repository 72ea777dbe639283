"""What a meta-training leaves on disk: to go on from, and to adapt to new tasks with."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from runner.fewshot.learning.task_networks import Weights


@dataclass
class Checkpoint:
    """Meta-parameters now and where valid was best, the optimiser's state, and what the training was of."""

    identity: dict[str, str]
    meta: Weights
    best: Weights
    best_error: float
    iteration: int = 0
    spent_s: float = 0.0
    optimizer: dict[str, Any] = field(default_factory=dict)


def save(state: Checkpoint, path: Path) -> None:
    """Write the file, whole or not at all."""
    part = path.with_name(path.name + ".part")
    torch.save({name: getattr(state, name) for name in asdict(state)}, part)
    os.replace(part, path)


def load(path: Path) -> Checkpoint:
    """Read a file that `save` wrote; it can hold numbers only, no code."""
    return Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
