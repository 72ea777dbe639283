"""Meta-training as a job: a dataset's tasks, an initialisation as a file, and what it is worth on held-out classes."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from core.errors import InputError, MetascoutError
from core.events import Evaluation, Event, Initialised, Message, Metric, Progress
from core.specs import FewShotSpec
from runner.fewshot import features, initialisation
from runner.fewshot.initialisation import Initialisation
from runner.fewshot.learning import checkpoint
from runner.fewshot.learning.adapt import Inner
from runner.fewshot.learning.algorithms import ALGORITHMS, Algorithm
from runner.fewshot.learning.chunks import LIMIT
from runner.fewshot.learning.episodes import Batch, ClassTasks, GroupTasks
from runner.fewshot.learning.evaluation import Estimate, evaluate
from runner.fewshot.learning.meta_training import Diverged, OtherTraining, Settings, train
from runner.fewshot.learning.task_networks import Adapter, Network, Weights, has_norms, initial
from runner.fewshot.preparation import Prepared, judged, prepare
from runner.fewshot.similarity import Profile, describe
from runner.shared.allocator import keep_memory
from runner.shared.context import Context

CHECKPOINT = "meta.pt"
FILE = "initialisation.safetensors"
_VALID_EPISODES = 200  # of the final evaluation, at most; a quarter of all
_FEWEST_EPISODES = 50
_EVALUATION_SHARE = 0.3  # of the budget, at most, is kept for the final evaluation
_ENDLESS = 10**9  # iterations, where only the budget ends the training
_KNOWN_SHARE = 0.1  # of a task's evaluation, at most, is left where features are computed once for all tasks
_EVERY_STEP_SHARE = 0.5  # of the training, with a multi-step loss
_GPU_SHARE = 0.25  # of the free memory of a GPU, for the tasks worked on at once
_CHUNKS = (1, 4, 16, 64)  # tasks evaluated at once; on a processor few are faster, as they fit its caches
_TIMING_S = 1.0  # after so long no more tasks at once are tried


@dataclass(frozen=True)
class _Job:
    spec: FewShotSpec
    context: Context
    prepared: Prepared
    settings: Settings
    inner: Inner
    deadline: float  # of the monotonic clock

    @property
    def protocols(self) -> tuple[str, ...]:
        """Those that differ: without batch norm a row's prediction does not depend on the others."""
        return ("inductive", "transductive") if has_norms(self.prepared.network) else ("inductive",)


def run(spec: FewShotSpec, context: Context) -> Iterator[Event]:
    """Meta-train within the budget, then evaluate on held-out classes; yields curves, the file, its evaluations.

    Raises InputError for what cannot be trained on or with, and MetascoutError where the budget ends before a step.
    """
    began = context.started_at()
    device = _device(spec)
    torch.set_num_threads(context.cpus)
    keep_memory()
    yield Progress(0.0, "Reading the data", float(spec.budget_s))
    prepared = prepare(context.dataset, spec)
    for text in prepared.warnings:
        yield Message(text, "warning")
    yield Message(_shared_out(prepared))
    # Before the training, so that it has the time that is left.
    profile = describe(*prepared.described(), prepared.recipe["kind"])
    if spec.backbone is not None:
        featured = yield from features.computed(spec, context, prepared, device, began + spec.budget_s)
        if featured is None:
            return
        prepared = featured
    job = _job(spec, context, _on(prepared, device), device, began)
    path = context.directory / CHECKPOINT
    if previous := context.previous_file(CHECKPOINT):
        shutil.copy(previous, path)  # what is trained already may be all that there will be
    left = max(0.0, job.deadline - time.monotonic())
    yield Progress(max(0.0, 1 - left / spec.budget_s), "Timing the evaluation", left)
    chunk, took = _quickest(job)
    yield from _trained(job, path, began, took)
    if context.cancelled() or context.paused():
        return
    if not path.exists():
        raise MetascoutError(f"budget_s: {spec.budget_s} seconds ended before the first step. Give more.")
    meta = checkpoint.load(path).best
    yield _initialised(job, meta, profile)
    yield from _evaluated(job, {name: value.to(device) for name, value in meta.items()}, chunk, took)


def _device(spec: FewShotSpec) -> str:
    if spec.gpus and not torch.cuda.is_available():
        raise InputError("gpus: 1 is asked for, and this machine has no GPU that torch can use; ask for 0.")
    return "cuda" if spec.gpus else "cpu"


def _on(prepared: Prepared, device: str) -> Prepared:
    """The same with its rows on the device, where tasks are made of them."""
    tasks = prepared.tasks
    if isinstance(tasks, GroupTasks):
        return replace(prepared, tasks=replace(tasks, x=tasks.x.to(device), y=tasks.y.to(device)))
    return replace(prepared, tasks=replace(tasks, inputs=tasks.inputs.to(device)))


