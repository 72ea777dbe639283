"""What the search asks of a strategy, and what all of them do alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor

from core.events import Event
from runner.nas.search.strategies.archive import Archive, Candidate, Space
from runner.nas.space.spaces import Genotype, Policy


class Strategy:
    """Asks for candidates out of an archive; each strategy has its own way to choose them."""

    def __init__(self, space: Space, seed: int) -> None:
        self.archive = Archive(space, seed)

    def prepare(
        self, train: tuple[Tensor, Tensor], device: str, budget_s: float, stopped: Callable[[], bool]
    ) -> Iterator[Event]:
        """What is to be learned from the train rows before the first candidate, in `budget_s` seconds at most.

        After `load_state` it is not learned again: the events of the first time come once more.
        """
        yield from ()

    def ask(self, n: int) -> list[Candidate]:
        """n candidates never asked before; fewer when the space is exhausted."""
        raise NotImplementedError

    def offer(self, genotypes: Iterable[Genotype]) -> list[Candidate]:
        """Candidates that somebody else thinks good, those never asked before; they are told like any other."""
        found = (self.archive.candidate(genotype) for genotype in genotypes)
        return [self.archive.take(candidate) for candidate in found if candidate is not None]

    def tell(self, candidate: Candidate, error: float) -> None:
        """Report an error (lower is better); NaN means that the candidate failed."""
        self.archive.tell(candidate, error)

    def policy(self) -> Policy:
        """The probabilities with which the options of decisions are drawn; empty where there is no policy."""
        return {}

    def state(self) -> dict[str, Any]:
        """Everything needed to go on, as values that `torch.save` can hold (JSON too, but for the controller's)."""
        return {"archive": self.archive.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on exactly as the saved search would."""
        self.archive.load_state(state["archive"])
