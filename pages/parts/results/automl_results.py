"""The results of H2O AutoML: trials, a model each."""

from __future__ import annotations

from collections.abc import Callable

from core.queue import jobs
from pages.parts.results import trial_results

BOARD, figures = trial_results.BOARD, trial_results.figures


def tabs(job: jobs.Job) -> dict[str, Callable[[jobs.Job], None]]:
    """Return the tabs of a job."""
    return trial_results.tabs(job, "The first trials appear here within a minute of the start.", "model")
