"""The search: generations of candidates in successive halving, then the full training of the finalists."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from core.events import Event, Message, Metric, Progress
from runner.nas.search import search_state
from runner.nas.search.budget_planning import plan_budget
from runner.nas.search.continuation import ContinuationError, Origin, initial_state, resume, warm_start
from runner.nas.search.finalists import NoNetworkError, Report, train_finalists
from runner.nas.search.halving import GenerationTraining
from runner.nas.search.reports import add_policy, report_candidate, rung_metric
from runner.nas.search.search_state import CandidateRecord, Generation, Group
from runner.nas.search.strategies import Candidate, make
from runner.nas.search.study import SEARCH_SHARE, VALID_ROWS, Objective, SearchData, Settings, Study
from runner.nas.space.limits import Latencies, restrict
from runner.nas.training.training_plan import TrainingPlan

__all__ = ["ContinuationError", "NoNetworkError", "Objective", "Origin", "SearchData", "Settings", "search"]

PREPARING_SHARE = 0.25  # of the search, for what a strategy learns before its first candidate
_ROUNDS = 20  # of questions to the strategy for one generation, where many candidates are beyond the limits


def search(
    data: SearchData,
    settings: Settings,
    objective: Objective,
    report: Report,
    checkpoint: Path,
    origin: Origin,
    *,
    start: float | None = None,
    is_cancelled: Callable[[], bool] = lambda: False,
    is_paused: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Search, then train the finalists and yield what `report` makes of each.

    The checkpoint is written after each rung and each finalist, and stays. The budget counts from `start` on the
    monotonic clock. Raises LimitError for limits that no architecture meets, ContinuationError for a job that cannot
    be continued, and NoNetworkError where no candidate could be trained.
    """
    start = time.monotonic() if start is None else start
    data = _prepare_data(data, settings)
    own = {"space": repr(data.space), "strategy": settings.strategy, "device": settings.device}
    state = initial_state(origin, {**origin.identity, **own}, settings.epochs)
    study = Study(
        data, settings, objective, is_cancelled, is_paused, make(settings.strategy, data.space, settings.seed),
        Latencies(data.space, data.train[0], settings.device), state, checkpoint, start - state.spent_s,
    )  # fmt: skip
    if origin.warm_starts and not state.records:
        yield from warm_start(study, origin.warm_starts)
    if origin.previous or origin.continued:
        yield from resume(study, settings.strategy)
    elif settings.max_latency_s is not None:
        study.latencies.check(settings.max_latency_s, settings.seed)
    yield from _prepare_strategy(study)
    yield from _search_generations(study)
    if not study.must_stop():
        yield from train_finalists(study, report)
    if is_paused() and not is_cancelled() and state.generation_size:
        yield from _pause(study)


def _prepare_data(data: SearchData, settings: Settings) -> SearchData:
    """Return the data within the limits of the settings: the space restricted, train and validation on the device."""
    space, device = restrict(data.space, settings.max_parameters, settings.seed), settings.device
    train, valid = ((x.to(device), y.to(device)) for x, y in (data.train, data.valid))
    return SearchData(space, train, valid, data.test)


def _prepare_strategy(study: Study) -> Iterator[Event]:
    """Let the strategy learn before the first candidate; a resumed search does not repeat that."""
    budget_s = PREPARING_SHARE * SEARCH_SHARE * study.settings.budget_s
    yield from study.strategy.prepare(study.data.train, study.settings.device, budget_s, study.must_stop)
    if not study.state.policies and not study.must_stop() and study.strategy.policy():
        yield from add_policy(study)
        study.save()


def _search_generations(study: Study) -> Iterator[Event]:
    state = study.state
    if not state.generation_size:
        yield Progress(0.0, "Timing training methods", study.settings.budget_s)
        if study.valid_sample is not None:
            yield Message(
                f"The search evaluates candidates on {VALID_ROWS:,} rows of the validation set, finalists on all of it."
            )
        yield from plan_budget(study)
    while not study.must_stop() and state.generation_size:
        if state.generation is None:
            count, _ = study.next_generation()
            if study.must_end_search() or not (records := _ask(study, count)):
                break
            state.generation = Generation(records)
            study.save()
        yield from _train_generation(study, state.generation)
        if not study.must_stop():
            yield from add_policy(study)
            study.save()


