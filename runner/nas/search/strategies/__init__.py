"""Search strategies, all ask/tell over a space of discrete decisions."""

from __future__ import annotations

from typing import Any

from runner.nas.search.strategies.archive import Archive, Candidate, Genotype, Space
from runner.nas.search.strategies.evolution import Evolution
from runner.nas.search.strategies.gp import GaussianProcess
from runner.nas.search.strategies.gradient import Gradient
from runner.nas.search.strategies.local import LocalSearch
from runner.nas.search.strategies.reinforce import Reinforce
from runner.nas.search.strategies.strategy import Strategy
from runner.nas.search.strategies.uniform import Random

__all__ = ["DEFAULT", "STRATEGIES", "Archive", "Candidate", "Genotype", "Policy", "Space", "Strategy", "make"]


STRATEGIES: dict[str, type[Strategy]] = {
    "gp": GaussianProcess,
    "random": Random,
    "evolution": Evolution,
    "local": LocalSearch,
    "reinforce": Reinforce,
    "gradient": Gradient,
}
DEFAULT = "gp"


def make(name: str, space: Space, seed: int, **options: Any) -> Strategy:
    """The named strategy at its start.

    Raises ValueError where there is no such strategy.
    """
    if name not in STRATEGIES:
        raise ValueError(f"There is no strategy {name!r}; choose from {', '.join(STRATEGIES)}.")
    return STRATEGIES[name](space, seed, **options)
