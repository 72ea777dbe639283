"""Meta-training as a job: tasks of a dataset, an initialisation as a file, and its score on held-out classes."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from core.errors import InputError
from core.events import Evaluation, Event, Initialised, Message, Metric, Progress
from core.specs import FewShotSpec
from runner.fewshot import backbone_features, class_profiles, initialisation_file
from runner.fewshot.class_profiles import Profile
from runner.fewshot.initialisation_file import LoadedInitialisation
from runner.fewshot.learning import checkpoint
from runner.fewshot.learning.algorithms import ALGORITHMS, Algorithm
from runner.fewshot.learning.episodes import Batch, ClassTasks, GroupTasks
from runner.fewshot.learning.inner_loop import Inner
from runner.fewshot.learning.meta_evaluation import Estimate, evaluate
from runner.fewshot.learning.meta_training import CheckpointMismatch, Divergence, MetaTrainingSettings, meta_train
from runner.fewshot.learning.microbatches import MEMORY_LIMIT_BYTES
from runner.fewshot.learning.task_networks import Adapter, Network, Weights, has_norms, initial_weights
from runner.fewshot.training_setup import TrainingSetup, evaluation_tasks, set_up
from runner.shared.allocator import keep_memory
from runner.shared.context import Context
from runner.shared.device import device_of

CHECKPOINT = "meta.pt"
FILE = "initialisation.safetensors"
_MAX_VALID_EPISODES = 200  # of the final evaluation; a quarter of all
_MIN_EPISODES = 50
_EVALUATION_SHARE = 0.3  # of the budget: the maximum reserved for the final evaluation
_NO_LIMIT = 10**9  # iterations, if only the budget ends the training
_SHARED_FEATURES_COST = 0.1  # of a task's evaluation: the maximum if all tasks share their features
_EVERY_STEP_SHARE = 0.5  # of the training, with a multi-step loss
_GPU_SHARE = 0.25  # of the free memory of a GPU, for the tasks processed at once
_TASKS_AT_ONCE = (1, 4, 16, 64)  # of an evaluation; on a processor few are faster, as they fit its caches
_TIMING_S = 1.0  # after so long no larger numbers are timed


@dataclass(frozen=True)
class _MetaTraining:
    spec: FewShotSpec
    context: Context
    setup: TrainingSetup
    settings: MetaTrainingSettings
    inner: Inner
    deadline: float  # of the monotonic clock

    @property
    def protocols(self) -> tuple[str, ...]:
        """The protocols that differ: without batch norm a row's prediction does not depend on the others."""
        return ("inductive", "transductive") if has_norms(self.setup.network) else ("inductive",)

    @property
    def remaining_s(self) -> float:
        """The seconds of the budget that remain."""
        return max(0.0, self.deadline - time.monotonic())

    @property
    def ways(self) -> int:
        """The classes of a task; a regression has one output."""
        return self.spec.ways if isinstance(self.setup.tasks, ClassTasks) else 1


def run(spec: FewShotSpec, context: Context) -> Iterator[Event]:
    """Meta-train within the budget, then evaluate on held-out classes; yield curves, the file, and its evaluations.

    Raises InputError for data or settings that cannot be used, and MetascoutError if the budget ends before a step.
    """
    began = context.started_at()
    device = device_of(spec)
    torch.set_num_threads(context.cpus)
    keep_memory()
    yield Progress(0.0, "Reading the data", float(spec.budget_s))
    setup = set_up(context.dataset, spec)
    for text in setup.warnings:
        yield Message(text, "warning")
    yield Message(_split_sizes(setup))
    # Before the training, which then uses the time that remains.
    profile = class_profiles.describe(*setup.profile_inputs(), setup.recipe["kind"])
    if spec.backbone is not None:
        with_features = yield from backbone_features.compute(spec, context, setup, device, began + spec.budget_s)
        if with_features is None:
            return
        setup = with_features
    training = _meta_training(spec, context, _to_device(setup, device), device, began)
    yield from _train_and_evaluate(training, began, profile)


