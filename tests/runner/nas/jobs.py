"""Searches as jobs through the queue and the runner."""

from __future__ import annotations

from core import results
from core.queue import jobs
from core.specs import NASSpec
from runner import loop


def run_job(spec: NASSpec) -> int:
    """Submit a job, and run it; return its id."""
    job_id = jobs.submit(spec)
    assert loop.run_once("w") == job_id
    return job_id


def trials(job_id: int) -> list[results.Trial]:
    """Return the trials of a job."""
    return [results.trial(trial_id) for trial_id in results.trials_of(job_id).trial_id]
