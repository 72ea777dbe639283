"""Search led by a supernet: the operations that its gradient finds likely, each candidate trained from scratch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch import Tensor

from core.events import Event, Message, Metric, PolicyPoint, Progress
from runner.nas.search.strategies import supernet
from runner.nas.search.strategies.archive import Candidate, Genotype, Space
from runner.nas.search.strategies.strategy import Strategy
from runner.nas.space.spaces import CONVOLUTIONS, OPERATIONS, Policy
from runner.nas.training.losses import is_out_of_memory

_PASSIVE = [place for place, name in enumerate(OPERATIONS) if name not in CONVOLUTIONS]
_PASSIVE_SHARE = 1 / 3  # of a chain's operations that may be skips and pools: supernets favour what needs no training
_SAMPLES = 4  # of the policy for each candidate wanted; the most probable of them are taken
_ROUNDS = 50  # of such samples, before a candidate is drawn at random


class Gradient(Strategy):
    """The mixed decisions are drawn from the supernet's policy, the most probable of a sample first.

    Of all other decisions the first `start` candidates are random; later ones have those of the best of `tournament`
    of the `start` best told, after a mutation. A space without a supernet is searched by that alone.
    """

    def __init__(
        self, space: Space, seed: int, *, start: int = 10, tournament: int = 3, steps: int = supernet.STEPS
    ) -> None:
        super().__init__(space, seed)
        self.seed, self.start, self.tournament, self.steps = seed, start, tournament, steps
        self.looks: list[supernet.Look] = []  # at the supernet while it was trained; the last one is the policy
        self.prepared = False

    def prepare(
        self, train: tuple[Tensor, Tensor], device: str, budget_s: float, stopped: Callable[[], bool]
    ) -> Iterator[Event]:
        """Train the supernet, and yield its loss and policy by its steps; stopped within, it learns anew next time.

        Raises ValueError for a space that has no supernet.
        """
        looks, self.looks = self.looks, []
        if not self.prepared:
            yield Progress(0.0, "Training the supernet")
        for look in looks if self.prepared else self._trained(train, device, budget_s, stopped):
            self.looks.append(look)
            yield Metric("supernet_loss", look.loss, look.step)
            for decision, options in self.policy().items():
                for option, probability in options.items():
                    yield PolicyPoint(decision, option, probability, look.step, "supernet")
        self.prepared = not stopped()
        if self.prepared and not self.looks:
            yield Message("The supernet could not be trained: all operations are taken for equally good.", "warning")

    def _trained(
        self, train: tuple[Tensor, Tensor], device: str, budget_s: float, stopped: Callable[[], bool]
    ) -> Iterator[supernet.Look]:
        try:
            net = supernet.supernet(self.archive.space, self.seed).to(device)
            yield from supernet.trained(
                net, train, seed=self.seed, budget_s=budget_s, stopped=stopped, steps=self.steps
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise

    def ask(self, n: int) -> list[Candidate]:
        """n candidates never asked before; fewer when the space is exhausted."""
        return [self.archive.take(candidate) for candidate in self.archive.fresh(n, self._proposals(n))]

    def _proposals(self, n: int) -> Iterator[Genotype]:
        for turn in range(_ROUNDS):
            for row in self._sampled(n):
                child = np.array(self._child(1 + turn // 5))
                child[self._places] = row
                yield tuple(child.tolist())

    def _child(self, changes: int) -> Genotype:
        """All decisions by evolution."""
        archive = self.archive
        if len(archive.told) < self.start:
            return archive.random_genotype()
        best = np.argsort(archive.errors(), kind="stable")[: self.start]
        rank = archive.rng.integers(len(best), size=self.tournament).min()
        return archive.mutated(tuple(archive.genotypes()[best[rank]].tolist()), changes)

    @property
    def _places(self) -> list[int]:
        """Where the mixed decisions stand in a genotype."""
        mixed = self.looks[-1].policy if self.looks else {}
        return [place for place, (name, _) in enumerate(self.archive.space.decisions) if name in mixed]

    def _sampled(self, n: int) -> np.ndarray:
        """n rows of the mixed decisions' options: the most probable (by their product) of a sample, all different."""
        decisions = [self.archive.space.decisions[place] for place in self._places]
        if not decisions:
            return np.zeros((n, 0), dtype=np.int64)
        shares = [np.array(self.looks[-1].policy[name]) for name, _ in decisions]
        drawn = np.column_stack([_drawn(share, _SAMPLES * n, self.archive.rng) for share in shares])
        self._cap(drawn, shares, [options == OPERATIONS for _, options in decisions])
        rows = np.unique(drawn, axis=0)
        likely = sum(np.log(share)[rows[:, place]] for place, share in enumerate(shares))
        return rows[np.argsort(-likely, kind="stable")[:n]]

    def _cap(self, drawn: np.ndarray, shares: list[np.ndarray], searched: list[bool]) -> None:
        """Where a row has too many skips and pools, the least probable of them are drawn anew among convolutions."""
        operations = np.flatnonzero(searched)
        most = max(1, int(_PASSIVE_SHARE * len(operations)))
        for row in drawn:
            passive = [place for place in operations if row[place] in _PASSIVE]
            for place in sorted(passive, key=lambda place: -shares[place][row[place]])[most:]:
                share = shares[place].copy()
                share[_PASSIVE] = 0.0
                row[place] = _drawn(share, 1, self.archive.rng)[0]

    def policy(self) -> Policy:
        """The supernet's probabilities of the decisions that are mixed in it, before skips and pools are capped."""
        known = self.looks[-1].policy if self.looks else {}
        decisions = [decision for decision in self.archive.space.decisions if decision[0] in known]
        return {name: dict(zip(options, known[name], strict=True)) for name, options in decisions}

    def state(self) -> dict[str, Any]:
        """Everything needed to go on, as values that JSON and `torch.save` can hold."""
        looks = [[look.step, look.loss, look.policy] for look in self.looks]
        return super().state() | {"looks": looks, "prepared": self.prepared}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on exactly as the saved search would."""
        super().load_state(state)
        self.looks = [supernet.Look(*look) for look in state["looks"]]
        self.prepared = state["prepared"]


def _drawn(share: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """n options drawn with these probabilities."""
    edges = share.cumsum()
    return np.searchsorted(edges, rng.random(n) * edges[-1], side="right")
