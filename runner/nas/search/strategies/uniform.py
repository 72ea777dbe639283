"""Random search: the yardstick of every other strategy."""

from __future__ import annotations

from runner.nas.search.strategies.archive import Candidate
from runner.nas.search.strategies.strategy import Strategy


class Random(Strategy):
    """Uniform draws, none twice."""

    def ask(self, n: int) -> list[Candidate]:
        """n candidates never asked before; fewer when the space is exhausted."""
        return [self.archive.take(candidate) for candidate in self.archive.fresh(n)]
