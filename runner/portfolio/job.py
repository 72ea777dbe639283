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

from threadpoolctl import threadpool_limits

from core.datasets import SPLITS, Dataset, Split
from core.errors import InputError, MetascoutError
from core.events import Event, Landmarkers, Message, Progress, TrialDone
from core.metafeatures import landmarkers
from core.scoring import check_metric
from core.specs import PortfolioSpec
from runner.portfolio import deploy
from runner.shared.context import Context
from runner.shared.pipeline_fit import fit_and_score
from runner.shared.pipelines import build, candidates_for, row_limit, sample, shape_of
from runner.shared.report import Best
from runner.shared.rows import Rows, check_features, read

_POLL_S = 0.2
# A fork has the rows and the libraries at once, without a copy; each candidate works on one thread.
_PROCESSES = multiprocessing.get_context("fork")


@dataclass(slots=True)
class _Fit:
    """A candidate's process, and the end of the pipe through which its events come."""

    process: BaseProcess
    events: Connection
    start: float


@dataclass(slots=True)
class _Job:
    """The state of one run."""

    spec: PortfolioSpec
    context: Context
    best: Best
    rows: dict[Split, Rows]
    start: float
    waiting: deque[str]
    n_candidates: int
    saves_models: bool
    running: dict[str, _Fit] = field(default_factory=dict)

    @property
    def remaining_s(self) -> float:
        return self.start + self.spec.budget_s - time.monotonic()

    @property
    def n_done(self) -> int:
        return self.n_candidates - len(self.waiting) - len(self.running)


def run(spec: PortfolioSpec, context: Context) -> Iterator[Event]:
    """Fit the candidates for the dataset's task, the quick ones first, as many at once as the job has threads.

    A candidate that fails, or exceeds its time limit, is a warning. Raises InputError where there is nothing to fit,
    and MetascoutError when no candidate could be fitted.
    """
    dataset, start = context.dataset, time.monotonic()
    metric = check_metric(dataset.task, spec.metric)
    yield Progress(0.0, "Reading the data", float(spec.budget_s))
    names = _names(spec, dataset)
    rows = {split: read(dataset, split) for split in SPLITS}
    with threadpool_limits(1):  # threads would not survive the fork
        values = landmarkers.compute(dataset)
    yield Landmarkers(values)
    yield from _sample_notes(names, dataset, rows["train"])
    yield from _shared_files(spec, context)
    saves_models = spec.keep_models and deploy.can_save()
    job = _Job(spec, context, Best(metric), rows, start, deque(names), len(names), saves_models)
    try:
        yield from _fits(job)
    finally:
        for name in list(job.running):
            _end(job, name)
    if context.cancelled():
        return
    if not job.best.n_trials:
        raise MetascoutError(f"None of {len(names)} candidates could be fitted; the log says why.")
    yield Progress(1.0, "Done", 0.0)
    yield Message(f"{job.best.n_trials} of {len(names)} candidates in {time.monotonic() - start:.0f} s.")


def _names(spec: PortfolioSpec, dataset: Dataset) -> list[str]:
    check_features(dataset, dataset.features)
    possible = candidates_for(dataset)
    names = [name for name in possible if name in spec.candidates]
    if not names:
        target = "a number" if dataset.task == "regression" else "classes"
        raise InputError(
            f"None of {', '.join(spec.candidates)} predicts {target}.",
            field="candidates",
            value=spec.candidates,
            remedy=f"Choose among {', '.join(possible)}.",
        )
    return names


def _shared_files(spec: PortfolioSpec, context: Context) -> Iterator[Event]:
    """Write the files that serve all models of the job."""
    context.artifacts.mkdir(exist_ok=True)
    if spec.keep_models and deploy.can_save():
        yield from deploy.write_shared_files(context.dataset, context.artifacts)
    elif spec.keep_models:
        yield Message("The models are scored and not saved: the package skops is not installed.", "warning")


def _limit(name: str, dataset: Dataset, train: Rows) -> int:
    # Images have few pixels here.
    n_columns = 1 if dataset.modality == "image" else train.features.shape[1]
    return row_limit(name, n_columns, max(1, len(dataset.labels)))


