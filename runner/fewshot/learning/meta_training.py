"""Meta-training: gradients of many tasks, in parts that fit the memory; it goes on from a checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from core.events import Event, Message, Metric, Progress
from runner.fewshot.learning import checkpoint as checkpoints
from runner.fewshot.learning.adapt import Inner
from runner.fewshot.learning.algorithms import ALGORITHMS
from runner.fewshot.learning.checkpoint import Checkpoint
from runner.fewshot.learning.chunks import LIMIT, at_once
from runner.fewshot.learning.episodes import Tasks
from runner.fewshot.learning.evaluation import Estimate, evaluate
from runner.fewshot.learning.pace import Pace
from runner.fewshot.learning.task_networks import Network, Weights, has_norms, initial, statistics

_STATISTICS_ROWS = 1024


class OtherTraining(ValueError):
    """A checkpoint of a training that was set otherwise."""


class Diverged(ArithmeticError):
    """A meta-training whose losses are no numbers any more."""


@dataclass(frozen=True)
class Settings:
    """What was asked. Without `inner` it is the algorithm's usual one.

    `rate` is Adam's, which falls to zero along a cosine. `first_order_share` is the first part of the training that
    takes first-order gradients, and `every_step_share` that in which every inner step's loss counts, at first all and
    then less and less (MAML++). The training ends after `iterations` or, if earlier, after `budget_s`.
    It validates after every so many iterations (`valid_every`), or, if that is None, as often as the budget allows.
    """

    algorithm: str = "MAML"
    inner: Inner | None = None
    iterations: int = 1000
    meta_batch: int = 16
    rate: float = 1e-3
    first_order_share: float = 0.0
    every_step_share: float = 0.0
    valid_every: int | None = 100
    valid_episodes: int = 200
    budget_s: float = math.inf
    memory_bytes: int = LIMIT
    seed: int = 0
    device: str = "cpu"
    dtype: torch.dtype = torch.float32


def train(
    network: Network,
    tasks: Tasks,
    settings: Settings,
    path: Path,
    previous: Path | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    *,
    identity: Mapping[str, str] | None = None,
    began: float | None = None,
) -> Iterator[Event]:
    """Meta-train, and report valid as it goes; `path` holds the checkpoint, with the initialisation best on valid.

    `previous` is a checkpoint that an earlier attempt left; `identity` says what else must be the same in it, such as
    the data. `began` (of the monotonic clock) is when the budget started, if not now. Raises OtherTraining where the
    checkpoint is of other settings, and Diverged where the losses are no numbers any more.
    """
    began = time.monotonic() if began is None else began
    inner = settings.inner or ALGORITHMS[settings.algorithm].inner
    state = _started(network, settings, inner, tasks, previous, identity or {})
    began -= state.spent_s
    meta = {name: value.to(settings.device).requires_grad_() for name, value in state.meta.items()}
    optimizer = torch.optim.Adam(list(meta.values()), settings.rate)
    if state.optimizer:
        optimizer.load_state_dict(state.optimizer)
    if previous:
        yield Message(f"The meta-training goes on after {state.iteration:,} iterations.")
    if state.iteration == 0 and not has_norms(network):
        # Where inputs say much by themselves, a training on few classes can be worse than none.
        list(_validated(network, meta, tasks, settings, inner, state))
    pace, validated, loss = Pace(settings.valid_every, settings.budget_s), state.iteration, math.nan
    while state.iteration < settings.iterations and not cancelled():
        share = max(state.iteration / settings.iterations, (time.monotonic() - began) / settings.budget_s)
        if share >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = settings.rate * (1 + math.cos(math.pi * share)) / 2
        loss = _step(network, meta, tasks, settings, _inner_at(inner, share, settings), optimizer, state.iteration)
        state.iteration += 1
        validates, tells = pace.validates(state.iteration), pace.tells(state.iteration)
        if validates or tells:
            yield Metric("train_loss", loss, state.iteration)
        if validates:
            validated, at = state.iteration, time.monotonic()
            yield from _validated(network, meta, tasks, settings, inner, state)
            pace.validated(at)
        if validates or pace.keeps(state.iteration):
            _keep(state, meta, optimizer, began, path)
            pace.kept()
        if validates or tells:
            yield Progress(share, f"Meta-training: iteration {state.iteration:,}", _remaining(share, began))
            pace.told()
    if state.iteration > validated:
        if not cancelled():
            yield Metric("train_loss", loss, state.iteration)
            yield from _validated(network, meta, tasks, settings, inner, state)
        _keep(state, meta, optimizer, began, path)


def _started(
    network: Network,
    settings: Settings,
    inner: Inner,
    tasks: Tasks,
    previous: Path | None,
    more: Mapping[str, str],
) -> Checkpoint:
    """The state to begin with."""
    identity = {
        "network": repr(network),
        "algorithm": settings.algorithm,
        "inner": repr(inner),
        "training": repr((settings.iterations, settings.meta_batch, settings.rate)),
        "shares": repr((settings.first_order_share, settings.every_step_share)),
        "seed": repr((settings.seed, tasks.seed, getattr(tasks, "train_seed", None))),
        "tasks": repr((tasks.shots, tasks.queries, getattr(tasks, "ways", None), getattr(tasks, "rotated", None))),
        **more,
    }
    if previous is None:
        meta = initial(network, settings.seed, settings.dtype) | inner.rates(network, settings.dtype)
        return Checkpoint(identity, meta, meta, math.inf)
    state = checkpoints.load(previous)
    for key, mine in identity.items():
        if (its := state.identity.get(key)) != mine:
            raise OtherTraining(
                f"The checkpoint {previous.name} is of another {key} ({its}, not {mine}). "
                f"Choose the same, or start a new training."
            )
    return state


def _inner_at(inner: Inner, share: float, settings: Settings) -> Inner:
    """How tasks are learned at this share of the training."""
    part = share / settings.every_step_share if settings.every_step_share else 1.0
    first_order = inner.first_order or share < settings.first_order_share
    return replace(inner, first_order=first_order, every_step=max(0.0, 1.0 - part))


def _step(
    network: Network,
    meta: Weights,
    tasks: Tasks,
    settings: Settings,
    inner: Inner,
    optimizer: torch.optim.Optimizer,
    iteration: int,
) -> float:
    """One step of the optimiser on new tasks; their mean loss."""
    gradient, count, total = ALGORITHMS[settings.algorithm].gradient, settings.meta_batch, 0.0
    begin, end = iteration * count, (iteration + 1) * count
    size = at_once(network, tasks.batch("train", begin, 1), inner, count, settings.memory_bytes)
    optimizer.zero_grad()
    for first in range(begin, end, size):  # drawn in parts, too: a large meta-batch of images is large itself
        part = tasks.batch("train", first, min(size, end - first))
        found, losses = gradient(network, meta, part.to(settings.device), inner)
        total += float(losses.sum())
        for name, value in found.items():
            so_far = meta[name].grad
            meta[name].grad = value / count if so_far is None else so_far + value / count
    if not math.isfinite(total):
        raise Diverged(
            f"The losses are no numbers after {iteration:,} iterations. "
            f"Choose an inner rate below {inner.rate}, or an outer rate below {settings.rate}."
        )
    optimizer.step()
    return total / count


def _validated(
    network: Network, meta: Weights, tasks: Tasks, settings: Settings, inner: Inner, state: Checkpoint
) -> Iterator[Event]:
    """Report valid with its interval, and keep the initialisation if it is the best so far."""
    meta = with_statistics(network, meta, tasks, settings)
    found = _estimate(network, meta, tasks, settings, inner)
    name = "valid_accuracy" if tasks.metric == "accuracy" else "valid_error"
    for suffix, value in (("", found.value), ("_lower", found.lower), ("_upper", found.upper)):
        yield Metric(name + suffix, value, state.iteration)
    error = 1 - found.value if tasks.metric == "accuracy" else found.value
    if error < state.best_error:
        state.best, state.best_error = _copied(meta), error


def with_statistics(network: Network, meta: Weights, tasks: Tasks, settings: Settings) -> Weights:
    """The meta-parameters with the statistics of their norms on train rows, where adapting does not change features."""
    inner = settings.inner or ALGORITHMS[settings.algorithm].inner
    if not has_norms(network) or not inner.shares_features:
        return meta
    one = tasks.batch("train", 0, 1)
    count = math.ceil(_STATISTICS_ROWS / (one.support_x.shape[1] + one.query_x.shape[1]))
    batch = tasks.batch("train", 0, count)
    x = torch.cat([batch.support_x, batch.query_x], 1).flatten(0, 1)[:_STATISTICS_ROWS].to(settings.device)
    return meta | statistics(network, meta, x)


def _estimate(network: Network, meta: Weights, tasks: Tasks, settings: Settings, inner: Inner) -> Estimate:
    algorithm, count = ALGORITHMS[settings.algorithm], settings.valid_episodes
    size = at_once(network, tasks.batch("valid", 0, 1), inner, count, settings.memory_bytes // 4)
    return evaluate(network, meta, tasks, "valid", algorithm, inner, count, chunk=size, device=settings.device)


def _keep(state: Checkpoint, meta: Weights, optimizer: torch.optim.Optimizer, began: float, path: Path) -> None:
    state.meta, state.optimizer = _copied(meta), optimizer.state_dict()
    state.spent_s = time.monotonic() - began
    checkpoints.save(state, path)


def _copied(meta: Weights) -> Weights:
    return {name: value.detach().cpu().clone() for name, value in meta.items()}


def _remaining(share: float, began: float) -> float | None:
    spent = time.monotonic() - began
    return spent * (1 - share) / share if share > 0 else None
