"""A search under way: what was asked, what it is judged by, its clock and its counts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from runner.nas.search import trace as traces
from runner.nas.search.ladder import Course, cost, rungs
from runner.nas.search.strategies import Strategy
from runner.nas.search.trace import Entry, Trace
from runner.nas.space.limits import Latencies
from runner.nas.space.spaces import AnySpace, Genotype
from runner.nas.training.batches import Pair, batch_size

SEARCH_SHARE = 0.65  # of the budget; the rest trains the finalists
VALID_ROWS = 10_000  # at most, that candidates are judged on in the search; finalists are judged on all


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked; `epochs` of a finalist are chosen by the time where None. Times in seconds."""

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
class Data:
    """Inputs as the networks take them, and targets: integer codes, or standardised numbers."""

    space: AnySpace
    train: Pair
    valid: Pair
    test: Pair


@dataclass(frozen=True, slots=True)
class Judge:
    """The job's metric: `error` of outputs on the valid rows (lower is better), and that error as people know it.

    `error` is told by `rows=` which of the valid rows the outputs are of, where they are not of all.
    `unit` is what an error of one in the networks' own scale is in the target's unit.
    """

    error: Callable[..., float]
    value: Callable[[float], float]
    unit: float = 1.0


@dataclass(slots=True)
class Run:
    """The state of a search in this process; `start` is when it began, on the monotonic clock."""

    data: Data
    settings: Settings
    judge: Judge
    cancelled: Callable[[], bool]
    paused: Callable[[], bool]
    strategy: Strategy
    latencies: Latencies
    trace: Trace
    checkpoint: Path
    start: float
    starts: Sequence[Genotype] = ()  # that are tried first
    sampled: Tensor | None = field(init=False)  # the valid rows of the search, where not all
    n_tries: int = 0  # candidates that reached a rung

    def __post_init__(self) -> None:
        count = len(self.data.valid[0])
        generator = torch.Generator().manual_seed(self.settings.seed)
        self.sampled = None
        if count > VALID_ROWS:
            self.sampled = torch.randperm(count, generator=generator)[:VALID_ROWS].sort().values

    @property
    def n_rows(self) -> int:
        """Train rows."""
        return len(self.data.train[0])

    @property
    def spent_s(self) -> float:
        return time.monotonic() - self.start

    @property
    def left_s(self) -> float:
        return self.settings.budget_s - self.spent_s

    def stopping(self) -> bool:
        """Whether the user wants no more of it for now."""
        return self.cancelled() or self.paused()

    def search_over(self) -> bool:
        """Whether the time of the search is up; not before one candidate has been looked at."""
        return self.stopping() or (self.n_tries > 0 and self.spent_s > SEARCH_SHARE * self.settings.budget_s)

    def save(self) -> None:
        """Write the checkpoint as things stand."""
        self.trace.strategy, self.trace.spent_s = self.strategy.state(), self.spent_s
        traces.save(self.trace, self.checkpoint)

    def course(self, *, final: bool = False) -> Course:
        """What candidates are trained on, or finalists."""
        data, settings = self.data, self.settings
        rows = None if final else self.sampled
        judge = self.judge.error if rows is None else partial(self.judge.error, rows=rows)
        stopped = self.stopping if final else self.search_over
        valid = data.valid if rows is None else tuple(part[rows.to(part.device)] for part in data.valid)
        return Course(
            data.space, data.train, (valid[0], valid[1]), self.n_rows if final else self.trace.rows,
            batch_size(self.n_rows), settings.seed, settings.device, stopped, judge,
        )  # fmt: skip

    def admits(self, size: float, latency_s: float | None) -> bool:
        """Whether a network of this size and latency is within the limits."""
        settings = self.settings
        slow = settings.max_latency_s is not None and (latency_s or 0.0) > settings.max_latency_s
        return not slow and size <= (settings.max_parameters or math.inf)

    def entry(self, name: str, genotype: Genotype) -> Entry:
        """A new candidate with what is known of it before its training."""
        space = self.data.space
        return Entry(name, genotype, space.size(genotype), space.flops(genotype), latency_s=self.latencies.of(genotype))

    def generation(self) -> tuple[int, tuple[int, ...]]:
        """How many candidates may come next, and the epochs by the end of each rung for them."""
        state, settings = self.trace, self.settings
        ladder, wanted = self.ladder(), min(state.size, settings.max_candidates - state.n_own)
        left = self._epochs_left()
        if cost(1, ladder) > left and not state.n_own:
            return 1, tuple(dict.fromkeys(min(rung, int(left)) for rung in ladder))
        while wanted > 0 and cost(wanted, ladder) > left:
            wanted -= 1
        return wanted, ladder

    def ladder(self) -> tuple[int, ...]:
        """Epochs in all by the end of each rung."""
        return rungs(self.trace.rows, batch_size(self.n_rows))

    def _epochs_left(self) -> float:
        """Epochs of the search that the budget leaves."""
        budget = self.settings.max_candidate_epochs
        if budget is None:
            return math.inf
        return (budget - self.trace.epochs(self.n_rows)) * self.n_rows / self.trace.rows + 1e-9
