"""The state of a search, and its checkpoint."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from runner.nas.space.spaces import Genotype, Policy
from runner.nas.training.training_plan import TrainingPlan

CHECKPOINT = "search.pt"

Group = tuple[int, int]  # bucket and batch size: the candidates of a group may train together

# Where the checkpoint's name of a field differs.
_RECORD_NAMES = {"strategy_error": "told", "metric_error": "judged"}
_GENERATION_NAMES = {"records": "entries", "states": "parts"}
_STATE_NAMES = {
    "records": "entries",
    "best_errors": "bests",
    "generation_size": "size",
    "epoch_rows": "rows",
    "generation": "climb",
    "finalists": "finals",
    "n_inherited": "carried",
}


@dataclass(slots=True)
class CandidateRecord:
    """One candidate: `rungs` holds (epochs so far, validation loss, validation error) of each rung that it reached."""

    name: str
    genotype: Genotype
    size: float
    flops: float
    rungs: list[tuple[int, float, float]] = field(default_factory=list)
    strategy_error: float | None = None  # what the strategy learns from; None: no rung reached yet
    metric_error: float | None = None  # by the job's metric after the last rung
    latency_s: float | None = None  # to predict one row; None: not measured

    @property
    def best_loss(self) -> float:
        """The lowest validation loss of all rungs."""
        return min(loss for _, loss, _ in self.rungs)


@dataclass(slots=True)
class Generation:
    """A generation in training: its candidates, the number of rungs done, and the states of the populations left."""

    records: list[CandidateRecord]
    rungs: int = 0
    states: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class SearchState:
    """The state of a search after a rung or a finalist.

    `best_errors` are (candidates so far, lowest error by the metric). `policies` are (candidates so far, decision ->
    option -> probability).
    """

    strategy: dict[str, Any] = field(default_factory=dict)
    records: list[CandidateRecord] = field(default_factory=list)
    best_errors: list[tuple[int, float]] = field(default_factory=list)
    policies: list[tuple[int, Policy]] = field(default_factory=list)
    spent_s: float = 0.0
    generation_size: int = 0  # candidates of a generation; 0: not chosen yet
    epoch_rows: int = 0  # train rows of one epoch of the search
    epoch_s: float = 0.0  # seconds that one such epoch of one candidate takes
    plans: dict[Group, TrainingPlan] = field(default_factory=dict)
    generation: Generation | None = None
    finalists: list[dict[str, Any]] = field(default_factory=list)  # see finalist_training.to_dict
    n_inherited: int = 0  # records that come from another job
    identity: dict[str, str] = field(default_factory=dict)  # what a search must share to continue this one

    @property
    def evaluations(self) -> list[CandidateRecord]:
        """The candidates whose error the strategy has, failed ones included."""
        return [record for record in self.records if record.strategy_error is not None]

    @property
    def n_own(self) -> int:
        """The number of this job's candidates, which its budget counts."""
        return len(self.evaluations) - self.n_inherited

    def best_genotypes(self, count: int) -> list[Genotype]:
        """Return the genotypes of the candidates with the lowest errors, best first."""
        valid = [r for r in self.evaluations if r.strategy_error is not None and math.isfinite(r.strategy_error)]
        return [r.genotype for r in sorted(valid, key=lambda r: (r.strategy_error, r.name))[:count]]

    def own_epochs(self, n_rows: int) -> float:
        """Return how long this job has trained its candidates, in epochs of all `n_rows` train rows."""
        own = self.evaluations[self.n_inherited :]
        return sum(record.rungs[-1][0] for record in own) * self.epoch_rows / n_rows


def save(state: SearchState, path: Path) -> None:
    """Write the checkpoint; after an interruption the old one is still there."""
    body = _to_stored(state, _STATE_NAMES)
    body["entries"] = [_to_stored(record, _RECORD_NAMES) for record in state.records]
    body["plans"] = {group: asdict(plan) for group, plan in state.plans.items()}
    if (generation := state.generation) is not None:
        body["climb"] = _to_stored(generation, _GENERATION_NAMES)
        body["climb"]["entries"] = [_to_stored(record, _RECORD_NAMES) for record in generation.records]
    temporary = path.with_suffix(".new")
    with open(temporary, "wb") as file:
        torch.save(body, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load(path: Path) -> SearchState:
    """Read the checkpoint that `save` wrote; its tensors are on the CPU."""
    body = torch.load(path, weights_only=True, map_location="cpu")
    values = _from_stored(SearchState, body, _STATE_NAMES)
    values["records"] = [_record(entry) for entry in values["records"]]
    values["plans"] = {group: TrainingPlan(**plan) for group, plan in values["plans"].items()}
    if climb := values["generation"]:
        records = [_record(entry) for entry in climb["entries"]]
        values["generation"] = Generation(records, climb["rungs"], climb["parts"])
    return SearchState(**values)


def _to_stored(item: SearchState | Generation | CandidateRecord, names: dict[str, str]) -> dict[str, Any]:
    """Return the fields of an item under their names in the checkpoint."""
    return {names.get(part.name, part.name): getattr(item, part.name) for part in fields(item)}


def _from_stored(kind: type, body: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Return the values of a checkpoint under the names of the fields."""
    pairs = [(part.name, names.get(part.name, part.name)) for part in fields(kind)]
    return {name: body[stored] for name, stored in pairs if stored in body}


def _record(entry: dict[str, Any]) -> CandidateRecord:
    values = _from_stored(CandidateRecord, entry, _RECORD_NAMES)
    return CandidateRecord(**values | {"genotype": tuple(entry["genotype"])})
