"""The portfolio as a job: each candidate in a process of its own, side by side, reported as soon as it is ready."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from threadpoolctl import threadpool_limits

from core.datasets import SPLITS, Dataset, Split
from core.errors import InputError, MetascoutError
from core.events import Artifact, Event, Landmarkers, Message, Metric, Progress, TrialDone
from core.metafeatures import landmarkers
from core.scoring import METRICS, check_metric
from core.specs import PortfolioSpec
from runner.portfolio import deploy
from runner.shared.context import Context
from runner.shared.pipelines import build, chosen_rows, fitting, row_limit, shape_of
from runner.shared.report import fitted
from runner.shared.rows import Rows, read

_POLL_S = 0.2
# A fork has the rows and the libraries at once, without a copy; each candidate works on one thread.
_PROCESSES = multiprocessing.get_context("fork")


@dataclass(slots=True)
class _Running:
    process: BaseProcess
    results: Connection
    start: float


@dataclass(slots=True)
class _Job:
    """What is asked, what it is fitted on, and what has been seen."""

    spec: PortfolioSpec
    context: Context
    metric: str
    rows: dict[Split, Rows]
    start: float
    waiting: deque[str]
    n_candidates: int
    keeps_models: bool
    running: dict[str, _Running] = field(default_factory=dict)
    n_trials: int = 0
    best_error: float = float("inf")

    @property
    def left_s(self) -> float:
        return self.start + self.spec.budget_s - time.monotonic()

    @property
    def n_done(self) -> int:
        return self.n_candidates - len(self.waiting) - len(self.running)


def run(spec: PortfolioSpec, context: Context) -> Iterator[Event]:
    """Fits the candidates that the task has, the quick ones first, as many at once as the job has threads.

    A candidate that fails, or takes longer than it may, is a warning. Raises InputError where there is nothing to fit,
    and MetascoutError when no candidate could be fitted.
    """
    dataset, start = context.dataset, time.monotonic()
    metric = check_metric(dataset.task, spec.metric)
    yield Progress(0.0, "Reading the data", float(spec.budget_s))
    names = _names(spec, dataset)
    rows = {split: read(dataset, split) for split in SPLITS}
    with threadpool_limits(1):  # threads would not survive the fork
        found = landmarkers.compute(dataset)
    yield Landmarkers(found)
    yield from _sampled(names, dataset, rows["train"])
    artifacts = context.directory / "artifacts"
    artifacts.mkdir(exist_ok=True)
    if keeps := spec.keep_models and deploy.possible():
        yield from deploy.handout(dataset, artifacts)
    elif spec.keep_models:
        yield Message("The models are scored and not kept: the package skops is not installed.", "warning")
    job = _Job(spec, context, metric, rows, start, deque(names), len(names), keeps)
    try:
        yield from _all(job)
    finally:
        for name in list(job.running):
            _end(job, name)
    if context.cancelled():
        return
    if not job.n_trials:
        raise MetascoutError(f"Not one of {len(names)} candidates could be fitted; the log says why.")
    yield Progress(1.0, "Done", 0.0)
    yield Message(f"{job.n_trials} of {len(names)} candidates in {time.monotonic() - start:.0f} s.")


def _names(spec: PortfolioSpec, dataset: Dataset) -> list[str]:
    known = fitting(dataset)
    names = [name for name in known if name in spec.candidates]
    if not dataset.features:
        raise InputError(f"{dataset.name} has no column to predict {dataset.target!r} from: use at least one feature.")
    if not names:
        chosen, kind = ", ".join(spec.candidates), "a number" if dataset.task == "regression" else "classes"
        raise InputError(f"candidates: none of {chosen} predicts {kind}; choose among {', '.join(known)}.")
    return names


def _limit(name: str, dataset: Dataset, train: Rows) -> int:
    # Pixels are few enough by themselves.
    n_columns = 1 if dataset.modality == "image" else train.features.shape[1]
    return row_limit(name, n_columns, max(1, len(dataset.labels)))


def _sampled(names: list[str], dataset: Dataset, train: Rows) -> Iterator[Message]:
    limits = {name: _limit(name, dataset, train) for name in names}
    told = [f"{name} ({limit:,})" for name, limit in limits.items() if limit < len(train.actual)]
    if told:
        yield Message(f"Fitted on a sample of the {len(train.actual):,} train rows: {', '.join(told)}.")


def _all(job: _Job) -> Iterator[Event]:
    """Until every candidate is done, the budget is spent, or the job is cancelled."""
    told = ""
    while (job.waiting or job.running) and not job.context.cancelled():
        if job.left_s <= 0:
            names = [*job.running, *job.waiting]
            yield Message(f"The time budget ended before these were done: {', '.join(names)}.", "warning")
            return
        while job.waiting and len(job.running) < job.context.cpus:
            _start(job, job.waiting.popleft())
        stage = f"Fitting {', '.join(job.running)}"
        if stage != told:
            told = stage
            yield Progress(job.n_done / job.n_candidates, stage, _remaining_s(job))
        ready = multiprocessing.connection.wait([run.results for run in job.running.values()], _POLL_S)
        for name, running in list(job.running.items()):
            if running.results in ready:
                yield from _finished(job, name)
            elif time.monotonic() - running.start > job.spec.candidate_s:
                _end(job, name)
                yield Message(f"{name} is left out: it took longer than {job.spec.candidate_s} s.", "warning")


def _remaining_s(job: _Job) -> float:
    if not job.n_done:
        return job.left_s
    elapsed = time.monotonic() - job.start
    return min(job.left_s, elapsed / job.n_done * (job.n_candidates - job.n_done))


def _start(job: _Job, name: str) -> None:
    mine, theirs = _PROCESSES.Pipe(duplex=False)
    process = _PROCESSES.Process(target=_work, args=(name, job, theirs), daemon=True)
    process.start()
    theirs.close()  # or its end would not be noticed here
    job.running[name] = _Running(process, mine, time.monotonic())


def _end(job: _Job, name: str) -> int | None:
    """End the candidate's process; its exit code."""
    running = job.running.pop(name)
    running.process.kill()
    running.process.join()
    running.results.close()
    return running.process.exitcode