def _shared_out(prepared: Prepared) -> str:
    train, valid, test = (len(prepared.tasks.splits[split]) for split in ("train", "valid", "test"))
    what = "groups" if isinstance(prepared.tasks, GroupTasks) else "classes"
    return f"{train:,} {what} to meta-train on, {valid:,} to choose by, {test:,} to judge on; {prepared.n_rows:,} rows."


def _job(spec: FewShotSpec, context: Context, prepared: Prepared, device: str, began: float) -> _Job:
    algorithm = ALGORITHMS[spec.algorithm]
    usual = algorithm.inner
    inner = replace(
        usual,
        steps=spec.inner_steps or usual.steps,
        rate=spec.inner_rate or _usual_rate(spec.algorithm, prepared),
        learned_rates=spec.learned_rates,
        # Of shared features training takes all rows anyway, and they are chosen by the inductive answers.
        transductive=spec.transductive and not usual.shares_features,
    )
    settings = Settings(
        algorithm=spec.algorithm,
        inner=inner,
        iterations=spec.iterations or _ENDLESS,
        meta_batch=spec.meta_batch or algorithm.meta_batch,
        rate=spec.outer_rate or _usual_outer_rate(algorithm, prepared),
        first_order_share=spec.first_order_frac,
        every_step_share=_EVERY_STEP_SHARE if spec.multi_step_loss else 0.0,
        valid_every=None,
        budget_s=float(spec.budget_s),
        memory_bytes=LIMIT if device == "cpu" else int(torch.cuda.mem_get_info()[0] * _GPU_SHARE),
        seed=spec.seed,
        device=device,
    )
    return _Job(spec, context, prepared, settings, inner, began + spec.budget_s)


def _usual_outer_rate(algorithm: Algorithm, prepared: Prepared) -> float:
    return algorithm.rate if isinstance(prepared.tasks, ClassTasks) else 1e-3


def _usual_rate(algorithm: str, prepared: Prepared) -> float:
    """The algorithm's, or of a regression what was best on sine waves: larger ones diverge without a norm."""
    if isinstance(prepared.tasks, ClassTasks):
        return ALGORITHMS[algorithm].inner.rate
    return 0.05 if algorithm == "Reptile" else 0.01


def _trained(job: _Job, path: Path, began: float, took: float) -> Iterator[Event]:
    """Meta-train until what the evaluation needs of the budget is left; errors are told in the target's unit."""
    episodes = job.spec.test_episodes + min(_VALID_EPISODES, job.spec.test_episodes)
    needed = sum(_task_s(job, protocol, took) for protocol in job.protocols) * episodes
    kept = min(1.0 + needed, _EVALUATION_SHARE * job.spec.budget_s)
    settings = replace(job.settings, budget_s=job.spec.budget_s - kept)
    identity = {"dataset": job.context.dataset.fingerprint, "group": repr(job.spec.group)}
    if job.spec.backbone is not None:
        identity["backbone"] = job.spec.backbone
    try:
        for event in train(
            job.prepared.network, job.prepared.tasks, settings, path, path if path.exists() else None,
            lambda: job.context.cancelled() or job.context.paused(), identity=identity, began=began,
        ):  # fmt: skip
            yield _told(event, job, kept)
    except (OtherTraining, Diverged) as error:
        raise InputError(str(error)) from error


def _told(event: Event, job: _Job, kept: float) -> Event:
    if isinstance(event, Metric):
        return replace(event, value=event.value * job.prepared.unit)
    if isinstance(event, Progress):
        share = 1 - kept / job.spec.budget_s
        left = event.remaining_s + kept if event.remaining_s is not None else None
        return replace(event, fraction=event.fraction * share, remaining_s=left)
    return event


def _quickest(job: _Job) -> tuple[int, float]:
    """How many tasks at once are evaluated the quickest, and the seconds of one; more are tried while it pays."""
    meta, tasks = _starting(job, job.prepared.network), judged(job.prepared.tasks)
    found: dict[int, float] = {}
    began = time.monotonic()
    for chunk in _CHUNKS:
        if found and (found[max(found)] > min(found.values()) or time.monotonic() > began + _TIMING_S):
            break
        took = _seconds(lambda chunk=chunk: _outputs(job, meta, tasks.batch("valid", 0, chunk), job.inner), 1)
        found[chunk] = took / chunk
    best = min(found, key=lambda chunk: found[chunk])
    return best, found[best]


def _starting(job: _Job, network: Network) -> Weights:
    meta = initial(network, job.spec.seed) | job.inner.rates(network)
    return {name: value.to(job.settings.device) for name, value in meta.items()}


def _outputs(job: _Job, meta: Weights, batch: Batch, inner: Inner) -> torch.Tensor:
    algorithm = ALGORITHMS[job.spec.algorithm]
    return algorithm.outputs(job.prepared.network, meta, batch.to(job.settings.device), inner)