def _ask(study: Study, count: int) -> list[CandidateRecord]:
    """Return new candidates within the limits; for the strategy those beyond them have failed."""
    records: list[CandidateRecord] = []
    offered = [] if study.state.evaluations else study.strategy.offer(study.warm_starts[:count])
    for _ in range(_ROUNDS):
        if len(records) >= count or study.must_end_search():
            break
        for candidate in offered or study.strategy.ask(count - len(records)):
            record = study.new_record(candidate.name, candidate.genotype)
            if study.admits(record.size, record.latency_s):
                records.append(record)
            else:
                study.strategy.tell(candidate, math.nan)
        offered = []
    return records


def _train_generation(study: Study, generation: Generation) -> Iterator[Event]:
    """Train and report one generation, and tell the strategy its errors."""
    names = {record.name for record in study.state.records}
    assert names.isdisjoint(record.name for record in generation.records)
    for record in generation.records:
        yield from report_candidate(study, record)
    _, rungs = study.next_generation()
    training = GenerationTraining(study.regime(), generation, _plans(study, generation), rungs)
    while not training.is_over:
        for records in training.train_rung():
            study.n_evaluations += len(records)
            for record in records:
                epochs, _, error = record.rungs[-1]
                yield rung_metric(study, record, epochs, error)
            yield _progress(study, generation)
        if study.must_stop():
            return
        if not training.is_over:
            training.store_states()
            study.save()
    training.set_errors()
    yield from _end_generation(study, generation)


def _end_generation(study: Study, generation: Generation) -> Iterator[Event]:
    """Tell the strategy the errors of a generation, and report the best so far."""
    state, records = study.state, generation.records
    state.records += [record for record in records if record.rungs]
    state.generation = None
    errors = [record.strategy_error for record in records if record.strategy_error is not None]
    for record in records:
        if record.strategy_error is not None:
            study.strategy.tell(Candidate(record.genotype, record.name), record.strategy_error)
    if failed := sum(not math.isfinite(error) for error in errors):
        yield Message(f"{failed} of {len(records)} candidates of a generation failed in training.", "warning")
    metric_errors = [record.metric_error for record in state.records if record.metric_error is not None]
    if finite := list(filter(math.isfinite, metric_errors)):
        state.best_errors.append((len(state.evaluations), min(finite)))
        yield Metric("best_valid", study.objective.value(min(finite)), len(state.evaluations))


def _plans(study: Study, generation: Generation) -> dict[Group, TrainingPlan]:
    """Return a plan for each group; a group without a timed plan trains one by one, which always works."""
    one_by_one = TrainingPlan(1, False, 1.0, (), 0.0)
    groups = study.regime().groups([record.genotype for record in generation.records])
    return {group: study.state.plans.get(group, one_by_one) for group in groups}


def _progress(study: Study, generation: Generation) -> Progress:
    settings, state, records = study.settings, study.state, generation.records
    done = sum(len(record.rungs) for record in records) / (len(records) * len(study.rungs()))
    by_count = (state.n_own + done * len(records)) / settings.max_candidates
    by_time = study.spent_s / (SEARCH_SHARE * settings.budget_s)
    by_epochs = state.own_epochs(study.n_rows) / (settings.max_candidate_epochs or math.inf)
    fraction = SEARCH_SHARE * min(1.0, max(by_count, by_time, by_epochs))
    stage = f"Searching: {len(state.evaluations)} candidates done, {len(records)} in training"
    return Progress(fraction, stage, max(0.0, study.remaining_s))


def _pause(study: Study) -> Iterator[Event]:
    """Count the time since the last checkpoint as well; what was trained since then is trained again."""
    saved = search_state.load(study.checkpoint)
    saved.spent_s = study.spent_s
    search_state.save(saved, study.checkpoint)
    yield Message(f"The search is paused after {study.spent_s:.0f} s. It can resume from its checkpoint.")