def _train_and_evaluate(training: _MetaTraining, began: float, profile: Profile) -> Iterator[Event]:
    spec, context = training.spec, training.context
    path = context.directory / CHECKPOINT
    if previous := context.previous_file(CHECKPOINT):
        shutil.copy(previous, path)  # if the budget is spent already, this is the result
    yield Progress(max(0.0, 1 - training.remaining_s / spec.budget_s), "Timing the evaluation", training.remaining_s)
    tasks_at_once, task_s = _fastest(training)
    yield from _train(training, path, began, task_s)
    if context.cancelled() or context.paused():
        return
    if not path.exists():
        raise InputError(
            f"{spec.budget_s} seconds ended before the first step.",
            field="budget_s",
            value=spec.budget_s,
            remedy="Give it more time.",
        )
    meta = checkpoint.load(path).best
    yield _save(training, meta, profile)
    meta = {name: value.to(training.settings.device) for name, value in meta.items()}
    yield from _evaluate(training, meta, tasks_at_once, task_s)


def _to_device(setup: TrainingSetup, device: str) -> TrainingSetup:
    """Move the rows to the device, where tasks are made of them."""
    tasks = setup.tasks
    if isinstance(tasks, GroupTasks):
        return replace(setup, tasks=replace(tasks, x=tasks.x.to(device), y=tasks.y.to(device)))
    return replace(setup, tasks=replace(tasks, inputs=tasks.inputs.to(device)))


def _split_sizes(setup: TrainingSetup) -> str:
    train, valid, test = (len(setup.tasks.splits[split]) for split in ("train", "valid", "test"))
    what = "groups" if isinstance(setup.tasks, GroupTasks) else "classes"
    return (
        f"{train:,} {what} for meta-training, {valid:,} for validation, {test:,} for the test; {setup.n_rows:,} rows."
    )


def _meta_training(
    spec: FewShotSpec, context: Context, setup: TrainingSetup, device: str, began: float
) -> _MetaTraining:
    algorithm = ALGORITHMS[spec.algorithm]
    default = algorithm.inner
    inner = replace(
        default,
        steps=spec.inner_steps or default.steps,
        rate=spec.inner_rate or _default_inner_rate(spec.algorithm, setup),
        learned_rates=spec.learned_rates,
        # Training with shared features uses all rows anyway, and initialisations are chosen by inductive scores.
        transductive=spec.transductive and not default.shares_features,
    )
    settings = MetaTrainingSettings(
        algorithm=spec.algorithm,
        inner=inner,
        iterations=spec.iterations or _NO_LIMIT,
        meta_batch=spec.meta_batch or algorithm.meta_batch,
        rate=spec.outer_rate or _default_outer_rate(algorithm, setup),
        first_order_share=spec.first_order_frac,
        every_step_share=_EVERY_STEP_SHARE if spec.multi_step_loss else 0.0,
        valid_every=None,
        budget_s=float(spec.budget_s),
        memory_bytes=MEMORY_LIMIT_BYTES if device == "cpu" else int(torch.cuda.mem_get_info()[0] * _GPU_SHARE),
        seed=spec.seed,
        device=device,
    )
    return _MetaTraining(spec, context, setup, settings, inner, began + spec.budget_s)


def _default_outer_rate(algorithm: Algorithm, setup: TrainingSetup) -> float:
    return algorithm.rate if isinstance(setup.tasks, ClassTasks) else 1e-3


def _default_inner_rate(algorithm: str, setup: TrainingSetup) -> float:
    """Return the algorithm's rate; for regression the best one on sine waves, as larger ones diverge without a norm."""
    if isinstance(setup.tasks, ClassTasks):
        return ALGORITHMS[algorithm].inner.rate
    return 0.05 if algorithm == "Reptile" else 0.01