def _seconds(way: Any, repeats: int = 2) -> float:
    """Median seconds of a way, after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        way()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def _evaluated(job: _Job, meta: Weights, chunk: int, took: float) -> Iterator[Event]:
    """What the initialisation is worth by each protocol, on the same episodes for all jobs of the dataset.

    `chunk` tasks are worked on at once, each of which takes about `took` seconds.
    """
    tasks, protocols = judged(job.prepared.tasks), job.protocols
    wanted = job.spec.test_episodes
    for place, protocol in enumerate(protocols):
        left = max(0.0, job.deadline - time.monotonic())
        yield Progress(0.9 + 0.1 * place / len(protocols), f"Evaluation, {protocol}", left)
        inner = replace(job.inner, transductive=protocol == "transductive")
        one = tasks.batch("test", 0, 1)
        adapt_s = _seconds(lambda one=one, inner=inner: _outputs(job, meta, _single(one, tasks), inner), 5)
        n_valid, n_test = _affordable(wanted, _task_s(job, protocol, took), left / (len(protocols) - place))
        counts = (("valid", n_valid), ("test", n_test))
        valid, test = (_estimate(job, meta, tasks, split, n, inner, chunk) for split, n in counts)
        if test.n_episodes < wanted:
            yield Message(f"{protocol}: {test.n_episodes:,} test tasks of {wanted:,}, as the budget ends.", "warning")
        yield _evaluation(job, protocol, valid, test, adapt_s)


def _task_s(job: _Job, protocol: str, took: float) -> float:
    """Seconds to evaluate one of many tasks; where features are the same for all they are computed once."""
    return took * _KNOWN_SHARE if protocol == "inductive" and job.inner.shares_features else took


def _single(batch: Batch, tasks: ClassTasks | GroupTasks) -> Batch:
    """One task with one question a class, which is what learning it takes."""
    rows = getattr(tasks, "ways", 1)
    return Batch(batch.support_x, batch.support_y, batch.query_x[:, :rows], batch.query_y[:, :rows])


def _affordable(wanted: int, took: float, left: float) -> tuple[int, int]:
    """How many valid and test episodes fit the time left; never so few that they say nothing."""
    most = int(left / took)
    n_valid = max(min(wanted, _FEWEST_EPISODES), min(wanted, _VALID_EPISODES, most // 4))
    return n_valid, max(min(wanted, _FEWEST_EPISODES), min(wanted, most - n_valid))


def _estimate(
    job: _Job, meta: Weights, tasks: ClassTasks | GroupTasks, split: str, n_episodes: int, inner: Inner, chunk: int
) -> Estimate:
    algorithm, device = ALGORITHMS[job.spec.algorithm], job.settings.device
    return evaluate(
        job.prepared.network, meta, tasks, split, algorithm, inner, n_episodes, chunk=chunk, device=device,
        until=job.deadline,
    )  # fmt: skip


def _evaluation(job: _Job, protocol: str, valid: Estimate, test: Estimate, adapt_s: float) -> Evaluation:
    spec, unit = job.spec, job.prepared.unit
    return Evaluation(
        algorithm=spec.algorithm,
        network=_name(job.prepared.network),
        ways=_ways(job),
        shots=spec.shots,
        protocol=protocol,
        metric=job.prepared.tasks.metric,
        valid=valid.value * unit,
        test=test.value * unit,
        lower=test.lower * unit,
        upper=test.upper * unit,
        n_episodes=test.n_episodes,
        adapt_s=adapt_s,
    )


def _initialised(job: _Job, meta: Weights, profile: Profile) -> Initialised:
    """The file, and what the memory of initialisations tells of it."""
    prepared, spec = job.prepared, job.spec
    one = Initialisation(spec.algorithm, prepared.network, job.inner, meta, prepared.recipe)
    path = job.context.directory / "artifacts" / FILE
    path.parent.mkdir(exist_ok=True)
    initialisation.save(one, path)
    about: dict[str, Any] = {
        "kind": prepared.recipe["kind"],
        "classes": prepared.classes("train"),
        "held_out": prepared.classes("valid", "test"),
        "profile": profile,
        "n_rows": prepared.n_rows,
        "inputs": _short(prepared.recipe),
    }
    name = _name(prepared.network)
    return Initialised(str(path), spec.algorithm, name, _ways(job), spec.shots, one.n_parameters, about)


def _ways(job: _Job) -> int:
    """Classes of a task; a regression has one output."""
    return job.spec.ways if isinstance(job.prepared.tasks, ClassTasks) else 1


def _name(network: Network) -> str:
    width = network.n_inputs if isinstance(network, Adapter) else getattr(network, "width", None)
    return type(network).__name__ + (f"-{width}" if width else "")


def _short(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe without its long lists, which are in the file."""
    return {name: len(value) if name in ("words", "mean", "std") else value for name, value in recipe.items()}
