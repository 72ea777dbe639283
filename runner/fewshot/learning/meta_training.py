"""Meta-training: gradients of many tasks, in microbatches that fit the memory. It can resume from a checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from core.events import Event, Message, Metric, Progress
from runner.fewshot.learning import checkpoint as checkpoints
from runner.fewshot.learning.algorithms import ALGORITHMS
from runner.fewshot.learning.checkpoint import Checkpoint
from runner.fewshot.learning.episodes import Tasks
from runner.fewshot.learning.inner_loop import Inner
from runner.fewshot.learning.meta_evaluation import Estimate, evaluate
from runner.fewshot.learning.microbatches import MEMORY_LIMIT_BYTES, microbatch_size
from runner.fewshot.learning.schedule import Schedule
from runner.fewshot.learning.task_networks import Network, Weights, has_norms, initial_weights, measure_statistics

_STATISTICS_ROWS = 1024


class CheckpointMismatch(ValueError):
    """The checkpoint belongs to a training with other settings."""


class Divergence(ArithmeticError):
    """The losses of a meta-training are no longer numbers."""


@dataclass(frozen=True)
class MetaTrainingSettings:
    """The settings of a meta-training. Without `inner` it uses the algorithm's default inner loop.

    `rate` is Adam's learning rate, which falls to zero along a cosine. `first_order_share` is the first part of the
    training, which uses first-order gradients. `every_step_share` is the part in which every inner step's loss counts,
    at first fully and then less and less (MAML++). The training ends after `iterations` or `budget_s`, whichever comes
    first. It validates every `valid_every` iterations or, if that is None, as often as the budget allows.
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
    memory_bytes: int = MEMORY_LIMIT_BYTES
    seed: int = 0
    device: str = "cpu"
    dtype: torch.dtype = torch.float32

    @property
    def inner_loop(self) -> Inner:
        """The inner loop of these settings."""
        return self.inner or ALGORITHMS[self.algorithm].inner


def meta_train(
    network: Network,
    tasks: Tasks,
    settings: MetaTrainingSettings,
    path: Path,
    previous: Path | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    *,
    identity: Mapping[str, str] | None = None,
    began: float | None = None,
) -> Iterator[Event]:
    """Meta-train and yield curves and progress; `path` gets the checkpoint with the best initialisation.

    `previous` is the checkpoint of an earlier attempt. `identity` names what else must be the same in it, such as the
    data. `began` (of the monotonic clock) is when the budget started, if not now. Raises CheckpointMismatch if the
    checkpoint has other settings, and Divergence if the losses are no longer numbers.
    """
    began = time.monotonic() if began is None else began
    state = _start(network, tasks, settings, previous, identity or {})
    training = _TrainingState(network, tasks, settings, state, began - state.spent_s)
    if previous:
        yield Message(f"The meta-training resumes after {state.iteration:,} iterations.")
    if state.iteration == 0 and not has_norms(network):
        # If the inputs alone say much, training on few classes can be worse than no training.
        list(training.validate())
    yield from _run(training, path, cancelled)


