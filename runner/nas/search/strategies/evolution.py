"""Regularized evolution (Real et al. 2019): tournaments among the youngest, one mutation a child."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from runner.nas.search.strategies.archive import Candidate, Genotype, Space
from runner.nas.search.strategies.strategy import Strategy


class Evolution(Strategy):
    """The last `population` told compete; the best of `tournament` of them gets a child with one mutation.

    With `size_start`, every second candidate of the first population is a large one.
    """

    def __init__(
        self, space: Space, seed: int, *, population: int = 30, tournament: int = 10, size_start: bool = True
    ) -> None:
        super().__init__(space, seed)
        self.population, self.tournament, self.size_start = population, tournament, size_start

    def ask(self, n: int) -> list[Candidate]:
        """n candidates never asked before; fewer when the space is exhausted."""
        missing = max(0, self.population - len(self.archive.asked))
        asked = self.archive.start(min(n, missing), by_size=self.size_start)
        children = self._children() if self.archive.told else ()
        return asked + [self.archive.take(c) for c in self.archive.fresh(n - len(asked), children)]

    def _children(self) -> Iterator[Genotype]:
        genotypes = self.archive.genotypes()[-self.population :]
        errors = self.archive.errors()[-self.population :]
        rng = self.archive.rng
        for turn in range(1_000):
            rivals = rng.choice(len(errors), size=min(self.tournament, len(errors)), replace=False)
            parent = tuple(int(n) for n in genotypes[rivals[np.argmin(errors[rivals])]])
            yield self.archive.mutated(parent, 1 + turn // 50)  # further off when the near is exhausted
