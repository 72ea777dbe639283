"""Random search: the yardstick of every other strategy."""

from __future__ import annotations

from typing import Any

from runner.nas.strategies.archive import Archive, Candidate, Space


class Random:
    """Uniform draws, none twice."""

    def __init__(self, space: Space, seed: int) -> None:
        self.archive = Archive(space, seed)

    def ask(self, n: int) -> list[Candidate]:
        """n candidates never asked before; fewer when the space is exhausted."""
        return [self.archive.take(candidate) for candidate in self.archive.fresh(n)]

    def tell(self, candidate: Candidate, error: float) -> None:
        """Report an error (lower is better); NaN means that the candidate failed."""
        self.archive.tell(candidate, error)

    def state(self) -> dict[str, Any]:
        """Everything needed to go on, as values that JSON and `torch.save` can hold."""
        return {"archive": self.archive.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on exactly as the saved search would."""
        self.archive.load_state(state["archive"])
