"""The runner's loop: claim jobs, follow the running ones, record what they report."""

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
from runner.selector_fit import Fitting
from runner.spare import Spare

TURN_S = 0.25
QUICK_TURN_S = 0.05  # while somebody waits for a job that takes seconds
BEAT_S = 2.0
STALE_S = 60.0
SWEEP_S = 3600.0
REST_S = 2.0
STOP_S = 10.0

log = logging.getLogger("metascout.runner")


def run_once(worker_id: str) -> int | None:
    """Claim the next job, run it to its end, and return its id; None when nothing is queued."""
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
    """Run jobs until `stopped()`; with `drain`, until nothing is queued or running.

    Jobs that an earlier runner left running are adopted. Beside the jobs the selectors are fitted anew where more is
    known, and a spare process is kept for the jobs that must answer soon (neither with `drain`). When it is stopped, it
    ends its jobs and queues them again; when it breaks, they go on and wait for the next one.
    """
    worker_id = f"{socket.gethostname()}-{os.getpid()}"
    runs = {job.id: job for job in jobs.running()}
    log.info("Jobs that were left running: %s", ", ".join(map(str, runs)) or "none")
    launch.sweep(keep={job.directory for job in runs.values()})
    beat_at, sweep_at, fit, spare = -BEAT_S, -SWEEP_S, Fitting(), Spare()
    while not stopped():
        try:
            if time.monotonic() > beat_at + BEAT_S:
                beat_at = time.monotonic()
                _beat(worker_id, runs)
            if time.monotonic() > sweep_at + SWEEP_S:
                sweep_at = time.monotonic()
                housekeeping.sweep()
            _follow_all(runs)
            _claim_all(worker_id, runs, spare)
            if not drain:
                selector_fit.tend(fit, busy=bool(runs))
                spares.tend(spare, launch.environment(0))
            elif not runs and "queued" not in jobs.counts():
                break
        except MetascoutError as error:  # a full disk, a busy store: nothing is lost, another turn tries again
            log.warning("%s", error)
            time.sleep(REST_S)
        time.sleep(_turn_s(runs))
    spares.stop(spare)
    selector_fit.stop(fit)
    _stop_all(runs)
    runners.leave(worker_id)


def _turn_s(runs: dict[int, Job]) -> float:
    return QUICK_TURN_S if any(job.kind in kinds.immediate() for job in runs.values()) else TURN_S


def _beat(worker_id: str, runs: dict[int, Job]) -> None:
    slots = {"cpu_slots": machine.cpu_slots(), "gpu_slots": machine.gpu_slots(), "running": len(runs)}
    runners.beat(worker_id, machine.usage() | slots)
    for job in list(runs.values()):
        if not jobs.heartbeat(job):  # it is somebody else's by now
            log.warning("Job %d, attempt %d was taken away; ending it", job.id, job.attempt)
            launch.stop(job.directory)
    jobs.requeue_stale(STALE_S)


def _claim_all(worker_id: str, runs: dict[int, Job], spare: Spare) -> None:
    """Start queued jobs while there are free slots; a job that asks for more cores than there are runs alone."""
    while True:
        free_cpus = machine.cpu_slots() - sum(job.cpus for job in runs.values() if job.kind not in kinds.immediate())
        free_gpus = machine.gpu_slots() - sum(job.gpus for job in runs.values())
        job = jobs.claim(worker_id, cpus=free_cpus if runs else None, gpus=free_gpus if machine.gpu_slots() else None)
        if job is None:
            return
        _start(job, runs, spare)


def _start(job: Job, runs: dict[int, Job], spare: Spare | None = None) -> None:
    """Start a claimed job; one that cannot be started for a passing reason goes back to the queue."""
    log.info("Job %d: %s starts, attempt %d", job.id, job.kind, job.attempt)
    try:
        if job.gpus > machine.gpu_slots():
            raise InputError(f"gpus: the job asks for {job.gpus}, this machine has {machine.gpu_slots()}.")
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
    """Record what all jobs report and end those that have ended; trouble with one does not keep the others waiting."""
    _pass_on_wishes(runs)
    trouble: MetascoutError | None = None
    for job in list(runs.values()):
        try:
            _follow(job, runs)
        except MetascoutError as error:  # it passes: a full disk, a busy store
            trouble = error
        except Exception as error:  # a bug in one job's path
            log.exception("Job %d cannot be followed", job.id)
            launch.stop(job.directory)
            jobs.finish(job, "failed", f"The runner could not follow it: {type(error).__name__}: {error}")
            del runs[job.id]
    if trouble is not None:
        raise trouble


def _pass_on_wishes(runs: dict[int, Job]) -> None:
    """Tell the jobs what their users want. A pause is never forced: the job would lose what it has in hand."""
    for job_id in jobs.cancel_requests() & runs.keys():
        with explain_disk_full(), suppress(FileNotFoundError):  # an attempt that never started has no directory
            launch.request_cancel(runs[job_id].directory)
    for job_id in jobs.pause_requests() & runs.keys():
        late = False
        with explain_disk_full(), suppress(FileNotFoundError):
            late = launch.request_pause(runs[job_id].directory)
        if late:
            told = f"The job has not paused within {launch.PAUSE_S:g} s. It goes on; cancel it to end it by force."
            results.record(runs[job_id], [Message(told, "warning")])


def _follow(job: Job, runs: dict[int, Job]) -> None:
    alive = launch.is_alive(job.directory)  # asked first: what it wrote before it ended is read below
    while True:
        events, times, offset = launch.read_events(job.directory, job.event_offset)
        if offset == job.event_offset:
            break
        results.record(job, events, times=times, offset=offset)
        job = runs[job.id] = replace(job, event_offset=offset)
        if alive:  # one batch a turn: a job that reports faster than this loop must not hold up the others
            return
    if not alive:
        _end(job)
        del runs[job.id]


def _end(job: Job) -> None:
    ended = launch.read_exit(job.directory)
    launch.clean(job.directory)
    if ended.status == "crashed" or ended.status == "stopped":
        status = jobs.requeue(job, ended.error or ended.status, counts=ended.status == "crashed")
    else:
        status = ended.status
        jobs.finish(job, status, ended.error)
    log.info("Job %d: %s%s", job.id, status, f" ({ended.error})" if ended.error else "")


def _stop_all(runs: dict[int, Job]) -> None:
    for job in runs.values():
        launch.stop(job.directory)
    until = time.monotonic() + STOP_S
    while runs and time.monotonic() < until:
        try:
            _follow_all(runs)
        except MetascoutError as error:  # the next runner adopts what is left
            log.warning("%s", error)
        time.sleep(TURN_S)
