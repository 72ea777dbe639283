"""The search: generations of candidates up the ladder, then the finalists in full; it goes on from a checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from core.events import Architecture, Event, Message, Metric, PolicyPoint, Progress
from runner.nas.search import trace as traces
from runner.nas.search.finals import NothingTrained, Report, finals, inherited, unreported
from runner.nas.search.ladder import Ascent
from runner.nas.search.sizing import prepare
from runner.nas.search.strategies import Candidate, make
from runner.nas.search.study import SEARCH_SHARE, VALID_ROWS, Data, Judge, Run, Settings
from runner.nas.search.trace import Climb, Entry, Trace
from runner.nas.space.drawing import layers
from runner.nas.space.limits import Latencies, restricted
from runner.nas.space.spaces import Genotype, Policy
from runner.nas.training.planner import Plan

__all__ = ["Data", "Judge", "NothingTrained", "OtherSearch", "Settings", "search"]

PREPARING_SHARE = 0.25  # of the search, for what a strategy learns before its first candidate
_STARTS = 8  # candidates of other searches that are tried first, at most
_ROUNDS = 20  # of questions to the strategy for one generation, where many candidates are beyond the limits


class OtherSearch(ValueError):
    """A search that cannot be gone on with, told in a sentence for the user."""


def search(
    data: Data,
    settings: Settings,
    judge: Judge,
    report: Report,
    checkpoint: Path,
    previous: Path | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    *,
    paused: Callable[[], bool] = lambda: False,
    continued: Path | None = None,
    parent: str = "the other search",
    identity: Mapping[str, str] | None = None,
    began: float | None = None,
    starts: Sequence[Path] = (),
) -> Iterator[Event]:
    """Search, then train the finalists and yield what `report` makes of each.

    The checkpoint is written after each rung and each finalist, and stays. `previous` is the one that an earlier
    attempt left, `continued` that of another job, whose candidates this search starts with, and whose finalists it
    leaves alone; `parent` is what messages call that job, and `identity` holds what the two must have in common. The
    budget counts from `began` on the monotonic clock. Raises LimitError for limits that no architecture meets,
    OtherSearch for a job that cannot be continued, and NothingTrained where no candidate could be trained.
    """
    began = time.monotonic() if began is None else began
    space = restricted(data.space, settings.max_parameters, settings.seed)
    near = {name: tuple(part.to(settings.device) for part in getattr(data, name)) for name in ("train", "valid")}
    data = Data(space, near["train"], near["valid"], data.test)
    mine = {**(identity or {}), "space": repr(space), "strategy": settings.strategy, "device": settings.device}
    state = Trace(identity=mine)
    if previous:
        state = traces.load(previous)
        state.finals = unreported(state.finals)
    elif continued:
        state = _taken_over(traces.load(continued), mine)
        state.finals = inherited(state.finals, parent, settings.epochs)
    began -= state.spent_s
    latencies = Latencies(space, data.train[0], settings.device)
    strategy = make(settings.strategy, space, settings.seed)
    run = Run(data, settings, judge, cancelled, paused, strategy, latencies, state, checkpoint, began)
    if starts and not state.entries:
        yield from _warmed(run, starts)
    if previous or continued:
        yield from _resumed(run, mine["strategy"])
    elif settings.max_latency_s is not None:
        latencies.check(settings.max_latency_s, settings.seed)
    yield from _learned(run)
    yield from _generations(run)
    if not run.stopping():
        yield from finals(run, report)
    if paused() and not cancelled() and state.size:
        yield from _pause(run)


def _warmed(run: Run, starts: Sequence[Path]) -> Iterator[Event]:
    """Put the best candidates of other searches first, in turn, as far as this space has them."""
    space = run.data.space
    offers = []
    for path in starts:
        other = traces.load(path)
        alike = other.identity["space"].partition("(")[0] == repr(space).partition("(")[0]
        offers.append([genotype for genotype in other.best(_STARTS) if alike and _within(space.choices, genotype)])
    mixed = [genotype for row in zip_longest(*offers) for genotype in row if genotype is not None]
    run.starts = list(dict.fromkeys(mixed))[:_STARTS]
    yield Message(f"The search starts with {len(run.starts)} of the best candidates of other searches.")


def _within(choices: Sequence[int], genotype: Genotype) -> bool:
    """Whether a genotype of another space is one of this space, too: decisions mean the same in both."""
    return len(choices) == len(genotype) and all(0 <= place < n for place, n in zip(genotype, choices, strict=True))


def _taken_over(state: Trace, mine: dict[str, str]) -> Trace:
    """What another job left as the start of this one, whose clock and counts begin anew."""
    for key, value in mine.items():
        if key not in ("strategy", "device") and (theirs := state.identity.get(key)) != value:
            named = f" ({theirs}, not {value})" if key == "metric" else ""
            raise OtherSearch(
                f"continues: the other search had another {key}{named}. "
                f"Choose the same {key} and the same limits, or start a new search."
            )
    if state.identity["device"] != mine["device"]:
        state.plans, state.size = {}, 0
        if state.climb:  # its parts are of ways to train that the other device chose
            state.climb = Climb([traces.Entry(e.name, e.genotype, e.size, e.flops) for e in state.climb.entries])
    state.carried, state.spent_s = len(state.evaluated), 0.0
    return state


def _resumed(run: Run, strategy: str) -> Iterator[Event]:
    """Put the strategy where it was, and report again what the checkpoint holds."""
    state = run.trace
    if state.identity["strategy"] == strategy and state.strategy:
        run.strategy.load_state(state.strategy)
    else:
        for entry in state.evaluated:
            run.strategy.tell(Candidate(entry.genotype, entry.name), entry.told or math.nan)
    state.identity["strategy"], state.identity["device"] = strategy, run.settings.device
    run.n_tries = state.n_own
    run.save()
    for entry in state.evaluated:
        yield from _known(run, entry)
    for count, error in state.bests:
        yield Metric("best_valid", run.judge.value(error), count)
    for count, policy in state.policies:
        yield from _policy(policy, count)
    count = len(state.evaluated)
    yield Message(f"The search goes on from its checkpoint of {count:,} {'candidate' if count == 1 else 'candidates'}.")


def _learned(run: Run) -> Iterator[Event]:
    """What the strategy learns before the first candidate; a search that goes on from here does not learn it again."""
    budget_s = PREPARING_SHARE * SEARCH_SHARE * run.settings.budget_s
    yield from run.strategy.prepare(run.data.train, run.settings.device, budget_s, run.stopping)
    if not run.trace.policies and not run.stopping() and run.strategy.policy():
        yield from _noted(run)
        run.save()


def _noted(run: Run) -> Iterator[Event]:
    """Keep and report the policy of this moment."""
    if policy := run.strategy.policy():
        run.trace.policies.append((len(run.trace.evaluated), policy))
        yield from _policy(policy, len(run.trace.evaluated))


def _policy(policy: Policy, count: int) -> Iterator[Event]:
    for decision, options in policy.items():
        for option, probability in options.items():
            yield PolicyPoint(decision, option, probability, count)


def _known(run: Run, entry: Entry) -> Iterator[Event]:
    """What can be said of a candidate: before its training, and of each rung that it has reached."""
    yield Architecture(entry.name, layers(run.data.space, run.data.space.decode(entry.genotype)))
    yield Metric("n_parameters", entry.size, 0, entry.name)
    yield Metric("flops", entry.flops, 0, entry.name)
    if entry.latency_s is not None:
        yield Metric("latency_s", entry.latency_s, 0, entry.name)
    for epochs, _, error in entry.rungs:
        yield Metric("valid_error", error * run.judge.unit, epochs, entry.name)


def _generations(run: Run) -> Iterator[Event]:
    state = run.trace
    if not state.size:
        yield Progress(0.0, "Timing the ways to train", run.settings.budget_s)
        if run.sampled is not None:
            yield Message(f"In the search candidates are judged on {VALID_ROWS:,} of the valid rows, finalists on all.")
        yield from prepare(run)
    while not run.stopping() and state.size:
        if state.climb is None:
            wanted, _ = run.generation()
            if run.search_over() or not (entries := _ask(run, wanted)):
                break
            state.climb = Climb(entries)
            run.save()
        yield from _generation(run, state.climb)
        if not run.stopping():
            yield from _noted(run)
            run.save()


def _ask(run: Run, wanted: int) -> list[Entry]:
    """New candidates within the limits; the strategy hears of those beyond them as failed."""
    found: list[Entry] = []
    offered = [] if run.trace.evaluated else run.strategy.offer(run.starts[:wanted])
    for _ in range(_ROUNDS):
        if len(found) >= wanted or run.search_over():
            break
        for candidate in offered or run.strategy.ask(wanted - len(found)):
            entry = run.entry(candidate.name, candidate.genotype)
            if run.admits(entry.size, entry.latency_s):
                found.append(entry)
            else:
                run.strategy.tell(candidate, math.nan)
        offered = []
    return found


def _generation(run: Run, climb: Climb) -> Iterator[Event]:
    """Train and report one generation, and tell the strategy."""
    known = {entry.name for entry in run.trace.entries}
    assert known.isdisjoint(entry.name for entry in climb.entries)
    for entry in climb.entries:
        yield from _known(run, entry)
    _, ladder = run.generation()
    ascent = Ascent(run.course(), climb, _plans(run, climb), ladder)
    while not ascent.over:
        for reached in ascent.rise():
            run.n_tries += len(reached)
            for entry in reached:
                epochs, _, error = entry.rungs[-1]
                yield Metric("valid_error", error * run.judge.unit, epochs, entry.name)
            yield _progress(run, climb)
        if run.stopping():
            return
        if not ascent.over:
            ascent.save()
            run.save()
    ascent.settle()
    yield from _told(run, climb)


def _told(run: Run, climb: Climb) -> Iterator[Event]:
    """Tell the strategy of a generation, and report the best so far."""
    state, entries = run.trace, climb.entries
    state.entries += [entry for entry in entries if entry.rungs]
    state.climb = None
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


def _plans(run: Run, climb: Climb) -> dict[traces.Group, Plan]:
    """A plan for each group; one that no probe fell into trains one by one, which is never wrong."""
    alone = Plan(1, False, 1.0, (), 0.0)
    found = run.course().groups([entry.genotype for entry in climb.entries])
    return {group: run.trace.plans.get(group, alone) for group in found}


def _progress(run: Run, climb: Climb) -> Progress:
    settings, state, entries = run.settings, run.trace, climb.entries
    climbed = sum(len(entry.rungs) for entry in entries) / (len(entries) * len(run.ladder()))
    by_count = (state.n_own + climbed * len(entries)) / settings.max_candidates
    by_time = run.spent_s / (SEARCH_SHARE * settings.budget_s)
    by_epochs = state.epochs(run.n_rows) / (settings.max_candidate_epochs or math.inf)
    fraction = SEARCH_SHARE * min(1.0, max(by_count, by_time, by_epochs))
    stage = f"Searching: {len(state.evaluated)} candidates, {len(entries)} in training"
    return Progress(fraction, stage, max(0.0, run.left_s))


def _pause(run: Run) -> Iterator[Event]:
    """Count the time since the last checkpoint, too; what was trained since then is trained again."""
    saved = traces.load(run.checkpoint)
    saved.spent_s = run.spent_s
    traces.save(saved, run.checkpoint)
    yield Message(f"The search is paused after {run.spent_s:.0f} s: it can go on from its checkpoint.")
