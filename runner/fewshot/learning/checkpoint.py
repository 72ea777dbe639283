"""The checkpoint of a meta-training: what resuming needs, and the best initialisation so far."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from runner.fewshot.learning.task_networks import Weights


@dataclass
class Checkpoint:
    """The current meta-parameters, those with the best validation score, and the optimiser's state.

    `identity` describes the training (network, settings, data): only the same training can resume from it. The file
    holds the names of these fields: do not rename them.
    """

    identity: dict[str, str]
    meta: Weights
    best: Weights
    best_error: float
    iteration: int = 0
    spent_s: float = 0.0
    optimizer: dict[str, Any] = field(default_factory=dict)


def save(state: Checkpoint, path: Path) -> None:
    """Write the file atomically."""
    part = path.with_name(path.name + ".part")
    torch.save({name: getattr(state, name) for name in asdict(state)}, part)
    os.replace(part, path)


def load(path: Path) -> Checkpoint:
    """Read a file that `save` wrote. It can hold numbers only, no code."""
    return Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
