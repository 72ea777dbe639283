"""What the tests of advice share: fitted selectors that they only read, and data directories with knowledge."""

from __future__ import annotations

import pytest

from core.advice.selector import Selector
from tests.core.advice.error_tables import FEW, planted
from tests.core.advice.sample_knowledge import fit, fitted_home, numbers, numbers_home, sample_file, shipped

__all__ = ["fit", "fitted_home", "numbers", "numbers_home", "sample_file", "shipped"]  # fixtures


@pytest.fixture(scope="session")
def selector() -> Selector:
    """A selector fitted on `planted()`."""
    return Selector(**FEW).fit(*planted())