def _train(training: _MetaTraining, path: Path, began: float, task_s: float) -> Iterator[Event]:
    """Meta-train for the budget minus what the evaluation needs; errors are yielded in the target's unit."""
    spec, context = training.spec, training.context
    episodes = spec.test_episodes + min(_MAX_VALID_EPISODES, spec.test_episodes)
    needed = sum(_task_s(training, protocol, task_s) for protocol in training.protocols) * episodes
    reserve = min(1.0 + needed, _EVALUATION_SHARE * spec.budget_s)
    settings = replace(training.settings, budget_s=spec.budget_s - reserve)
    identity = {"dataset": context.dataset.fingerprint, "group": repr(spec.group)}
    if spec.backbone is not None:
        identity["backbone"] = spec.backbone
    try:
        for event in meta_train(
            training.setup.network, training.setup.tasks, settings, path, path if path.exists() else None,
            lambda: context.cancelled() or context.paused(), identity=identity, began=began,
        ):  # fmt: skip
            yield _convert(event, training, reserve)
    except (CheckpointMismatch, Divergence) as error:
        raise InputError(str(error)) from error


def _convert(event: Event, training: _MetaTraining, reserve: float) -> Event:
    """Return a metric in the target's unit, and progress as a share of the whole job."""
    if isinstance(event, Metric):
        return replace(event, value=event.value * training.setup.unit)
    if isinstance(event, Progress):
        share = 1 - reserve / training.spec.budget_s
        remaining_s = event.remaining_s + reserve if event.remaining_s is not None else None
        return replace(event, fraction=event.fraction * share, remaining_s=remaining_s)
    return event


def _fastest(training: _MetaTraining) -> tuple[int, float]:
    """Return how many tasks at once are evaluated the fastest, and the seconds of one task."""
    meta, tasks = _initial_meta(training), evaluation_tasks(training.setup.tasks)
    times: dict[int, float] = {}
    began = time.monotonic()
    for n in _TASKS_AT_ONCE:
        if times and (times[max(times)] > min(times.values()) or time.monotonic() > began + _TIMING_S):
            break
        times[n] = _seconds(lambda n=n: _outputs(training, meta, tasks.batch("valid", 0, n), training.inner), 1) / n
    best = min(times, key=lambda n: times[n])
    return best, times[best]


def _initial_meta(training: _MetaTraining) -> Weights:
    network = training.setup.network
    meta = initial_weights(network, training.spec.seed) | training.inner.rates(network)
    return {name: value.to(training.settings.device) for name, value in meta.items()}


def _outputs(training: _MetaTraining, meta: Weights, batch: Batch, inner: Inner) -> torch.Tensor:
    algorithm = ALGORITHMS[training.spec.algorithm]
    return algorithm.outputs(training.setup.network, meta, batch.to(training.settings.device), inner)


