"""When a meta-training pauses between its steps: to report progress, to validate, to write its checkpoint."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

_REPORT_S = 2.0
_CHECKPOINT_S = 20.0
_VALIDATIONS = 40  # over a budget
_VALIDATION_SHARE = 0.1  # of the time: the maximum for validation
_MIN_S, _MAX_S = 2.0, 120.0  # between two validations


@dataclass
class Schedule:
    """By iterations if `every` is set, which makes a run repeatable; otherwise by the clock, within a budget.

    The times are of the monotonic clock.
    """

    every: int | None
    budget_s: float = math.inf
    last_report: float = -math.inf
    last_validation: float = field(default_factory=time.monotonic)
    last_checkpoint: float = field(default_factory=time.monotonic)
    validation_s: float = 0.0

    def report_due(self, iteration: int) -> bool:
        """Return whether it is time to report progress."""
        return self._due(iteration, self.last_report, _REPORT_S)

    def validation_due(self, iteration: int) -> bool:
        """Return whether it is time to validate."""
        wait = max(_MIN_S, min(self.budget_s / _VALIDATIONS, _MAX_S), self.validation_s / _VALIDATION_SHARE)
        return self._due(iteration, self.last_validation, wait)

    def checkpoint_due(self, iteration: int) -> bool:
        """Return whether it is time to write the checkpoint."""
        return self._due(iteration, self.last_checkpoint, _CHECKPOINT_S)

    def note_report(self) -> None:
        """Note that progress was reported."""
        self.last_report = time.monotonic()

    def note_validation(self, began: float) -> None:
        """Note that a validation that began then has ended."""
        self.last_validation = time.monotonic()
        self.validation_s = self.last_validation - began

    def note_checkpoint(self) -> None:
        """Note that the checkpoint was written."""
        self.last_checkpoint = time.monotonic()

    def _due(self, iteration: int, since: float, wait_s: float) -> bool:
        if self.every is not None:
            return iteration % self.every == 0
        return time.monotonic() - since >= wait_s
