"""What a search has done so far, and the checkpoint that it goes on from."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from runner.nas.space.spaces import Genotype, Policy
from runner.nas.training.planner import Plan

CHECKPOINT = "search.pt"

Group = tuple[int, int]  # bucket and rows of a batch: candidates that may train together


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
    latency_s: float | None = None  # to predict one row alone; None: not measured

    @property
    def loss(self) -> float:
        """The least valid loss of all rungs."""
        return min(loss for _, loss, _ in self.rungs)


@dataclass(slots=True)
class Climb:
    """A generation under way: its candidates, the rungs behind it, and the states of the parts that go on."""

    entries: list[Entry]
    rungs: int = 0
    parts: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Trace:
    """The state of a search after a rung or a finalist; `bests` are (candidates so far, least judged error),
    `policies` (candidates so far, decision -> option -> probability)."""

    strategy: dict[str, Any] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    bests: list[tuple[int, float]] = field(default_factory=list)
    policies: list[tuple[int, Policy]] = field(default_factory=list)
    spent_s: float = 0.0
    size: int = 0  # candidates of a generation; 0: not chosen yet
    rows: int = 0  # train rows of one epoch of the search
    epoch_s: float = 0.0  # seconds that one such epoch of one candidate takes
    plans: dict[Group, Plan] = field(default_factory=dict)
    climb: Climb | None = None
    finals: list[dict[str, Any]] = field(default_factory=list)  # what `finals.as_saved` makes of finalists
    carried: int = 0  # entries that were taken over from another job
    identity: dict[str, str] = field(default_factory=dict)  # what another search must share to go on from here

    @property
    def evaluated(self) -> list[Entry]:
        """The candidates that the strategy was told about, failed ones too."""
        return [entry for entry in self.entries if entry.told is not None]

    @property
    def n_own(self) -> int:
        """Candidates of this job, which its budget counts."""
        return len(self.evaluated) - self.carried

    def best(self, count: int) -> list[Genotype]:
        """The genotypes of the candidates with the least errors, best first."""
        good = [entry for entry in self.evaluated if entry.told is not None and math.isfinite(entry.told)]
        return [entry.genotype for entry in sorted(good, key=lambda entry: (entry.told, entry.name))[:count]]

    def epochs(self, n_rows: int) -> float:
        """What this job has trained its candidates, in epochs of all `n_rows` train rows."""
        return sum(entry.rungs[-1][0] for entry in self.evaluated[self.carried :]) * self.rows / n_rows


def save(trace: Trace, path: Path) -> None:
    """Write the checkpoint: it is there whole, or as it was."""
    body = {item.name: getattr(trace, item.name) for item in fields(trace)}
    body["entries"] = [asdict(entry) for entry in trace.entries]
    body["plans"] = {group: asdict(plan) for group, plan in trace.plans.items()}
    if (climb := trace.climb) is not None:
        entries = [asdict(entry) for entry in climb.entries]
        body["climb"] = {"entries": entries, "rungs": climb.rungs, "parts": climb.parts}
    fresh = path.with_suffix(".new")
    with open(fresh, "wb") as file:
        torch.save(body, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def load(path: Path) -> Trace:
    """The trace that `save` wrote; its tensors are on the processor."""
    body = torch.load(path, weights_only=True, map_location="cpu")
    body["entries"] = _entries(body["entries"])
    body["plans"] = {group: Plan(**plan) for group, plan in body["plans"].items()}
    if climb := body["climb"]:
        body["climb"] = Climb(_entries(climb["entries"]), climb["rungs"], climb["parts"])
    return Trace(**body)


def _entries(saved: list[dict[str, Any]]) -> list[Entry]:
    return [Entry(**entry | {"genotype": tuple(entry["genotype"])}) for entry in saved]
