"""A small space for strategies, and errors on it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from runner.nas.search.strategies import Candidate, Strategy

N_NETWORKS = 6 * 4 * 2 * 5  # of the default chain


@dataclass(frozen=True)
class Chain:
    """A space whose networks do not depend on the order of the first two decisions."""

    choices: tuple[int, ...] = (3, 3, 4, 2, 5, 1)
    known: bool = True

    def canonical_name(self, genotype: tuple[int, ...]) -> str:
        return "-".join(map(str, [*sorted(genotype[:2]), *genotype[2:]]))

    @property
    def decisions(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return tuple((f"decision {place}", tuple(map(str, range(n)))) for place, n in enumerate(self.choices))

    def size(self, genotype: tuple[int, ...]) -> float:
        return float(1 + sum(genotype)) if self.known else math.nan


def additive(candidate: Candidate) -> float:
    """An error to which each decision adds its part."""
    first, second, *rest = candidate.genotype
    return (first - 1) ** 2 + (second - 1) ** 2 + sum(abs(option - 1) for option in rest)


def drive(strategy: Strategy, error: Callable[[Candidate], float], asks: list[int]) -> list[str]:
    """The names of the candidates asked, each told its error at once."""
    names = []
    for n in asks:
        for candidate in strategy.ask(n):
            names.append(candidate.name)
            strategy.tell(candidate, error(candidate))
    return names
