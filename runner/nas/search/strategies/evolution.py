"""Regularized evolution (Real et al. 2019): tournaments among the youngest, one mutation a child."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from runner.nas.search.strategies.history import Candidate, Genotype, Space
from runner.nas.search.strategies.strategy import Strategy


class Evolution(Strategy):
    """The last `population` candidates compete: the best of `tournament` of them gets a child with one mutation.

    With `size_start`, every second candidate of the first population is a large one.
    """

    def __init__(
        self, space: Space, seed: int, *, population: int = 30, tournament: int = 10, size_start: bool = True
    ) -> None:
        super().__init__(space, seed)
        self.population, self.tournament, self.size_start = population, tournament, size_start

    def ask(self, n: int) -> list[Candidate]:
        """Return n new candidates, or fewer where the space is exhausted."""
        history = self.history
        missing = max(0, self.population - len(history.by_name))
        first = history.first_candidates(min(n, missing), by_size=self.size_start)
        children = self._children() if history.error_by_name else ()
        return first + [history.add(candidate) for candidate in history.new_candidates(n - len(first), children)]

    def _children(self) -> Iterator[Genotype]:
        genotypes = self.history.genotypes()[-self.population :]
        errors = self.history.errors()[-self.population :]
        rng = self.history.rng
        for turn in range(1_000):
            rivals = rng.choice(len(errors), size=min(self.tournament, len(errors)), replace=False)
            parent = tuple(int(n) for n in genotypes[rivals[np.argmin(errors[rivals])]])
            yield self.history.mutate(parent, 1 + turn // 50)  # more changes where close ones are exhausted
