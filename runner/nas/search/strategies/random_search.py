"""Random search: the baseline of every other strategy."""

from __future__ import annotations

from runner.nas.search.strategies.history import Candidate
from runner.nas.search.strategies.strategy import Strategy


class RandomSearch(Strategy):
    """Uniform draws without repetition."""

    def ask(self, n: int) -> list[Candidate]:
        """Return n new candidates, or fewer where the space is exhausted."""
        return [self.history.add(candidate) for candidate in self.history.new_candidates(n)]