class _TrainingState:
    """A meta-training in progress: its meta-parameters and optimiser, and the state that the checkpoint holds."""

    def __init__(
        self, network: Network, tasks: Tasks, settings: MetaTrainingSettings, state: Checkpoint, began: float
    ) -> None:
        self.network, self.tasks, self.settings, self.state, self.began = network, tasks, settings, state, began
        self.meta = {name: value.to(settings.device).requires_grad_() for name, value in state.meta.items()}
        self.optimizer = torch.optim.Adam(list(self.meta.values()), settings.rate)
        if state.optimizer:
            self.optimizer.load_state_dict(state.optimizer)

    def share(self) -> float:
        """Return how much of the training is done, by iterations or by time."""
        settings = self.settings
        return max(self.state.iteration / settings.iterations, (time.monotonic() - self.began) / settings.budget_s)

    def remaining_s(self, share: float) -> float | None:
        """Return the estimated seconds to the end."""
        return (time.monotonic() - self.began) * (1 - share) / share if share > 0 else None

    def step(self, share: float) -> float:
        """Take one step of the optimiser on new tasks, and return their mean loss."""
        settings, inner = self.settings, _inner_at(share, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.rate * (1 + math.cos(math.pi * share)) / 2
        total = self._accumulate(inner)
        if not math.isfinite(total):
            raise Divergence(
                f"The losses are not finite after {self.state.iteration:,} iterations. "
                f"Choose an inner rate below {inner.rate}, or an outer rate below {settings.rate}."
            )
        self.optimizer.step()
        self.state.iteration += 1
        return total / settings.meta_batch

    def _accumulate(self, inner: Inner) -> float:
        """Set the mean gradient of the next tasks, and return their summed losses."""
        settings, tasks, count, total = self.settings, self.tasks, self.settings.meta_batch, 0.0
        begin, end = self.state.iteration * count, (self.state.iteration + 1) * count
        size = microbatch_size(self.network, tasks.batch("train", begin, 1), inner, count, settings.memory_bytes)
        self.optimizer.zero_grad()
        for first in range(begin, end, size):  # drawn in parts, too: a large meta-batch of images needs much memory
            part = tasks.batch("train", first, min(size, end - first)).to(settings.device)
            gradients, losses = ALGORITHMS[settings.algorithm].gradient(self.network, self.meta, part, inner)
            total += float(losses.sum())
            for name, value in gradients.items():
                so_far = self.meta[name].grad
                self.meta[name].grad = value / count if so_far is None else so_far + value / count
        return total

    def validate(self) -> Iterator[Event]:
        """Yield the validation score with its interval, and store the initialisation if it is the best so far."""
        meta = add_statistics(self.network, self.meta, self.tasks, self.settings)
        estimate = _estimate(self.network, meta, self.tasks, self.settings)
        name = "valid_accuracy" if self.tasks.metric == "accuracy" else "valid_error"
        for suffix, value in (("", estimate.value), ("_lower", estimate.lower), ("_upper", estimate.upper)):
            yield Metric(name + suffix, value, self.state.iteration)
        error = 1 - estimate.value if self.tasks.metric == "accuracy" else estimate.value
        if error < self.state.best_error:
            self.state.best, self.state.best_error = _copy(meta), error

    def save(self, path: Path) -> None:
        """Write the checkpoint."""
        self.state.meta, self.state.optimizer = _copy(self.meta), self.optimizer.state_dict()
        self.state.spent_s = time.monotonic() - self.began
        checkpoints.save(self.state, path)


def _run(training: _TrainingState, path: Path, cancelled: Callable[[], bool]) -> Iterator[Event]:
    state, settings = training.state, training.settings
    schedule, validated, loss = Schedule(settings.valid_every, settings.budget_s), state.iteration, math.nan
    while state.iteration < settings.iterations and not cancelled() and (share := training.share()) < 1:
        loss = training.step(share)
        validation_due, report_due = schedule.validation_due(state.iteration), schedule.report_due(state.iteration)
        if validation_due or report_due:
            yield Metric("train_loss", loss, state.iteration)
        if validation_due:
            validated, at = state.iteration, time.monotonic()
            yield from training.validate()
            schedule.note_validation(at)
        if validation_due or schedule.checkpoint_due(state.iteration):
            training.save(path)
            schedule.note_checkpoint()
        if validation_due or report_due:
            yield Progress(share, f"Meta-training: iteration {state.iteration:,}", training.remaining_s(share))
            schedule.note_report()
    if state.iteration > validated:
        if not cancelled():
            yield Metric("train_loss", loss, state.iteration)
            yield from training.validate()
        training.save(path)


def _start(
    network: Network,
    tasks: Tasks,
    settings: MetaTrainingSettings,
    previous: Path | None,
    extra_identity: Mapping[str, str],
) -> Checkpoint:
    """Return the initial state, or that of the previous checkpoint.

    Checkpoints of earlier versions hold these texts: changing one makes them unusable.
    """
    inner = settings.inner_loop
    identity = {
        "network": repr(network),
        "algorithm": settings.algorithm,
        "inner": repr(inner),
        "training": repr((settings.iterations, settings.meta_batch, settings.rate)),
        "shares": repr((settings.first_order_share, settings.every_step_share)),
        "seed": repr((settings.seed, tasks.seed, getattr(tasks, "train_seed", None))),
        "tasks": repr((tasks.shots, tasks.queries, getattr(tasks, "ways", None), getattr(tasks, "rotations", None))),
        **extra_identity,
    }
    if previous is None:
        meta = initial_weights(network, settings.seed, settings.dtype) | inner.rates(network, settings.dtype)
        return Checkpoint(identity, meta, meta, math.inf)
    state = checkpoints.load(previous)
    for key, value in identity.items():
        if (other := state.identity.get(key)) != value:
            raise CheckpointMismatch(
                f"The checkpoint {previous.name} is of another {key} ({other}, not {value}). "
                "Choose the same, or start a new training."
            )
    return state


def _inner_at(share: float, settings: MetaTrainingSettings) -> Inner:
    """Return the inner loop at this share of the training."""
    inner = settings.inner_loop
    part = share / settings.every_step_share if settings.every_step_share else 1.0
    first_order = inner.first_order or share < settings.first_order_share
    return replace(inner, first_order=first_order, every_step=max(0.0, 1.0 - part))


def add_statistics(network: Network, meta: Weights, tasks: Tasks, settings: MetaTrainingSettings) -> Weights:
    """Return `meta` with the statistics of its norms on train rows, if adapting does not change the features."""
    if not has_norms(network) or not settings.inner_loop.shares_features:
        return meta
    one = tasks.batch("train", 0, 1)
    count = math.ceil(_STATISTICS_ROWS / (one.support_x.shape[1] + one.query_x.shape[1]))
    batch = tasks.batch("train", 0, count)
    x = torch.cat([batch.support_x, batch.query_x], 1).flatten(0, 1)[:_STATISTICS_ROWS].to(settings.device)
    return meta | measure_statistics(network, meta, x)


def _estimate(network: Network, meta: Weights, tasks: Tasks, settings: MetaTrainingSettings) -> Estimate:
    algorithm, inner, count = ALGORITHMS[settings.algorithm], settings.inner_loop, settings.valid_episodes
    size = microbatch_size(network, tasks.batch("valid", 0, 1), inner, count, settings.memory_bytes // 4)
    return evaluate(network, meta, tasks, "valid", algorithm, inner, count, tasks_at_once=size, device=settings.device)


def _copy(meta: Weights) -> Weights:
    return {name: value.detach().cpu().clone() for name, value in meta.items()}