def _seconds(function: Callable[..., object], repeats: int = 2) -> float:
    """Return the median seconds of a call, after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def _evaluate(training: _MetaTraining, meta: Weights, tasks_at_once: int, task_s: float) -> Iterator[Event]:
    """Yield the evaluation by each protocol, on the same episodes for all jobs of the dataset.

    A task takes about `task_s` seconds if `tasks_at_once` are processed together.
    """
    tasks, protocols = evaluation_tasks(training.setup.tasks), training.protocols
    n_episodes = training.spec.test_episodes
    for place, protocol in enumerate(protocols):
        remaining_s = training.remaining_s
        yield Progress(0.9 + 0.1 * place / len(protocols), f"Evaluation, {protocol}", remaining_s)
        inner = replace(training.inner, transductive=protocol == "transductive")
        one = _one_query(tasks.batch("test", 0, 1), tasks)
        adapt_s = _seconds(lambda one=one, inner=inner: _outputs(training, meta, one, inner), 5)
        share_s = remaining_s / (len(protocols) - place)
        n_valid, n_test = _affordable(n_episodes, _task_s(training, protocol, task_s), share_s)
        valid, test = (
            _estimate(training, meta, tasks, split, n, inner, tasks_at_once)
            for split, n in (("valid", n_valid), ("test", n_test))
        )
        if test.n_episodes < n_episodes:
            text = f"{protocol}: {test.n_episodes:,} of {n_episodes:,} test tasks, as the budget ends."
            yield Message(text, "warning")
        yield _evaluation(training, protocol, valid, test, adapt_s)


def _task_s(training: _MetaTraining, protocol: str, task_s: float) -> float:
    """Return the seconds to evaluate one of many tasks; features that all tasks share are computed once."""
    shared = protocol == "inductive" and training.inner.shares_features
    return task_s * _SHARED_FEATURES_COST if shared else task_s


def _one_query(batch: Batch, tasks: ClassTasks | GroupTasks) -> Batch:
    """Return the batch with one query row of each class."""
    rows = getattr(tasks, "ways", 1)
    return Batch(batch.support_x, batch.support_y, batch.query_x[:, :rows], batch.query_y[:, :rows])


def _affordable(n_episodes: int, task_s: float, remaining_s: float) -> tuple[int, int]:
    """Return how many valid and test episodes fit the remaining time, but never too few for an estimate."""
    maximum, minimum = int(remaining_s / task_s), min(n_episodes, _MIN_EPISODES)
    n_valid = max(minimum, min(n_episodes, _MAX_VALID_EPISODES, maximum // 4))
    return n_valid, max(minimum, min(n_episodes, maximum - n_valid))


def _estimate(
    training: _MetaTraining,
    meta: Weights,
    tasks: ClassTasks | GroupTasks,
    split: str,
    n_episodes: int,
    inner: Inner,
    tasks_at_once: int,
) -> Estimate:
    algorithm = ALGORITHMS[training.spec.algorithm]
    return evaluate(
        training.setup.network, meta, tasks, split, algorithm, inner, n_episodes, tasks_at_once=tasks_at_once,
        device=training.settings.device, deadline=training.deadline,
    )  # fmt: skip


def _evaluation(training: _MetaTraining, protocol: str, valid: Estimate, test: Estimate, adapt_s: float) -> Evaluation:
    spec, unit = training.spec, training.setup.unit
    return Evaluation(
        algorithm=spec.algorithm,
        network=_network_name(training.setup.network),
        ways=training.ways,
        shots=spec.shots,
        protocol=protocol,
        metric=training.setup.tasks.metric,
        valid=valid.value * unit,
        test=test.value * unit,
        lower=test.lower * unit,
        upper=test.upper * unit,
        n_episodes=test.n_episodes,
        adapt_s=adapt_s,
    )


def _save(training: _MetaTraining, meta: Weights, profile: Profile) -> Initialised:
    """Write the initialisation's file, and return its event with what other jobs compare it by."""
    setup, spec = training.setup, training.spec
    one = LoadedInitialisation(spec.algorithm, setup.network, training.inner, meta, setup.recipe)
    path = training.context.directory / "artifacts" / FILE
    path.parent.mkdir(exist_ok=True)
    initialisation_file.save(one, path)
    about: dict[str, Any] = {
        "kind": setup.recipe["kind"],
        "classes": setup.classes("train"),
        "held_out": setup.classes("valid", "test"),
        "profile": profile,
        "n_rows": setup.n_rows,
        "inputs": _summary(setup.recipe),
    }
    name = _network_name(setup.network)
    return Initialised(str(path), spec.algorithm, name, training.ways, spec.shots, one.n_parameters, about)


def _network_name(network: Network) -> str:
    width = network.n_inputs if isinstance(network, Adapter) else getattr(network, "width", None)
    return type(network).__name__ + (f"-{width}" if width else "")


def _summary(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the recipe with the lengths of its long lists, which are in the file."""
    return {name: len(value) if name in ("words", "mean", "std") else value for name, value in recipe.items()}
