"""Before the first generation: how candidates train fastest, how many a generation has, how long its epochs are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

import numpy as np

from core.events import Event, Message
from runner.nas.search.ladder import RUNGS, cost, rungs
from runner.nas.search.study import SEARCH_SHARE, Run
from runner.nas.space.limits import random_genotype
from runner.nas.training.batches import batch_size, batches
from runner.nas.training.planner import plan

_PLANNING_SHARE, _MOST_PLANNING_S = 0.04, 10.0  # of the budget; for candidates of one group
_ENOUGH = 24  # candidates that a search should see; for fewer, its epochs are made shorter
_FEWEST_ROWS = 512  # of such an epoch
_GENERATIONS = 4  # at the least, so that a strategy can learn
_LOOKING = 1.3  # what an epoch takes with looking at the valid rows, in epochs


def prepare(run: Run) -> Iterator[Event]:
    """Time the ways to train, and choose the size of a generation and how long its epochs are."""
    state, settings, space = run.trace, run.settings, run.data.space
    rng = np.random.default_rng(settings.seed)
    most = 32 if settings.device == "cpu" else 256
    size = max(4, min(most, settings.max_candidates // _GENERATIONS))
    probes = {space.canonical(g): g for g in (random_genotype(space, rng) for _ in range(2 * size))}
    course, epochs_s, until_s = run.course(), [], run.spent_s + 2 * _PLANNING_SHARE * settings.budget_s
    groups = course.groups(list(probes.values()))
    for number, (group, members) in enumerate(groups.items()):
        if run.stopping() or (number and run.spent_s > until_s):
            break
        x, y = batches(*run.data.train, group[1], run.n_rows, settings.seed, 0)[0]
        budget_s = min(_MOST_PLANNING_S, _PLANNING_SHARE * settings.budget_s / len(groups))
        made = state.plans[group] = plan(space, members, x, y, budget_s=budget_s, device=settings.device)
        epoch_s = made.timings[0][2] / made.speedup * math.ceil(run.n_rows / group[1])
        epochs_s += [epoch_s * _LOOKING] * len(members)
        way = f"{made.size} at once" if made.size > 1 else "one by one"
        batch = f" and batches of {group[1]}" if space.batches else ""
        yield Message(f"Candidates of width {group[0]}{batch} train {way}: {made.speedup:.1f}x.")
    if epochs_s:
        yield from _sized(run, size, statistics.fmean(epochs_s))


def _sized(run: Run, size: int, epoch_s: float) -> Iterator[Event]:
    """Choose by what one epoch of all train rows takes for one candidate."""
    state, n_rows, budget = run.trace, run.n_rows, run.settings.max_candidate_epochs
    ladder = rungs(n_rows, batch_size(n_rows))
    climb_epochs = cost(3 ** len(RUNGS), ladder) / 3 ** len(RUNGS)  # of one candidate, on average
    left_s = max(0.0, SEARCH_SHARE * run.settings.budget_s - run.spent_s)
    affordable = left_s / (climb_epochs * epoch_s)
    if not state.rows:  # what is taken over from another search was trained on as many
        part = min(1.0, affordable / min(_ENOUGH, run.settings.max_candidates))
        state.rows = min(n_rows, max(_FEWEST_ROWS, int(part * n_rows)))
        if state.rows < n_rows:
            yield Message(
                f"In the search an epoch is {state.rows:,} of the {n_rows:,} train rows, as the budget allows."
            )
    state.epoch_s = epoch_s * state.rows / n_rows
    affordable = left_s / (climb_epochs * state.epoch_s)
    by_epochs = math.inf if budget is None else budget / (climb_epochs * state.rows / n_rows)
    state.size = max(4, min(size, int(min(affordable, by_epochs, 1e6) / _GENERATIONS)))
    if affordable < 1:
        yield Message(
            f"The budget of {run.settings.budget_s:g} s is too small for one candidate: {left_s:.1f} s of it are left "
            f"to search in, and one takes about {climb_epochs * state.epoch_s:.1f} s. What can be trained is. "
            "Give it more time.",
            "warning",
        )
    if budget is not None and cost(1, run.ladder()) * state.rows > budget * n_rows:
        yield Message(
            f"The budget of {budget} candidate-epochs is too small for one candidate, which takes up to "
            f"{math.ceil(cost(1, run.ladder()) * state.rows / n_rows)}: one is trained as far as it goes. "
            "Give it more candidate-epochs.",
            "warning",
        )
