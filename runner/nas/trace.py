"""What a search has done so far, and the checkpoint that it goes on from."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from runner.nas.spaces import Genotype

Policy = dict[str, dict[str, float]]
CHECKPOINT = "search.pt"


@dataclass(slots=True)
class Entry:
    """One candidate: `rungs` holds (epochs so far, valid loss, valid error) of each rung that it reached."""

    name: str
    genotype: Genotype
    size: float
    flops: float
    rungs: list[tuple[int, float, float]] = field(default_factory=list)
    told: float | None = None  # the error that the strategy was told; None: not evaluated to the end of a rung
    judged: float | None = None  # error by the job's metric after the last rung

    @property
    def loss(self) -> float:
        """The least valid loss of all rungs."""
        return min(loss for _, loss, _ in self.rungs)


@dataclass(slots=True)
class Trace:
    """The state of a search between two generations; `bests` are (candidates so far, least judged error), `policies`
    (candidates so far, decision -> option -> probability)."""

    strategy: dict[str, Any] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    bests: list[tuple[int, float]] = field(default_factory=list)
    policies: list[tuple[int, Policy]] = field(default_factory=list)
    spent_s: float = 0.0
    size: int = 0  # candidates of a generation; 0: not chosen yet
    rows: int = 0  # train rows of one epoch of the search
    epoch_s: float = 0.0  # seconds that one such epoch of one candidate takes
    finished: bool = False  # whether the search is over, so that only the finalists are to be trained

    @property
    def evaluated(self) -> list[Entry]:
        """The candidates that the strategy was told about, failed ones too."""
        return [entry for entry in self.entries if entry.told is not None]


def save(trace: Trace, path: Path) -> None:
    """Write the checkpoint: it is there whole, or as it was."""
    fresh = path.with_suffix(".new")
    with open(fresh, "wb") as file:
        torch.save(asdict(trace), file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def load(path: Path) -> Trace:
    """The trace that `save` wrote."""
    body = torch.load(path, weights_only=True)
    entries = [Entry(**entry | {"genotype": tuple(entry["genotype"])}) for entry in body.pop("entries")]
    return Trace(entries=entries, **body)
