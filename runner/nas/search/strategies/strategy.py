"""The interface of a strategy, and what all strategies share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor

from core.events import Event
from runner.nas.search.strategies.history import Candidate, History, Space
from runner.nas.space.spaces import Genotype, Policy


class Strategy:
    """Proposes candidates by the errors of earlier ones; each strategy does so in its own way."""

    def __init__(self, space: Space, seed: int) -> None:
        self.history = History(space, seed)

    def prepare(
        self, train: tuple[Tensor, Tensor], device: str, budget_s: float, must_stop: Callable[[], bool]
    ) -> Iterator[Event]:
        """Learn from the train rows before the first candidate, for at most `budget_s` seconds.

        After `load_state` it is not repeated: the events of the first time are yielded again.
        """
        yield from ()

    def ask(self, n: int) -> list[Candidate]:
        """Return n new candidates, or fewer where the space is exhausted."""
        raise NotImplementedError

    def offer(self, genotypes: Iterable[Genotype]) -> list[Candidate]:
        """Add candidates from elsewhere; return the new ones, whose errors are told like any others."""
        candidates = (self.history.new_candidate(genotype) for genotype in genotypes)
        return [self.history.add(candidate) for candidate in candidates if candidate is not None]

    def tell(self, candidate: Candidate, error: float) -> None:
        """Tell the error of a candidate (lower is better); NaN means that it failed."""
        self.history.set_error(candidate, error)

    def policy(self) -> Policy:
        """Return the probabilities of the options of decisions; empty where the strategy has no policy."""
        return {}

    def state(self) -> dict[str, Any]:
        """Return all that is needed to continue, as values that `torch.save` can hold."""
        return {"archive": self.history.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore a state: the search continues exactly as the saved one would."""
        self.history.load_state(state["archive"])
