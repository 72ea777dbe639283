"""The search: generations of candidates up the ladder, then the finalists in full; it goes on from a checkpoint."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from torch import Tensor

from core.events import Event, Message, Metric, Progress
from runner.nas import trace as traces
from runner.nas.finals import Finalist, finish
from runner.nas.ladder import KEPT, RUNGS, Course, Pair, batch_size, batches, climb, rungs
from runner.nas.limits import random_genotype, restricted
from runner.nas.planner import Plan, buckets, plan
from runner.nas.spaces import AnySpace
from runner.nas.strategies import Candidate, Policy, Strategy, make
from runner.nas.trace import Entry, Trace

SEARCH_SHARE = 0.65  # of the budget; the rest trains the finalists
PREPARING_SHARE = 0.25  # of the search, for what a strategy learns before its first candidate
_PLANNING_SHARE, _MOST_PLANNING_S = 0.04, 10.0  # of the budget; for candidates of one width
_ENOUGH = 24  # candidates that a search should see; for fewer, its epochs are made shorter
_FEWEST_ROWS = 512  # of such an epoch
_GENERATIONS = 4  # at the least, so that a strategy can learn
_ROUNDS = 20  # of questions to the strategy for one generation, where many candidates are too large


class NothingTrained(RuntimeError):
    """Not one candidate could be trained, told in a sentence for the user."""


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

    `unit` is what an error of one in the networks' own scale is in the target's unit.
    """

    error: Callable[[Tensor], float]
    value: Callable[[float], float]
    unit: float = 1.0


@dataclass(slots=True)
class _Run:
    data: Data
    settings: Settings
    judge: Judge
    cancelled: Callable[[], bool]
    strategy: Strategy
    trace: Trace
    start: float
    plans: dict[int, Plan] = field(default_factory=dict)
    n_tries: int = 0  # candidates of this process that reached a rung

    @property
    def spent_s(self) -> float:
        return time.monotonic() - self.start

    def search_over(self) -> bool:
        """Whether the time of the search is up; not before one candidate has been looked at."""
        return self.cancelled() or (self.n_tries > 0 and self.spent_s > SEARCH_SHARE * self.settings.budget_s)