def _finished(job: _Job, name: str) -> Iterator[Event]:
    """What a candidate has to say: its trial and its model, or why there is none."""
    try:
        said: list[Event] = job.running[name].results.recv()
        job.running[name].process.join(_POLL_S)
    except EOFError:
        job.running[name].process.join(_POLL_S)
        code = _end(job, name)
        hint = " The system ends processes so when memory runs out." if code == -9 else ""
        yield Message(f"{name} is left out: its process ended with code {code}.{hint}", "warning")
        return
    _end(job, name)
    yield from said
    for event in said:
        if isinstance(event, TrialDone):
            job.n_trials += 1
            yield _best(job, event)


def _best(job: _Job, trial: TrialDone) -> Metric:
    error = next(score.valid_error for score in trial.scores if score.metric == job.metric)
    job.best_error = min(job.best_error, error)
    value = 1 - job.best_error if METRICS[job.metric].higher_is_better else job.best_error
    return Metric("best_valid", value, job.n_trials)


def _work(name: str, job: _Job, results: Connection) -> None:
    """In the candidate's own process: fit, score, and send the events."""
    try:
        with threadpool_limits(1):
            said = _trial(name, job)
    except Exception as error:  # whatever it is: the others go on
        reason = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
        said = [Message(f"{name} is left out: {reason}", "warning")]
    results.send(said)
    results.close()


def _trial(name: str, job: _Job) -> list[Event]:
    dataset, spec = job.context.dataset, job.spec
    whole = job.rows["train"]
    limit = _limit(name, dataset, whole)
    train = chosen_rows(name, whole, limit, regression=dataset.task == "regression", seed=spec.seed)
    model = build(name, shape_of(dataset, train, spec.seed))
    valid, test = job.rows["valid"], job.rows["test"]
    # On one thread, the processor's time is what the candidate takes on a free core, however busy the machine is.
    trial = fitted(name, model, dataset, train, valid, test, metric=job.metric, clock=time.process_time)
    if limit < len(whole.actual):
        trial = replace(trial, params={**trial.params, "train_rows": limit})
    said: list[Event] = [trial]
    if job.keeps_models:
        path = deploy.keep(model, job.context.directory / "artifacts" / f"{name}.skops")
        said.append(_artifact(path, name))
    return said


def _artifact(path: Path | None, name: str) -> Event:
    if path is None:
        return Message(f"The model of {name} is not kept: it is too large.", "warning")
    return Artifact(path.name, str(path), "skops", name)
