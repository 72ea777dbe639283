"""Local search: evaluate every neighbour of the best candidate, then of the next best."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from runner.nas.search.strategies.history import Candidate, Genotype, Space
from runner.nas.search.strategies.strategy import Strategy


class LocalSearch(Strategy):
    """After `start` first candidates, the new neighbours (one decision differs) of the best candidate.

    Where the best has no new neighbour, those of the next best follow: a local optimum does not end the search.
    """

    def __init__(self, space: Space, seed: int, *, start: int = 20, size_start: bool = True) -> None:
        super().__init__(space, seed)
        self.start, self.size_start = start, size_start

    def ask(self, n: int) -> list[Candidate]:
        """Return n new candidates, or fewer where the space is exhausted."""
        missing = max(0, self.start - len(self.history.by_name))
        first = self.history.first_candidates(min(n, missing), by_size=self.size_start)
        rest = self.history.new_candidates(n - len(first), self._neighbours()) if len(first) < n else []
        return first + [self.history.add(candidate) for candidate in rest]

    def _neighbours(self) -> Iterator[Genotype]:
        """Yield the neighbours of all candidates, those of the best first, each candidate's in random order."""
        genotypes, choices = self.history.genotypes(), self.history.space.choices
        for row in np.argsort(self.history.errors(), kind="stable"):
            centre = [int(option) for option in genotypes[row]]
            moves = [(d, o) for d, options in enumerate(choices) for o in range(options) if o != centre[d]]
            for move in self.history.rng.permutation(len(moves)):
                place, option = moves[move]
                yield (*centre[:place], option, *centre[place + 1 :])
