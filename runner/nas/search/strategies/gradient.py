"""Search by the gradient of a supernet, which weighs the operations; each candidate is trained from scratch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch import Tensor

from core.events import Event, Message, Metric, PolicyPoint, Progress
from runner.nas.search.strategies import supernet
from runner.nas.search.strategies.history import Candidate, Genotype, Space
from runner.nas.search.strategies.strategy import Strategy
from runner.nas.space.designs import CONVOLUTIONS, OPERATIONS
from runner.nas.space.spaces import Policy
from runner.nas.training.losses import is_out_of_memory

_PASSIVE = [place for place, name in enumerate(OPERATIONS) if name not in CONVOLUTIONS]
_PASSIVE_SHARE = 1 / 3  # maximum of skips and pools in a chain: supernets favour operations without weights
_SAMPLES = 4  # of the policy per candidate; the most probable ones are used
_ROUNDS = 50  # of such samples before a candidate is drawn at random


class GradientSearch(Strategy):
    """Draws the decisions that the supernet mixes from its policy, the most probable of a sample first.

    The other decisions are random for the first `start` candidates. Later ones take them from the best of `tournament`
    of the `start` best candidates, after a mutation.
    """

    def __init__(
        self, space: Space, seed: int, *, start: int = 10, tournament: int = 3, steps: int = supernet.STEPS
    ) -> None:
        super().__init__(space, seed)
        self.seed, self.start, self.tournament, self.steps = seed, start, tournament, steps
        self.snapshots: list[supernet.PolicySnapshot] = []  # during the supernet's training; the last is the policy
        self.is_prepared = False

    def prepare(
        self, train: tuple[Tensor, Tensor], device: str, budget_s: float, must_stop: Callable[[], bool]
    ) -> Iterator[Event]:
        """Train the supernet, and yield its loss and policy by step; after a stop it starts again next time.

        Raises ValueError for a space that has no supernet.
        """
        snapshots, self.snapshots = self.snapshots, []
        if not self.is_prepared:
            yield Progress(0.0, "Training the supernet")
        for snapshot in snapshots if self.is_prepared else self._train(train, device, budget_s, must_stop):
            self.snapshots.append(snapshot)
            yield Metric("supernet_loss", snapshot.loss, snapshot.step)
            for decision, options in self.policy().items():
                for option, probability in options.items():
                    yield PolicyPoint(decision, option, probability, snapshot.step, "supernet")
        self.is_prepared = not must_stop()
        if self.is_prepared and not self.snapshots:
            yield Message("The supernet could not be trained: all operations count as equally likely.", "warning")

    def _train(
        self, train: tuple[Tensor, Tensor], device: str, budget_s: float, must_stop: Callable[[], bool]
    ) -> Iterator[supernet.PolicySnapshot]:
        try:
            net = supernet.build_supernet(self.history.space, self.seed).to(device)
            yield from supernet.train_supernet(
                net, train, seed=self.seed, budget_s=budget_s, must_stop=must_stop, steps=self.steps
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise

    def ask(self, n: int) -> list[Candidate]:
        """Return n new candidates, or fewer where the space is exhausted."""
        return [self.history.add(candidate) for candidate in self.history.new_candidates(n, self._proposals(n))]

    def _proposals(self, n: int) -> Iterator[Genotype]:
        for turn in range(_ROUNDS):
            for row in self._sample(n):
                child = np.array(self._child(1 + turn // 5))
                child[self._places] = row
                yield tuple(child.tolist())

    def _child(self, changes: int) -> Genotype:
        """Return all decisions by evolution."""
        history = self.history
        if len(history.error_by_name) < self.start:
            return history.random_genotype()
        best = np.argsort(history.errors(), kind="stable")[: self.start]
        rank = history.rng.integers(len(best), size=self.tournament).min()
        return history.mutate(tuple(history.genotypes()[best[rank]].tolist()), changes)

    @property
    def _places(self) -> list[int]:
        """The places of the mixed decisions in a genotype."""
        mixed = self.snapshots[-1].policy if self.snapshots else {}
        return [place for place, (name, _) in enumerate(self.history.space.decisions) if name in mixed]

    def _sample(self, n: int) -> np.ndarray:
        """Return n rows of the mixed decisions' options: the most probable (by product) of a sample, all different."""
        decisions = [self.history.space.decisions[place] for place in self._places]
        if not decisions:
            return np.zeros((n, 0), dtype=np.int64)
        shares = [np.array(self.snapshots[-1].policy[name]) for name, _ in decisions]
        sample = np.column_stack([_draw(share, _SAMPLES * n, self.history.rng) for share in shares])
        self._cap(sample, shares, [options == OPERATIONS for _, options in decisions])
        rows = np.unique(sample, axis=0)
        likely = sum(np.log(share)[rows[:, place]] for place, share in enumerate(shares))
        return rows[np.argsort(-likely, kind="stable")[:n]]

    def _cap(self, sample: np.ndarray, shares: list[np.ndarray], are_operations: list[bool]) -> None:
        """Replace the least probable skips and pools of rows with too many of them by random convolutions."""
        operations = np.flatnonzero(are_operations)
        maximum = max(1, int(_PASSIVE_SHARE * len(operations)))
        for row in sample:
            passive = [place for place in operations if row[place] in _PASSIVE]
            for place in sorted(passive, key=lambda place: -shares[place][row[place]])[maximum:]:
                share = shares[place].copy()
                share[_PASSIVE] = 0.0
                row[place] = _draw(share, 1, self.history.rng)[0]

    def policy(self) -> Policy:
        """Return the supernet's probabilities of the decisions that it mixes, before skips and pools are capped."""
        mixed = self.snapshots[-1].policy if self.snapshots else {}
        decisions = [decision for decision in self.history.space.decisions if decision[0] in mixed]
        return {name: dict(zip(options, mixed[name], strict=True)) for name, options in decisions}

    def state(self) -> dict[str, Any]:
        """Return all that is needed to continue, as values that JSON and `torch.save` can hold."""
        snapshots = [[snapshot.step, snapshot.loss, snapshot.policy] for snapshot in self.snapshots]
        return super().state() | {"looks": snapshots, "prepared": self.is_prepared}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore a state: the search continues exactly as the saved one would."""
        super().load_state(state)
        self.snapshots = [supernet.PolicySnapshot(*snapshot) for snapshot in state["looks"]]
        self.is_prepared = state["prepared"]


def _draw(share: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return n options drawn with these probabilities."""
    edges = share.cumsum()
    return np.searchsorted(edges, rng.random(n) * edges[-1], side="right")
