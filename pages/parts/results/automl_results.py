"""The results of H2O AutoML: trials, a model each."""

from __future__ import annotations

from collections.abc import Callable

from core.queue import jobs
from pages.parts.results import trials_found

BOARD, figures = trials_found.BOARD, trials_found.figures


def tabs(job: jobs.Job) -> dict[str, Callable[[jobs.Job], None]]:
    """Return the tabs of a job."""
    return trials_found.tabs(job, "The first trials appear here within a minute of the start.", "model")
