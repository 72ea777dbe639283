"""Before the first generation: choose how candidates train, how many a generation has, and how long epochs are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Generator, Iterator

import numpy as np

from core.events import Event, Message
from runner.nas.search.halving import RUNGS, rung_epochs, total_epochs
from runner.nas.search.study import SEARCH_SHARE, Study
from runner.nas.space.limits import random_genotype
from runner.nas.space.spaces import Genotype
from runner.nas.training.batches import batch_size, batches
from runner.nas.training.training_plan import plan_training

_PLANNING_SHARE, _MAXIMUM_PLANNING_S = 0.04, 10.0  # of the budget; for candidates of one group
_ENOUGH = 24  # candidates that a search should evaluate; to reach that, its epochs are made shorter
_MINIMUM_ROWS = 512  # of such an epoch
_GENERATIONS = 4  # minimum, for a strategy to learn
_EVALUATION = 1.3  # duration of an epoch with its evaluation on the validation rows, in epochs


def plan_budget(study: Study) -> Iterator[Event]:
    """Time the ways to train, then choose the size of a generation and the rows of an epoch."""
    settings = study.settings
    maximum = 32 if settings.device == "cpu" else 256
    size = max(4, min(maximum, settings.max_candidates // _GENERATIONS))
    epochs_s = yield from _time_training(study, _probes(study, 2 * size))
    if epochs_s:
        yield from _choose_sizes(study, size, statistics.fmean(epochs_s))


def _probes(study: Study, count: int) -> list[Genotype]:
    """Return some different random candidates."""
    space, rng = study.data.space, np.random.default_rng(study.settings.seed)
    return list({space.canonical_name(g): g for g in (random_genotype(space, rng) for _ in range(count))}.values())


def _time_training(study: Study, probes: list[Genotype]) -> Generator[Event, None, list[float]]:
    """Plan the training of each group, as far as the time reaches; return the seconds of an epoch of each probe."""
    state, settings, space, epochs_s = study.state, study.settings, study.data.space, list[float]()
    until_s = study.spent_s + 2 * _PLANNING_SHARE * settings.budget_s
    groups = study.regime().groups(probes)
    for number, (group, members) in enumerate(groups.items()):
        if study.must_stop() or (number and study.spent_s > until_s):
            break
        x, y = batches(*study.data.train, group[1], study.n_rows, settings.seed, 0)[0]
        budget_s = min(_MAXIMUM_PLANNING_S, _PLANNING_SHARE * settings.budget_s / len(groups))
        plan = state.plans[group] = plan_training(space, members, x, y, budget_s=budget_s, device=settings.device)
        epoch_s = plan.timings[0][2] / plan.speedup * math.ceil(study.n_rows / group[1])
        epochs_s += [epoch_s * _EVALUATION] * len(members)
        batch = f", batch size {group[1]}" if space.batches else ""
        way = f"{plan.size} together" if plan.size > 1 else "one by one"
        yield Message(f"Training plan for width {group[0]}{batch}: {way}, speed-up {plan.speedup:.1f}x.")
    return epochs_s


def _choose_sizes(study: Study, size: int, epoch_s: float) -> Iterator[Event]:
    """Choose by the seconds that one candidate takes for an epoch of all train rows."""
    state, n_rows, budget = study.state, study.n_rows, study.settings.max_candidate_epochs
    candidate_epochs = _mean_epochs(rung_epochs(n_rows, batch_size(n_rows)))
    available_s = max(0.0, SEARCH_SHARE * study.settings.budget_s - study.spent_s)
    if not state.epoch_rows:  # a continued search keeps its epochs, so that errors stay comparable
        part = min(1.0, available_s / (candidate_epochs * epoch_s) / min(_ENOUGH, study.settings.max_candidates))
        state.epoch_rows = min(n_rows, max(_MINIMUM_ROWS, int(part * n_rows)))
        if state.epoch_rows < n_rows:
            yield Message(
                f"To fit the budget, an epoch of the search has {state.epoch_rows:,} of the {n_rows:,} train rows."
            )
    state.epoch_s = epoch_s * state.epoch_rows / n_rows
    candidate_s = candidate_epochs * state.epoch_s
    by_time = available_s / candidate_s
    by_epochs = math.inf if budget is None else budget / (candidate_epochs * state.epoch_rows / n_rows)
    state.generation_size = max(4, min(size, int(min(by_time, by_epochs, 1e6) / _GENERATIONS)))
    if by_time < 1:
        yield _little_time(study.settings.budget_s, available_s, candidate_s)
    if budget is not None and total_epochs(1, study.rungs()) * state.epoch_rows > budget * n_rows:
        yield _few_epochs(budget, math.ceil(total_epochs(1, study.rungs()) * state.epoch_rows / n_rows))


def _mean_epochs(rungs: tuple[int, ...]) -> float:
    """Return the epochs that a candidate of a large generation trains on average."""
    return total_epochs(3 ** len(RUNGS), rungs) / 3 ** len(RUNGS)


def _little_time(budget_s: float, available_s: float, candidate_s: float) -> Message:
    return Message(
        f"The budget of {budget_s:g} s is too small for one candidate: {available_s:.1f} s remain for the search, and "
        f"a candidate takes about {candidate_s:.1f} s. It is trained as far as possible. Give the search more time.",
        "warning",
    )


def _few_epochs(budget: int, epochs: int) -> Message:
    return Message(
        f"The budget of {budget} candidate-epochs is too small for one candidate, which takes up to {epochs}. It is "
        "trained as far as possible. Give the search more candidate-epochs.",
        "warning",
    )
