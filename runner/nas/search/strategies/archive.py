"""What a search has asked and been told: the part that every strategy shares."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from runner.nas.space.spaces import Genotype, Space

__all__ = ["Archive", "Candidate", "Genotype", "Space"]

_TRIES = 200  # draws in vain before the space is taken for (nearly) exhausted
_COUNTABLE = 300_000  # spaces up to this size are then counted through


@dataclass(frozen=True)
class Candidate:
    """An architecture to evaluate. `name` is its canonical string."""

    genotype: Genotype
    name: str


class Archive:
    """The candidates asked so far, their errors, and the random numbers of the search."""

    def __init__(self, space: Space, seed: int) -> None:
        self.space = space
        self.rng = np.random.default_rng(seed)
        self.asked: dict[str, Candidate] = {}
        self.told: dict[str, float] = {}

    def candidate(self, genotype: Genotype) -> Candidate | None:
        """The candidate of a genotype, or None where its network has been asked before."""
        name = self.space.canonical(genotype)
        return None if name in self.asked else Candidate(genotype, name)

    def take(self, candidate: Candidate) -> Candidate:
        """Mark a candidate as asked."""
        self.asked[candidate.name] = candidate
        return candidate

    def tell(self, candidate: Candidate, error: float) -> None:
        """Record an error; NaN and infinities mean that the candidate failed."""
        self.asked.setdefault(candidate.name, candidate)
        self.told[candidate.name] = float(error) if math.isfinite(error) else math.nan

    def genotypes(self) -> np.ndarray:
        """Genotypes of the told candidates in the order of telling, one a row."""
        rows = [self.asked[name].genotype for name in self.told]
        return np.array(rows, dtype=np.int64).reshape(len(rows), len(self.space.choices))

    def errors(self) -> np.ndarray:
        """Errors in the same order; failed candidates count as the worst seen."""
        errors = np.array(list(self.told.values()), dtype=float)
        good = errors[np.isfinite(errors)]
        return np.where(np.isfinite(errors), errors, good.max() if good.size else 1.0)

    def random_genotype(self) -> Genotype:
        """A uniform draw."""
        return tuple(int(n) for n in self.rng.integers(self.space.choices))

    def mutated(self, genotype: Genotype, changes: int = 1) -> Genotype:
        """A copy with that many decisions (those that have a choice) set to another option."""
        free = [place for place, options in enumerate(self.space.choices) if options > 1]
        child = list(genotype)
        for place in self.rng.permutation(free)[:changes]:
            options = self.space.choices[place]
            child[place] = (child[place] + int(self.rng.integers(1, options))) % options
        return tuple(child)

    def fresh(self, n: int, proposals: Iterable[Genotype] = ()) -> list[Candidate]:
        """Up to n different candidates never asked before: from the (finite) proposals, then at random.

        They are not marked as asked. Fewer come back only when the space is exhausted.
        """
        found: dict[str, Candidate] = {}
        for genotype in itertools.chain(proposals, self._draws(found), self._rest()):
            if len(found) >= n:
                break
            candidate = self.candidate(genotype)
            if candidate is not None:
                found.setdefault(candidate.name, candidate)
        return list(found.values())

    def _draws(self, found: dict[str, Candidate]) -> Iterator[Genotype]:
        """Random genotypes, until many on end have added nothing to `found`."""
        misses = 0
        while misses < _TRIES:
            before = len(found)
            yield self.random_genotype()
            misses = 0 if len(found) > before else misses + 1

    def _rest(self) -> Iterator[Genotype]:
        """The whole of a small space, in random order; nothing of a large one."""
        total = math.prod(self.space.choices)
        if total <= _COUNTABLE:
            for index in self.rng.permutation(total):
                yield tuple(int(n) for n in np.unravel_index(index, self.space.choices))

    def start(self, n: int, *, by_size: bool) -> list[Candidate]:
        """n first candidates, marked as asked: random; with `by_size`, each second one is large.

        Large means the largest of ten random ones: size is a cheap guess at what is good, known without training.
        """
        first = len(self.asked)
        large = sum(place % 2 == 0 for place in range(first, first + n)) if by_size else 0
        drawn = self.fresh(10 * large)
        sizes = np.nan_to_num([self.space.size(candidate.genotype) for candidate in drawn])
        chosen = [self.take(drawn[i]) for i in np.argsort(-sizes, kind="stable")[:large]]
        return chosen + [self.take(candidate) for candidate in self.fresh(n - len(chosen))]

    def state(self) -> dict[str, Any]:
        """Everything, as plain JSON-able values."""
        return {
            "random": self.rng.bit_generator.state,
            "asked": [[list(candidate.genotype), candidate.name] for candidate in self.asked.values()],
            "told": [[name, None if math.isnan(error) else error] for name, error in self.told.items()],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state` was taken."""
        self.rng.bit_generator.state = state["random"]
        self.asked = {name: Candidate(tuple(genotype), name) for genotype, name in state["asked"]}
        self.told = {name: math.nan if error is None else error for name, error in state["told"]}