def _sample_notes(names: list[str], dataset: Dataset, train: Rows) -> Iterator[Message]:
    limits = {name: _limit(name, dataset, train) for name in names}
    samples = [f"{name} ({limit:,})" for name, limit in limits.items() if limit < len(train.actual)]
    if samples:
        yield Message(f"Fitted on a sample of the {len(train.actual):,} train rows: {', '.join(samples)}.")


def _fits(job: _Job) -> Iterator[Event]:
    """Fit until every candidate is done, the budget is spent, or the job is cancelled."""
    stage = ""
    while (job.waiting or job.running) and not job.context.cancelled():
        if job.remaining_s <= 0:
            names = [*job.running, *job.waiting]
            yield Message(f"The time budget ended before these were done: {', '.join(names)}.", "warning")
            return
        while job.waiting and len(job.running) < job.context.cpus:
            _start(job, job.waiting.popleft())
        if stage != (stage := f"Fitting {', '.join(job.running)}"):
            yield Progress(job.n_done / job.n_candidates, stage, _expected_s(job))
        yield from _next_events(job)


def _next_events(job: _Job) -> Iterator[Event]:
    """Wait a moment for candidates that are done; end those that exceed their time limit."""
    ready = multiprocessing.connection.wait([fit.events for fit in job.running.values()], _POLL_S)
    for name, fit in list(job.running.items()):
        if fit.events in ready:
            yield from _receive(job, name)
        elif time.monotonic() - fit.start > job.spec.candidate_s:
            _end(job, name)
            yield Message(f"{name} is left out: it took longer than {job.spec.candidate_s} s.", "warning")


def _expected_s(job: _Job) -> float:
    if not job.n_done:
        return job.remaining_s
    elapsed = time.monotonic() - job.start
    return min(job.remaining_s, elapsed / job.n_done * (job.n_candidates - job.n_done))


def _start(job: _Job, name: str) -> None:
    reader, writer = _PROCESSES.Pipe(duplex=False)
    process = _PROCESSES.Process(target=_work, args=(name, job, writer), daemon=True)
    process.start()
    writer.close()  # or this process would not notice that the other one has closed its end
    job.running[name] = _Fit(process, reader, time.monotonic())


def _end(job: _Job, name: str) -> int | None:
    """End the candidate's process; return its exit code."""
    fit = job.running.pop(name)
    fit.process.kill()
    fit.process.join()
    fit.events.close()
    return fit.process.exitcode


def _receive(job: _Job, name: str) -> Iterator[Event]:
    """Yield a candidate's trial and its model, or why there is none."""
    try:
        events: list[Event] = job.running[name].events.recv()
        job.running[name].process.join(_POLL_S)
    except EOFError:
        job.running[name].process.join(_POLL_S)
        code = _end(job, name)
        hint = " The machine may have run out of memory." if code == -9 else ""
        yield Message(f"{name} is left out: its process ended with code {code}.{hint}", "warning")
        return
    _end(job, name)
    yield from events
    for event in events:
        if isinstance(event, TrialDone):
            yield job.best.add(event)


def _work(name: str, job: _Job, writer: Connection) -> None:
    """Fit, score and send the events, in the candidate's own process."""
    try:
        with threadpool_limits(1):
            events = _trial(name, job)
    except Exception as error:  # the other candidates continue
        why = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
        events = [Message(f"{name} is left out: {why}", "warning")]
    writer.send(events)
    writer.close()


def _trial(name: str, job: _Job) -> list[Event]:
    dataset, spec, train = job.context.dataset, job.spec, job.rows["train"]
    limit = _limit(name, dataset, train)
    part = sample(name, train, limit, regression=dataset.task == "regression", seed=spec.seed)
    model = build(name, shape_of(dataset, part, spec.seed))
    rows: dict[Split, Rows] = {**job.rows, "train": part}
    # On one thread, the processor's time is what the candidate takes on a free core, however busy the machine is.
    trial = fit_and_score(name, model, dataset, rows, metric=job.best.metric, clock=time.process_time)
    if limit < len(train.actual):
        trial = replace(trial, params={**trial.params, "train_rows": limit})
    return [trial, deploy.save(name, model, job.context.artifacts)] if job.saves_models else [trial]
