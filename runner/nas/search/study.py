"""A search in progress: its data, settings, objective, clock and counts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from runner.nas.search import search_state
from runner.nas.search.halving import rung_epochs, total_epochs
from runner.nas.search.search_state import CandidateRecord, SearchState
from runner.nas.search.strategies import Strategy
from runner.nas.search.training_regime import TrainingRegime
from runner.nas.space.limits import Latencies
from runner.nas.space.spaces import AnySpace, Genotype
from runner.nas.training.batches import Pair, batch_size

SEARCH_SHARE = 0.65  # of the budget; the rest trains the finalists
VALID_ROWS = 10_000  # maximum of a candidate's validation rows in the search; finalists use all


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a search. Where `epochs` of a finalist is None, the time decides. Times are in seconds."""

    strategy: str = "gp"
    seed: int = 1
    budget_s: float = 120.0
    max_candidates: int = 64
    finalists: int = 3
    epochs: int | None = None
    max_parameters: int | None = None
    device: str = "cpu"
    max_latency_s: float | None = None
    max_candidate_epochs: int | None = None


@dataclass(frozen=True, slots=True)
class SearchData:
    """Inputs as the networks take them, and targets: integer codes, or standardised numbers."""

    space: AnySpace
    train: Pair
    valid: Pair
    test: Pair


@dataclass(frozen=True, slots=True)
class Objective:
    """The job's metric: `error` of outputs on the validation rows (lower is better), and its familiar `value`.

    `error` takes `rows=`, the numbers of the validation rows, where the outputs are not of all of them.
    `unit` converts an error in the networks' own scale to the target's unit.
    """

    error: Callable[..., float]
    value: Callable[[float], float]
    unit: float = 1.0


@dataclass(slots=True)
class Study:
    """A search in this process; `start` is when it began, on the monotonic clock."""

    data: SearchData
    settings: Settings
    objective: Objective
    is_cancelled: Callable[[], bool]
    is_paused: Callable[[], bool]
    strategy: Strategy
    latencies: Latencies
    state: SearchState
    checkpoint: Path
    start: float
    warm_starts: Sequence[Genotype] = ()  # to try first
    valid_sample: Tensor | None = field(init=False)  # the validation rows of the search; None: all
    n_evaluations: int = 0  # candidates that reached a rung

    def __post_init__(self) -> None:
        count = len(self.data.valid[0])
        generator = torch.Generator().manual_seed(self.settings.seed)
        self.valid_sample = None
        if count > VALID_ROWS:
            self.valid_sample = torch.randperm(count, generator=generator)[:VALID_ROWS].sort().values

    @property
    def n_rows(self) -> int:
        """The number of train rows."""
        return len(self.data.train[0])

    @property
    def spent_s(self) -> float:
        return time.monotonic() - self.start

    @property
    def remaining_s(self) -> float:
        return self.settings.budget_s - self.spent_s

    def must_stop(self) -> bool:
        """Return whether the user has cancelled or paused the job."""
        return self.is_cancelled() or self.is_paused()

    def must_end_search(self) -> bool:
        """Return whether the time for the search is up; never before one candidate was evaluated."""
        is_late = self.spent_s > SEARCH_SHARE * self.settings.budget_s
        return self.must_stop() or (self.n_evaluations > 0 and is_late)

    def save(self) -> None:
        """Write the checkpoint."""
        self.state.strategy, self.state.spent_s = self.strategy.state(), self.spent_s
        search_state.save(self.state, self.checkpoint)

    def regime(self, *, final: bool = False) -> TrainingRegime:
        """Return what the candidates of the search are trained on or, if `final`, the finalists."""
        data, settings = self.data, self.settings
        rows = None if final else self.valid_sample
        metric_error = self.objective.error if rows is None else partial(self.objective.error, rows=rows)
        must_stop = self.must_stop if final else self.must_end_search
        valid = data.valid if rows is None else tuple(part[rows.to(part.device)] for part in data.valid)
        return TrainingRegime(
            data.space, data.train, (valid[0], valid[1]), self.n_rows if final else self.state.epoch_rows,
            batch_size(self.n_rows), settings.seed, settings.device, must_stop, metric_error,
        )  # fmt: skip

    def admits(self, size: float, latency_s: float | None) -> bool:
        """Return whether a network of this size and latency is within the limits."""
        settings = self.settings
        is_slow = settings.max_latency_s is not None and (latency_s or 0.0) > settings.max_latency_s
        return not is_slow and size <= (settings.max_parameters or math.inf)

    def new_record(self, name: str, genotype: Genotype) -> CandidateRecord:
        """Return the record of a candidate before its training."""
        space, latency_s = self.data.space, self.latencies.seconds(genotype)
        return CandidateRecord(name, genotype, space.size(genotype), space.flops(genotype), latency_s=latency_s)

    def next_generation(self) -> tuple[int, tuple[int, ...]]:
        """Return how many candidates may come next, and the total epochs by the end of each of their rungs."""
        state, settings = self.state, self.settings
        rungs, count = self.rungs(), min(state.generation_size, settings.max_candidates - state.n_own)
        epochs = self._remaining_epochs()
        if total_epochs(1, rungs) > epochs and not state.n_own:
            return 1, tuple(dict.fromkeys(min(rung, int(epochs)) for rung in rungs))
        while count > 0 and total_epochs(count, rungs) > epochs:
            count -= 1
        return count, rungs

    def rungs(self) -> tuple[int, ...]:
        """Return the total epochs by the end of each rung."""
        return rung_epochs(self.state.epoch_rows, batch_size(self.n_rows))

    def _remaining_epochs(self) -> float:
        """Return the epochs of the search that the budget still allows."""
        budget = self.settings.max_candidate_epochs
        if budget is None:
            return math.inf
        return (budget - self.state.own_epochs(self.n_rows)) * self.n_rows / self.state.epoch_rows + 1e-9
