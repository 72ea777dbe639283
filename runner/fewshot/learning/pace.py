"""When a training looks up from its steps: to tell how it goes, to validate, to write its checkpoint."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

_TELL_S = 2.0
_KEEP_S = 20.0
_VALIDATIONS = 40  # over a budget
_VALID_SHARE = 0.1  # of the time, at most, goes into validation
_LEAST_S, _MOST_S = 2.0, 120.0  # between two validations


@dataclass
class Pace:
    """By iterations where `every` is given, which makes a run repeatable; else by the clock, within a budget."""

    every: int | None
    budget_s: float = math.inf
    told_at: float = -math.inf
    validated_at: float = field(default_factory=time.monotonic)
    kept_at: float = field(default_factory=time.monotonic)
    validation_s: float = 0.0

    def tells(self, iteration: int) -> bool:
        """Whether it is time to say how far the training is."""
        return self._due(iteration, self.told_at, _TELL_S)

    def validates(self, iteration: int) -> bool:
        """Whether it is time for a validation."""
        wait = max(_LEAST_S, min(self.budget_s / _VALIDATIONS, _MOST_S), self.validation_s / _VALID_SHARE)
        return self._due(iteration, self.validated_at, wait)

    def keeps(self, iteration: int) -> bool:
        """Whether it is time to write the checkpoint."""
        return self._due(iteration, self.kept_at, _KEEP_S)

    def told(self) -> None:
        """It has been said how far the training is."""
        self.told_at = time.monotonic()

    def validated(self, began: float) -> None:
        """A validation that began then has ended."""
        self.validated_at = time.monotonic()
        self.validation_s = self.validated_at - began

    def kept(self) -> None:
        """The checkpoint is written."""
        self.kept_at = time.monotonic()

    def _due(self, iteration: int, since: float, wait_s: float) -> bool:
        if self.every is not None:
            return iteration % self.every == 0
        return time.monotonic() - since >= wait_s
