"""Meta-training: gradients of many tasks, in parts that fit the memory; it goes on from a checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from core.events import Event, Message, Metric, Progress
from runner.fewshot import checkpoint as checkpoints
from runner.fewshot.adapt import Inner
from runner.fewshot.algorithms import ALGORITHMS
from runner.fewshot.checkpoint import Checkpoint
from runner.fewshot.episodes import SinusoidTasks, Tasks
from runner.fewshot.evaluation import Estimate, evaluate
from runner.fewshot.memory import LIMIT, at_once
from runner.fewshot.networks import Network, Weights, initial


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
    """

    algorithm: str = "MAML"
    inner: Inner | None = None
    iterations: int = 1000
    meta_batch: int = 16
    rate: float = 1e-3
    first_order_share: float = 0.0
    every_step_share: float = 0.0
    valid_every: int = 100
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
) -> Iterator[Event]:
    """Meta-train, and report valid as it goes; `path` holds the checkpoint, with the initialisation best on valid.

    `previous` is a checkpoint that an earlier attempt left. Raises OtherTraining where it is of other settings, and
    Diverged where the losses are no numbers any more.
    """
    began = time.monotonic()
    inner = settings.inner or ALGORITHMS[settings.algorithm].inner
    state = _started(network, settings, inner, tasks, previous)
    began -= state.spent_s
    meta = {name: value.to(settings.device).requires_grad_() for name, value in state.meta.items()}
    optimizer = torch.optim.Adam(list(meta.values()), settings.rate)
    if state.optimizer:
        optimizer.load_state_dict(state.optimizer)
    if previous:
        yield Message(f"The meta-training goes on after {state.iteration:,} iterations.")
    while state.iteration < settings.iterations and not cancelled():
        share = max(state.iteration / settings.iterations, (time.monotonic() - began) / settings.budget_s)
        if share >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = settings.rate * (1 + math.cos(math.pi * share)) / 2
        loss = _step(network, meta, tasks, settings, _inner_at(inner, share, settings), optimizer, state.iteration)
        state.iteration += 1
        if state.iteration % settings.valid_every == 0:
            yield Metric("train_loss", loss, state.iteration)
            yield from _validated(network, meta, tasks, settings, inner, state)
            _keep(state, meta, optimizer, began, path)
            yield Progress(share, f"Meta-training: iteration {state.iteration:,}", _remaining(share, began))
    if state.iteration % settings.valid_every:
        if not cancelled():
            yield from _validated(network, meta, tasks, settings, inner, state)
        _keep(state, meta, optimizer, began, path)


def _started(network: Network, settings: Settings, inner: Inner, tasks: Tasks, previous: Path | None) -> Checkpoint:
    """The state to begin with."""
    identity = {
        "network": repr(network),
        "algorithm": settings.algorithm,
        "inner": repr(inner),
        "training": repr((settings.iterations, settings.meta_batch, settings.rate)),
        "shares": repr((settings.first_order_share, settings.every_step_share)),
        "seed": repr((settings.seed, tasks.seed)),
        "tasks": repr((tasks.shots, tasks.queries, getattr(tasks, "ways", None), getattr(tasks, "rotated", None))),
    }
    if previous is None:
        meta = initial(network, settings.seed, settings.dtype) | inner.rates(network, settings.dtype)
        return Checkpoint(identity, meta, meta, math.inf)
    state = checkpoints.load(previous)
    for key, mine in identity.items():
        if state.identity[key] != mine:
            raise OtherTraining(
                f"The checkpoint {previous.name} is of another {key} ({state.identity[key]}, not {mine}). "
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
    found = _estimate(network, meta, tasks, settings, inner)
    name = "valid_error" if isinstance(tasks, SinusoidTasks) else "valid_accuracy"
    for suffix, value in (("", found.value), ("_lower", found.lower), ("_upper", found.upper)):
        yield Metric(name + suffix, value, state.iteration)
    error = found.value if isinstance(tasks, SinusoidTasks) else 1 - found.value
    if error < state.best_error:
        state.best, state.best_error = _copied(meta), error


def _estimate(network: Network, meta: Weights, tasks: Tasks, settings: Settings, inner: Inner) -> Estimate:
    algorithm, count = ALGORITHMS[settings.algorithm], settings.valid_episodes
    return evaluate(network, meta, tasks, "valid", algorithm, inner, count, device=settings.device)


def _keep(state: Checkpoint, meta: Weights, optimizer: torch.optim.Optimizer, began: float, path: Path) -> None:
    state.meta, state.optimizer = _copied(meta), optimizer.state_dict()
    state.spent_s = time.monotonic() - began
    checkpoints.save(state, path)


def _copied(meta: Weights) -> Weights:
    return {name: value.detach().cpu().clone() for name, value in meta.items()}


def _remaining(share: float, began: float) -> float | None:
    spent = time.monotonic() - began
    return spent * (1 - share) / share if share > 0 else None
