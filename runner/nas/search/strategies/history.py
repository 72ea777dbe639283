"""The candidates of a search so far with their errors: what every strategy works from."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from runner.nas.space.spaces import Genotype, Space

__all__ = ["Candidate", "Genotype", "History", "Space"]

_TRIES = 200  # random draws without a new candidate after which the space counts as (nearly) exhausted
_COUNTABLE = 300_000  # maximum size of a space that is then enumerated


@dataclass(frozen=True)
class Candidate:
    """An architecture to evaluate. `name` is its canonical name."""

    genotype: Genotype
    name: str


class History:
    """The candidates that the strategy has proposed (`by_name`), their errors, and the random numbers of the search."""

    def __init__(self, space: Space, seed: int) -> None:
        self.space = space
        self.rng = np.random.default_rng(seed)
        self.by_name: dict[str, Candidate] = {}
        self.error_by_name: dict[str, float] = {}

    def new_candidate(self, genotype: Genotype) -> Candidate | None:
        """Return the candidate of a genotype, or None where its network was proposed before."""
        name = self.space.canonical_name(genotype)
        return None if name in self.by_name else Candidate(genotype, name)

    def add(self, candidate: Candidate) -> Candidate:
        """Add a proposed candidate, and return it."""
        self.by_name[candidate.name] = candidate
        return candidate

    def set_error(self, candidate: Candidate, error: float) -> None:
        """Set a candidate's error; NaN and infinities mean that it failed."""
        self.by_name.setdefault(candidate.name, candidate)
        self.error_by_name[candidate.name] = float(error) if math.isfinite(error) else math.nan

    def genotypes(self) -> np.ndarray:
        """Return the genotypes of the candidates with an error, one a row, in the order of the errors."""
        rows = [self.by_name[name].genotype for name in self.error_by_name]
        return np.array(rows, dtype=np.int64).reshape(len(rows), len(self.space.choices))

    def errors(self) -> np.ndarray:
        """Return the errors in the same order; failed candidates get the highest one."""
        errors = np.array(list(self.error_by_name.values()), dtype=float)
        finite = errors[np.isfinite(errors)]
        return np.where(np.isfinite(errors), errors, finite.max() if finite.size else 1.0)

    def random_genotype(self) -> Genotype:
        """Return a genotype drawn uniformly."""
        return tuple(int(n) for n in self.rng.integers(self.space.choices))

    def mutate(self, genotype: Genotype, changes: int = 1) -> Genotype:
        """Return a copy with so many decisions (of those that have a choice) set to another option."""
        free = [place for place, options in enumerate(self.space.choices) if options > 1]
        child = list(genotype)
        for place in self.rng.permutation(free)[:changes]:
            options = self.space.choices[place]
            child[place] = (child[place] + int(self.rng.integers(1, options))) % options
        return tuple(child)

    def new_candidates(self, n: int, proposals: Iterable[Genotype] = ()) -> list[Candidate]:
        """Return up to n different new candidates: from the (finite) proposals, then at random.

        They are not added. There are fewer than n only where the space is exhausted.
        """
        candidates: dict[str, Candidate] = {}
        for genotype in itertools.chain(proposals, self._draws(candidates), self._enumerate()):
            if len(candidates) >= n:
                break
            candidate = self.new_candidate(genotype)
            if candidate is not None:
                candidates.setdefault(candidate.name, candidate)
        return list(candidates.values())

    def _draws(self, candidates: dict[str, Candidate]) -> Iterator[Genotype]:
        """Yield random genotypes, until many in a row have added nothing to `candidates`."""
        misses = 0
        while misses < _TRIES:
            before = len(candidates)
            yield self.random_genotype()
            misses = 0 if len(candidates) > before else misses + 1

    def _enumerate(self) -> Iterator[Genotype]:
        """Yield all genotypes of a small space in random order; none of a large one."""
        total = math.prod(self.space.choices)
        if total <= _COUNTABLE:
            for index in self.rng.permutation(total):
                yield tuple(int(n) for n in np.unravel_index(index, self.space.choices))

    def first_candidates(self, n: int, *, by_size: bool) -> list[Candidate]:
        """Add and return n first candidates: random ones; with `by_size`, every second one is large.

        Large means the largest of ten random ones: size is a cheap indicator of quality that needs no training.
        """
        first = len(self.by_name)
        n_large = sum(place % 2 == 0 for place in range(first, first + n)) if by_size else 0
        sample = self.new_candidates(10 * n_large)
        sizes = np.nan_to_num([self.space.size(candidate.genotype) for candidate in sample])
        large = [self.add(sample[i]) for i in np.argsort(-sizes, kind="stable")[:n_large]]
        return large + [self.add(candidate) for candidate in self.new_candidates(n - len(large))]

    def state(self) -> dict[str, Any]:
        """Return everything as plain values that JSON can hold."""
        errors = self.error_by_name.items()
        return {
            "random": self.rng.bit_generator.state,
            "asked": [[list(candidate.genotype), candidate.name] for candidate in self.by_name.values()],
            "told": [[name, None if math.isnan(error) else error] for name, error in errors],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        self.rng.bit_generator.state = state["random"]
        self.by_name = {name: Candidate(tuple(genotype), name) for genotype, name in state["asked"]}
        self.error_by_name = {name: math.nan if error is None else error for name, error in state["told"]}