def search(
    data: Data,
    settings: Settings,
    judge: Judge,
    report: Callable[[Finalist], Iterator[Event]],
    checkpoint: Path,
    previous: Path | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Search, then train the finalists and yield what `report` makes of each.

    The checkpoint is written after each generation; `previous` is one to go on from. Raises LimitError for a
    limit that no architecture meets, and NothingTrained where no candidate could be trained.
    """
    space = restricted(data.space, settings.max_parameters, settings.seed)
    near = {name: tuple(part.to(settings.device) for part in getattr(data, name)) for name in ("train", "valid")}
    data = Data(space, near["train"], near["valid"], data.test)
    state = traces.load(previous) if previous else Trace()
    strategy = make(settings.strategy, space, settings.seed)
    run = _Run(data, settings, judge, cancelled, strategy, state, time.monotonic() - state.spent_s)
    if previous:
        strategy.load_state(state.strategy)
        run.n_tries = len(state.evaluated)
        traces.save(state, checkpoint)
        yield Message(f"The search goes on from its checkpoint of {len(state.evaluated)} candidates.")
        yield from _replayed(run)
    yield from _learned(run, checkpoint)
    if not state.finished:
        yield from _generations(run, checkpoint)
    if not cancelled():
        yield from _finals(run, report)


def _replayed(run: _Run) -> Iterator[Event]:
    """What the attempt before this one had reported of the candidates in the checkpoint."""
    for entry in run.trace.evaluated:
        yield from _proposed(entry)
        for epochs, _, error in entry.rungs:
            yield Metric("valid_error", error * run.judge.unit, epochs, entry.name)
    for count, error in run.trace.bests:
        yield Metric("best_valid", run.judge.value(error), count)
    for count, policy in run.trace.policies:
        yield from _policy(policy, count)


def _learned(run: _Run, checkpoint: Path) -> Iterator[Event]:
    """What the strategy learns before the first candidate; a search that goes on from here does not learn it again."""
    state, settings = run.trace, run.settings
    yield from run.strategy.prepare(
        run.data.train, settings.device, PREPARING_SHARE * SEARCH_SHARE * settings.budget_s, run.cancelled
    )
    if not state.policies and not run.cancelled() and run.strategy.policy():
        yield from _noted(run)
        state.strategy, state.spent_s = run.strategy.state(), run.spent_s
        traces.save(state, checkpoint)


def _noted(run: _Run) -> Iterator[Event]:
    """Keep and report the policy of this moment."""
    if policy := run.strategy.policy():
        run.trace.policies.append((len(run.trace.evaluated), policy))
        yield from _policy(policy, len(run.trace.evaluated))


def _policy(policy: Policy, count: int) -> Iterator[Event]:
    for decision, options in policy.items():
        for option, probability in options.items():
            yield Metric("policy", probability, count, f"{decision} = {option}")


def _proposed(entry: Entry) -> Iterator[Event]:
    yield Metric("n_parameters", entry.size, 0, entry.name)
    yield Metric("flops", entry.flops, 0, entry.name)


def _generations(run: _Run, checkpoint: Path) -> Iterator[Event]:
    state, settings = run.trace, run.settings
    yield Progress(0.0, "Timing the ways to train", settings.budget_s)
    yield from _prepare(run)
    while not run.search_over():
        wanted = min(state.size, settings.max_candidates - len(state.evaluated))
        entries = _ask(run, wanted)
        if not entries:
            break
        yield from _generation(run, entries)
        if run.cancelled():
            return
        yield from _noted(run)
        state.strategy, state.spent_s = run.strategy.state(), run.spent_s
        traces.save(state, checkpoint)
    state.finished, state.spent_s = True, run.spent_s
    traces.save(state, checkpoint)


def _prepare(run: _Run) -> Iterator[Event]:
    """Time the ways to train, and choose the size of a generation and how long its epochs are."""
    state, settings, (x, y) = run.trace, run.settings, run.data.train
    rng = np.random.default_rng(settings.seed)
    most = 32 if settings.device == "cpu" else 256
    size = max(4, min(most, settings.max_candidates // _GENERATIONS))
    probes = {run.data.space.canonical(g): g for g in (random_genotype(run.data.space, rng) for _ in range(2 * size))}
    genotypes = list(probes.values())
    sample, target = batches(x, y, batch_size(len(x)), len(x), settings.seed, 0)[0]
    groups = buckets(run.data.space, genotypes)
    seconds = []
    for group in groups:
        members = [genotypes[index] for index in group]
        budget_s = min(_MOST_PLANNING_S, _PLANNING_SHARE * settings.budget_s / len(groups))
        made = plan(run.data.space, members, sample, target, budget_s=budget_s, device=settings.device)
        run.plans[run.data.space.bucket(members[0])] = made
        seconds += [made.timings[0][2] / made.speedup] * len(members)
        way = f"{made.size} at once" if made.size > 1 else "one by one"
        yield Message(f"Candidates of width {run.data.space.bucket(members[0])} train {way}: {made.speedup:.1f}x.")
    if state.size:
        return
    step_s = statistics.fmean(seconds)
    yield from _sized(run, size, step_s)


def _sized(run: _Run, size: int, step_s: float) -> Iterator[Event]:
    state, n_rows = run.trace, len(run.data.train[0])
    ladder = rungs(n_rows, batch_size(n_rows))
    climb_epochs = sum((high - low) / KEPT**rung for rung, (low, high) in enumerate(pairwise((0, *ladder))))
    epoch_s = step_s * math.ceil(n_rows / batch_size(n_rows)) * 1.3  # with looking at the valid rows
    left_s = SEARCH_SHARE * run.settings.budget_s - run.spent_s
    affordable = max(left_s, 0.0) / (climb_epochs * epoch_s)
    part = min(1.0, affordable / min(_ENOUGH, run.settings.max_candidates))
    state.rows = min(n_rows, max(_FEWEST_ROWS, int(part * n_rows)))
    state.epoch_s = epoch_s * state.rows / n_rows
    affordable = max(left_s, 0.0) / (climb_epochs * state.epoch_s)
    state.size = max(4, min(size, int(affordable / _GENERATIONS)))
    if state.rows < n_rows:
        yield Message(f"In the search an epoch is {state.rows:,} of the {n_rows:,} train rows, as the budget allows.")
    if affordable < 1:
        yield Message(
            f"The budget of {run.settings.budget_s:g} s is too small for one candidate, which takes about "
            f"{climb_epochs * state.epoch_s:.0f} s: what can be trained is. Give it more time.",
            "warning",
        )


def _ask(run: _Run, wanted: int) -> list[Entry]:
    """New candidates within the limit; the strategy hears of those above it as failed."""
    space, limit = run.data.space, run.settings.max_parameters or math.inf
    found: list[Entry] = []
    for _ in range(_ROUNDS):
        if len(found) >= wanted:
            break
        for candidate in run.strategy.ask(wanted - len(found)):
            size = space.size(candidate.genotype)
            if size > limit:
                run.strategy.tell(candidate, math.nan)
            else:
                found.append(Entry(candidate.name, candidate.genotype, size, space.flops(candidate.genotype)))
    return found


def _generation(run: _Run, entries: list[Entry]) -> Iterator[Event]:
    """Train and report one generation, and tell the strategy."""
    state, known = run.trace, {entry.name for entry in run.trace.entries}
    assert known.isdisjoint(entry.name for entry in entries)
    for entry in entries:
        yield from _proposed(entry)
    for reached in climb(_course(run, state.rows, run.search_over), entries, _plans(run, entries)):
        run.n_tries += len(reached)
        for entry in reached:
            epochs, _, error = entry.rungs[-1]
            yield Metric("valid_error", error * run.judge.unit, epochs, entry.name)
        yield _progress(run, entries)
    if run.cancelled():
        return
    state.entries += [entry for entry in entries if entry.rungs]
    for entry in entries:
        if entry.told is not None:
            run.strategy.tell(Candidate(entry.genotype, entry.name), entry.told)
    failed = sum(entry.told is not None and not math.isfinite(entry.told) for entry in entries)
    if failed:
        yield Message(f"{failed} of {len(entries)} candidates of a generation failed in training.", "warning")
    judged = [entry.judged for entry in state.entries if entry.judged is not None and math.isfinite(entry.judged)]
    if judged:
        state.bests.append((len(state.evaluated), min(judged)))
        yield Metric("best_valid", run.judge.value(min(judged)), len(state.evaluated))


def _course(run: _Run, rows: int, stopped: Callable[[], bool]) -> Course:
    data, settings = run.data, run.settings
    size = batch_size(len(data.train[0]))
    return Course(
        data.space, data.train, data.valid, rows, size, settings.seed, settings.device, stopped, run.judge.error
    )


def _plans(run: _Run, entries: list[Entry]) -> dict[int, Plan]:
    """A plan for each bucket; one that no probe fell into trains one by one, which is never wrong."""
    alone = Plan(1, False, 1.0, (), 0.0)
    found = {run.data.space.bucket(entry.genotype) for entry in entries}
    return {bucket: run.plans.get(bucket, alone) for bucket in found}


def _progress(run: _Run, entries: list[Entry]) -> Progress:
    settings, before = run.settings, len(run.trace.evaluated)
    climbed = sum(len(entry.rungs) for entry in entries) / (len(entries) * len(RUNGS))
    by_count = (before + climbed * len(entries)) / settings.max_candidates
    by_time = run.spent_s / (SEARCH_SHARE * settings.budget_s)
    fraction = SEARCH_SHARE * min(1.0, max(by_count, by_time))
    stage = f"Searching: {before} candidates, {len(entries)} in training"
    return Progress(fraction, stage, max(0.0, settings.budget_s - run.spent_s))


def _finals(run: _Run, report: Callable[[Finalist], Iterator[Event]]) -> Iterator[Event]:
    """Train the best candidates in full; raises NothingTrained where not one can be trained."""
    settings, done = run.settings, 0
    ranked = sorted((e for e in run.trace.evaluated if math.isfinite(e.told or 0.0)), key=lambda e: (e.told, e.name))
    chosen = ranked[: settings.finalists]
    for number, entry in enumerate(chosen):
        left_s = settings.budget_s - run.spent_s
        share_s = left_s / (len(chosen) - number)
        if number and share_s < _least_s(run):
            yield Message(f"The time is up: {len(chosen) - number} finalists are left untrained.", "warning")
            break
        fraction = SEARCH_SHARE + (1 - SEARCH_SHARE) * number / len(chosen)
        yield Progress(fraction, f"Training finalist {number + 1} of {len(chosen)}", max(left_s, 0.0))
        course = _course(run, len(run.data.train[0]), run.cancelled)
        epochs = settings.epochs or _epochs(run, share_s)
        finalist = finish(course, entry.name, entry.genotype, run.data.test[0], epochs=epochs, share_s=share_s)
        if run.cancelled():
            return
        if finalist is None:
            yield Message(f"{entry.name} failed in its full training and is left out.", "warning")
            continue
        done += 1
        yield from report(finalist)
        if settings.epochs and len(finalist.curve) < epochs and finalist.fit_s >= 0.98 * share_s:
            yield Message(f"{entry.name} was trained for {len(finalist.curve)} of {epochs} epochs: the time was up.")
    if not done:
        count = len(run.trace.evaluated)
        raise NothingTrained(f"Of {count} candidates none could be trained: their losses are no numbers.")
    yield Progress(1.0, "Done", 0.0)


def _least_s(run: _Run) -> float:
    return run.trace.epoch_s * len(run.data.train[0]) / run.trace.rows


def _epochs(run: _Run, share_s: float) -> int:
    """As many epochs as the time allows, within reason."""
    n_rows = len(run.data.train[0])
    most = (100 if n_rows < 12_000 else 40) * rungs(n_rows, batch_size(n_rows))[0]
    return max(3, min(most, int(share_s / _least_s(run))))
