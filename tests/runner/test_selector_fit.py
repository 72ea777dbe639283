"""The runner's process that refits the selectors."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.advice import fits
from core.datasets import Dataset
from runner import selector_fit
from tests.core.advice.sample_knowledge import numbers, numbers_home, record_job, sample_file, shipped

__all__ = ["numbers", "numbers_home", "sample_file", "shipped"]  # fixtures


def test_a_runner_has_the_selectors_fitted_and_stops_it_when_it_ends(shipped: Path, numbers: Dataset) -> None:
    """The process reads the real file, not the test's: only that it starts, ends and is ended counts."""
    state = selector_fit.FitProcess()
    selector_fit.maintain(state)
    assert state.process is not None
    assert state.process.poll() is None
    selector_fit.maintain(state)  # one at a time
    selector_fit.stop(state)
    assert state.process is None
    selector_fit.maintain(state)  # a pause lies between two
    assert state.process is None
    state.next_at = 0.0
    selector_fit.maintain(state, busy=True)  # a longer one while jobs run
    assert state.process is None
    selector_fit.maintain(state)
    assert state.process is not None
    selector_fit.stop(state)


@pytest.mark.slow
def test_a_fit_in_a_process_of_its_own_learns_from_own_results(numbers: Dataset) -> None:
    record_job(numbers, Linear=0.1, SVM=0.2)
    state = selector_fit.FitProcess()
    selector_fit.maintain(state)
    assert state.process is not None
    assert state.process.wait(120) == 0
    done = fits.last_fit("classification")
    assert done is not None
    assert done.n_own == 1
