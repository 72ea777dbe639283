"""Local search: look at every neighbour of the best, then of the next best."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from runner.nas.search.strategies.archive import Candidate, Genotype, Space
from runner.nas.search.strategies.strategy import Strategy


class LocalSearch(Strategy):
    """After `start` first candidates, the unseen neighbours (one decision differs) of the best candidate told.

    When the best has no unseen neighbour left, the next best is explored: it never stands still in a local optimum.
    """

    def __init__(self, space: Space, seed: int, *, start: int = 20, size_start: bool = True) -> None:
        super().__init__(space, seed)
        self.start, self.size_start = start, size_start

    def ask(self, n: int) -> list[Candidate]:
        """n candidates never asked before; fewer when the space is exhausted."""
        missing = max(0, self.start - len(self.archive.asked))
        asked = self.archive.start(min(n, missing), by_size=self.size_start)
        fresh = self.archive.fresh(n - len(asked), self._neighbours()) if len(asked) < n else []
        return asked + [self.archive.take(candidate) for candidate in fresh]

    def _neighbours(self) -> Iterator[Genotype]:
        """Neighbours of the told candidates, the best candidate's first, each one's in random order."""
        genotypes, choices = self.archive.genotypes(), self.archive.space.choices
        for row in np.argsort(self.archive.errors(), kind="stable"):
            centre = [int(option) for option in genotypes[row]]
            moves = [(d, o) for d, options in enumerate(choices) for o in range(options) if o != centre[d]]
            for move in self.archive.rng.permutation(len(moves)):
                place, option = moves[move]
                yield (*centre[:place], option, *centre[place + 1 :])
