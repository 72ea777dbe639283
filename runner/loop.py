"""The runner's loop: claim jobs, follow the running ones, record their events."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from core import kinds, machine, results
from core.errors import InputError, MetascoutError
from core.events import Message
from core.queue import jobs, runners
from core.queue.jobs import Job
from core.specs import LABELS
from core.store import housekeeping
from core.store.database import explain_disk_full
from runner import launch, selector_fit
from runner import spare as spares
from runner.selector_fit import FitProcess
from runner.spare import Spare

TURN_S = 0.25
QUICK_TURN_S = 0.05  # while a job of an immediate kind runs
HEARTBEAT_S = 2.0
STALE_S = 60.0
SWEEP_S = 3600.0
REST_S = 2.0
STOP_S = 10.0

log = logging.getLogger("metascout.runner")


def run_once(worker_id: str) -> int | None:
    """Claim the next job, run it to its end, and return its id; None if the queue is empty."""
    job = jobs.claim(worker_id)
    if job is None:
        return None
    runs: dict[int, Job] = {}
    _start(job, runs)
    while runs:
        _follow_all(runs)
        time.sleep(_turn_s(runs))
    return job.id


def serve(*, drain: bool = False, stopped: Callable[[], bool] = lambda: False) -> None:
    """Run jobs until `stopped()`; with `drain`, until no job is queued or running.

    Jobs that an earlier runner left running are adopted. Without `drain`, the selectors are fitted again when there
    are new results, and a spare process waits for jobs of an immediate kind. A runner that is stopped ends its jobs
    and queues them again. If a runner crashes, its jobs continue, and the next runner adopts them.
    """
    worker_id = f"{socket.gethostname()}-{os.getpid()}"
    runs = {job.id: job for job in jobs.running()}
    log.info("Jobs still running from an earlier runner: %s", ", ".join(map(str, runs)) or "none")
    launch.sweep(keep={job.directory for job in runs.values()})
    beat_at, sweep_at, fit, spare = -HEARTBEAT_S, -SWEEP_S, FitProcess(), Spare()
    while not stopped():
        try:
            if time.monotonic() > beat_at + HEARTBEAT_S:
                beat_at = time.monotonic()
                _send_heartbeats(worker_id, runs)
            if time.monotonic() > sweep_at + SWEEP_S:
                sweep_at = time.monotonic()
                housekeeping.sweep()
            _follow_all(runs)
            _claim_all(worker_id, runs, spare)
            if not drain:
                selector_fit.maintain(fit, busy=bool(runs))
                spares.maintain(spare, launch.environment(0))
            elif not runs and "queued" not in jobs.counts():
                break
        except MetascoutError as error:  # a full disk or a busy store: nothing is lost, the next turn tries again
            log.warning("%s", error)
            time.sleep(REST_S)
        time.sleep(_turn_s(runs))
    spares.stop(spare)
    selector_fit.stop(fit)
    _stop_all(runs)
    runners.remove(worker_id)


def _turn_s(runs: dict[int, Job]) -> float:
    return QUICK_TURN_S if any(job.kind in kinds.immediate() for job in runs.values()) else TURN_S


def _send_heartbeats(worker_id: str, runs: dict[int, Job]) -> None:
    slots = {"cpu_slots": machine.cpu_slots(), "gpu_slots": machine.gpu_slots(), "running": len(runs)}
    runners.heartbeat(worker_id, machine.usage() | slots)
    for job in list(runs.values()):
        if not jobs.heartbeat(job):  # another runner has requeued it
            log.warning("Job %d: attempt %d has been superseded and is stopped", job.id, job.attempt)
            launch.stop(job.directory)
    jobs.requeue_stale(STALE_S)


def _claim_all(worker_id: str, runs: dict[int, Job], spare: Spare) -> None:
    """Start queued jobs while there are free slots. A job that needs more threads than the machine has runs alone."""
    while True:
        free_cpus = machine.cpu_slots() - sum(job.cpus for job in runs.values() if job.kind not in kinds.immediate())
        free_gpus = machine.gpu_slots() - sum(job.gpus for job in runs.values())
        job = jobs.claim(worker_id, cpus=free_cpus if runs else None, gpus=free_gpus if machine.gpu_slots() else None)
        if job is None:
            return
        _start(job, runs, spare)


def _start(job: Job, runs: dict[int, Job], spare: Spare | None = None) -> None:
    """Start a claimed job. After a temporary failure, such as a full disk, it goes back to the queue."""
    log.info("Job %d: %s starts, attempt %d", job.id, job.kind, job.attempt)
    try:
        if job.gpus > machine.gpu_slots():
            text = f"The job asks for {job.gpus}, but this machine has {machine.gpu_slots()}."
            raise InputError(text, field="gpus", value=job.gpus)
        with explain_disk_full():
            launch.start(job, spare)
    except InputError as error:
        jobs.finish(job, "failed", f"The job could not be started: {error.sentence(LABELS)}")
        log.warning("Job %d could not be started: %s", job.id, error)
    except (MetascoutError, OSError) as error:
        jobs.requeue(job, f"It could not be started: {error}", counts=False)
        raise MetascoutError(f"Job {job.id} could not be started: {error}") from error
    else:
        runs[job.id] = job


def _follow_all(runs: dict[int, Job]) -> None:
    """Record the events of all jobs and finish those that have ended. A failure of one does not delay the others."""
    _pass_on_requests(runs)
    failure: MetascoutError | None = None
    for job in list(runs.values()):
        try:
            _follow(job, runs)
        except MetascoutError as error:  # temporary: a full disk or a busy store
            failure = error
        except Exception as error:  # a bug that one job triggers
            log.exception("Job %d cannot be followed", job.id)
            launch.stop(job.directory)
            jobs.finish(job, "failed", f"The runner could not follow it: {type(error).__name__}: {error}")
            del runs[job.id]
    if failure is not None:
        raise failure


def _pass_on_requests(runs: dict[int, Job]) -> None:
    """Pass the requests of users on to the jobs. A pause is never forced: the job would lose its latest work."""
    for job_id in jobs.cancel_requests() & runs.keys():
        with explain_disk_full(), suppress(FileNotFoundError):  # an attempt that never started has no directory
            launch.request_cancel(runs[job_id].directory)
    for job_id in jobs.pause_requests() & runs.keys():
        late = False
        with explain_disk_full(), suppress(FileNotFoundError):
            launch.request_pause(runs[job_id].directory)
            late = launch.mark_late_pause(runs[job_id].directory)
        if late:
            text = f"The job has not paused within {launch.LATE_PAUSE_S:g} s and still runs. Cancel it to end it."
            results.record(runs[job_id], [Message(text, "warning")])


def _follow(job: Job, runs: dict[int, Job]) -> None:
    alive = launch.is_alive(job.directory)  # before reading: the events that it wrote before its end are read below
    while True:
        events, times, offset = launch.read_events(job.directory, job.event_offset)
        if offset == job.event_offset:
            break
        results.record(job, events, times=times, offset=offset)
        job = runs[job.id] = replace(job, event_offset=offset)
        if alive:  # one batch a turn: a job with many events must not delay the others
            return
    if not alive:
        _finish(job)
        del runs[job.id]


def _finish(job: Job) -> None:
    outcome = launch.read_exit(job.directory)
    launch.clean(job.directory)
    if outcome.status == "crashed" or outcome.status == "stopped":
        status = jobs.requeue(job, outcome.error or outcome.status, counts=outcome.status == "crashed")
    else:
        status = outcome.status
        jobs.finish(job, status, outcome.error)
    log.info("Job %d: %s%s", job.id, status, f" ({outcome.error})" if outcome.error else "")


def _stop_all(runs: dict[int, Job]) -> None:
    for job in runs.values():
        launch.stop(job.directory)
    until = time.monotonic() + STOP_S
    while runs and time.monotonic() < until:
        try:
            _follow_all(runs)
        except MetascoutError as error:  # the next runner adopts the remaining jobs
            log.warning("%s", error)
        time.sleep(TURN_S)
