"""Search strategies, all ask/tell over a space of discrete decisions."""

from __future__ import annotations

from typing import Any, Protocol

from runner.nas.strategies.archive import Archive, Candidate, Genotype, Space
from runner.nas.strategies.evolution import Evolution
from runner.nas.strategies.gp import GaussianProcess
from runner.nas.strategies.local import LocalSearch
from runner.nas.strategies.reinforce import Reinforce
from runner.nas.strategies.uniform import Random

__all__ = ["DEFAULT", "STRATEGIES", "Archive", "Candidate", "Genotype", "Space", "Strategy", "make"]


class Strategy(Protocol):
    """What every strategy does."""

    def ask(self, n: int) -> list[Candidate]:
        """n candidates never asked before; fewer when the space is exhausted."""

    def tell(self, candidate: Candidate, error: float) -> None:
        """Report an error (lower is better); NaN means that the candidate failed."""

    def state(self) -> dict[str, Any]:
        """Everything needed to go on, as values that `torch.save` can hold."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on exactly as the saved search would."""


STRATEGIES: dict[str, type] = {
    "gp": GaussianProcess,
    "random": Random,
    "evolution": Evolution,
    "local": LocalSearch,
    "reinforce": Reinforce,
}
DEFAULT = "gp"


def make(name: str, space: Space, seed: int, **options: Any) -> Strategy:
    """The named strategy at its start.

    Raises ValueError where there is no such strategy.
    """
    if name not in STRATEGIES:
        raise ValueError(f"There is no strategy {name!r}; choose from {', '.join(STRATEGIES)}.")
    return STRATEGIES[name](space, seed, **options)
