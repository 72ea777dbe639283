"""Search led by a Gaussian process over the decisions: the default."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch

from runner.nas.search.strategies.archive import Candidate, Genotype, Space
from runner.nas.search.strategies.process import Inputs, Process
from runner.nas.search.strategies.strategy import Strategy

_PARENTS = 10
_WORST = 1.5  # errors count up to so many times the distance from best to median above the median


class GaussianProcess(Strategy):
    """After `start` first candidates, those of a pool that the process finds most promising.

    The pool is half mutations of the best told, half random. Out of it a batch is chosen by `acquisition`:
    "thompson" takes the best of a sample of the process for each place; "improvement" takes the largest expected
    improvement, each choice shrinking the uncertainty around it for the next; "both" does half and half, and one
    candidate alone by improvement.
    """

    def __init__(
        self,
        space: Space,
        seed: int,
        *,
        start: int = 20,
        size_start: bool = True,
        pool: int = 600,
        acquisition: Literal["thompson", "improvement", "both"] = "both",
    ) -> None:
        super().__init__(space, seed)
        self.process = Process(space.choices)
        self.start, self.size_start, self.pool, self.acquisition = start, size_start, pool, acquisition

    def ask(self, n: int) -> list[Candidate]:
        """n candidates never asked before; fewer when the space is exhausted."""
        missing = max(0, self.start - len(self.archive.asked))
        asked = self.archive.start(min(n, missing), by_size=self.size_start)
        if len(asked) < n:
            pool = self.archive.fresh(max(self.pool, 2 * n), self._near())
            chosen = self._choose(pool, n - len(asked)) if pool and self.archive.told else list(range(len(pool)))
            asked += [self.archive.take(pool[place]) for place in chosen[: n - len(asked)]]
        return asked

    def _near(self) -> Iterator[Genotype]:
        """Half a pool of mutations of the best told: one decision changed in most, two or three in some."""
        genotypes, best = self.archive.genotypes(), np.argsort(self.archive.errors(), kind="stable")[:_PARENTS]
        for turn in range(self.pool // 2 if len(best) else 0):
            parent = tuple(genotypes[best[turn % len(best)]].tolist())
            yield self.archive.mutated(parent, int(self.archive.rng.choice(3, p=(0.6, 0.3, 0.1))) + 1)

    def _choose(self, pool: list[Candidate], n: int) -> list[int]:
        """Places in the pool, the most promising first."""
        told, at = self._inputs([candidate.genotype for candidate in pool])
        targets = _targets(self.archive.errors())
        self.process.fit(told, targets)
        mean, covariance = self.process.posterior(told, targets, at)
        n = min(n, len(pool))
        sampled = {"thompson": n, "improvement": 0, "both": n // 2}[self.acquisition]
        chosen = _improving(mean, covariance, self.process.noise, targets.min(), n - sampled)
        return chosen + _sampled(mean, covariance, self.archive.rng, chosen, sampled)

    def _inputs(self, pool: list[Genotype]) -> tuple[Inputs, Inputs]:
        """The told candidates and the pool as the process sees them."""
        genotypes = np.concatenate([self.archive.genotypes(), np.array(pool)])
        sizes = np.log1p([self.archive.space.size(tuple(row)) for row in genotypes.tolist()])
        known = np.isfinite(sizes)
        middle, spread = (sizes[known].mean(), sizes[known].std()) if known.any() else (0.0, 0.0)
        sizes = np.where(known, sizes - middle, 0.0) / (spread if spread > 0 else 1.0)
        n = len(genotypes) - len(pool)
        return Inputs(genotypes[:n], sizes[:n]), Inputs(genotypes[n:], sizes[n:])

    def state(self) -> dict[str, Any]:
        """Everything needed to go on, as values that JSON and `torch.save` can hold."""
        return super().state() | {"parameters": self.process.parameters.tolist()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on exactly as the saved search would."""
        super().load_state(state)
        self.process.parameters = np.array(state["parameters"])


def _targets(errors: np.ndarray) -> np.ndarray:
    """Errors standardised, the bad ones cut off: how bad is bad tells nothing about what is best."""
    middle = np.median(errors)
    spread = middle - errors.min() or errors.std() or 1.0
    cut = np.minimum((errors - middle) / spread, _WORST)
    return (cut - cut.mean()) / (cut.std() or 1.0)


def _improving(mean: np.ndarray, covariance: np.ndarray, noise: float, best: float, n: int) -> list[int]:
    """n places of largest expected improvement on `best`, each as if those before had come out as expected."""
    chosen: list[int] = []
    covariance = covariance.copy()
    for _ in range(n):
        deviation = np.sqrt(np.maximum(covariance.diagonal(), 1e-12))
        z = (best - mean) / deviation
        below = torch.special.ndtr(torch.from_numpy(z)).numpy()
        gain = deviation * (z * below + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi))
        gain[chosen] = -1.0
        place = int(np.argmax(gain))
        chosen.append(place)
        covariance -= np.outer(covariance[:, place], covariance[place]) / (covariance[place, place] + noise)
    return chosen


def _sampled(mean: np.ndarray, covariance: np.ndarray, rng: np.random.Generator, taken: list[int], n: int) -> list[int]:
    """n more places, each the best of one sample of the process among those not taken."""
    if not n:
        return []
    root = np.linalg.cholesky(covariance + 1e-6 * covariance.diagonal().max() * np.eye(len(mean)))
    samples = mean + (root @ rng.standard_normal((len(mean), n))).T
    chosen: list[int] = []
    for sample in samples:
        sample[taken + chosen] = np.inf
        chosen.append(int(np.argmin(sample)))
    return chosen
