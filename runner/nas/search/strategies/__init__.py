"""Search strategies: all are ask/tell over a space of discrete decisions."""

from __future__ import annotations

from typing import Any

from runner.nas.search.strategies.bayesian_optimization import BayesianOptimization
from runner.nas.search.strategies.evolution import Evolution
from runner.nas.search.strategies.gradient import GradientSearch
from runner.nas.search.strategies.history import Candidate, Space
from runner.nas.search.strategies.local_search import LocalSearch
from runner.nas.search.strategies.random_search import RandomSearch
from runner.nas.search.strategies.reinforce import Reinforce
from runner.nas.search.strategies.strategy import Strategy

__all__ = ["DEFAULT", "STRATEGIES", "Candidate", "Strategy", "make"]

STRATEGIES: dict[str, type[Strategy]] = {
    "gp": BayesianOptimization,
    "random": RandomSearch,
    "evolution": Evolution,
    "local": LocalSearch,
    "reinforce": Reinforce,
    "gradient": GradientSearch,
}
DEFAULT = "gp"


def make(name: str, space: Space, seed: int, **options: Any) -> Strategy:
    """Return a new strategy of this name.

    Raises ValueError where there is no such strategy.
    """
    if name not in STRATEGIES:
        raise ValueError(f"There is no strategy {name!r}; choose from {', '.join(STRATEGIES)}.")
    return STRATEGIES[name](space, seed, **options)
