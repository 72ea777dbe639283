"""Bayesian optimization with a Gaussian process over the decisions: the default strategy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch

from runner.nas.search.strategies.gaussian_process import GaussianProcess, Inputs
from runner.nas.search.strategies.history import Candidate, Genotype, Space
from runner.nas.search.strategies.strategy import Strategy

_PARENTS = 10
_WORST = 1.5  # errors are cut off above the median at so many times the distance from the best to the median


class BayesianOptimization(Strategy):
    """After `start` first candidates, the most promising ones of a pool by the Gaussian process.

    Half of the pool are mutations of the best candidates, half are random. `acquisition` chooses a batch from it:
    "thompson" takes the best of one sample of the process for each place; "improvement" takes the largest expected
    improvement, and each choice reduces the uncertainty around it for the next; "both" takes half by each, and a
    single candidate by improvement.
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
        self.model = GaussianProcess(space.choices)
        self.start, self.size_start, self.pool, self.acquisition = start, size_start, pool, acquisition

    def ask(self, n: int) -> list[Candidate]:
        """Return n new candidates, or fewer where the space is exhausted."""
        missing = max(0, self.start - len(self.history.by_name))
        batch = self.history.first_candidates(min(n, missing), by_size=self.size_start)
        if (count := n - len(batch)) > 0:
            pool = self.history.new_candidates(max(self.pool, 2 * n), self._mutations())
            places = self._choose(pool, count) if pool and self.history.error_by_name else list(range(len(pool)))
            batch += [self.history.add(pool[place]) for place in places[:count]]
        return batch

    def _mutations(self) -> Iterator[Genotype]:
        """Yield half a pool of mutations of the best candidates: most change one decision, some two or three."""
        genotypes, best = self.history.genotypes(), np.argsort(self.history.errors(), kind="stable")[:_PARENTS]
        for turn in range(self.pool // 2 if len(best) else 0):
            parent = tuple(genotypes[best[turn % len(best)]].tolist())
            yield self.history.mutate(parent, int(self.history.rng.choice(3, p=(0.6, 0.3, 0.1))) + 1)

    def _choose(self, pool: list[Candidate], n: int) -> list[int]:
        """Return places in the pool, the most promising first."""
        train, at = self._inputs([candidate.genotype for candidate in pool])
        targets = _targets(self.history.errors())
        self.model.fit(train, targets)
        mean, covariance = self.model.posterior(train, targets, at)
        n = min(n, len(pool))
        n_sampled = {"thompson": n, "improvement": 0, "both": n // 2}[self.acquisition]
        chosen = _choose_by_improvement(mean, covariance, self.model.noise, targets.min(), n - n_sampled)
        return chosen + _choose_by_samples(mean, covariance, self.history.rng, chosen, n_sampled)

    def _inputs(self, pool: list[Genotype]) -> tuple[Inputs, Inputs]:
        """Return the candidates with an error, and the pool, as inputs of the process."""
        genotypes = np.concatenate([self.history.genotypes(), np.array(pool)])
        sizes = np.log1p([self.history.space.size(tuple(row)) for row in genotypes.tolist()])
        finite = np.isfinite(sizes)
        middle, spread = (sizes[finite].mean(), sizes[finite].std()) if finite.any() else (0.0, 0.0)
        sizes = np.where(finite, sizes - middle, 0.0) / (spread if spread > 0 else 1.0)
        n = len(genotypes) - len(pool)
        return Inputs(genotypes[:n], sizes[:n]), Inputs(genotypes[n:], sizes[n:])

    def state(self) -> dict[str, Any]:
        """Return all that is needed to continue, as values that JSON and `torch.save` can hold."""
        return super().state() | {"parameters": self.model.parameters.tolist()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore a state: the search continues exactly as the saved one would."""
        super().load_state(state)
        self.model.parameters = np.array(state["parameters"])


def _targets(errors: np.ndarray) -> np.ndarray:
    """Return standardised errors, with high ones cut off: how bad a candidate is says nothing about the best."""
    middle = np.median(errors)
    spread = middle - errors.min() or errors.std() or 1.0
    cut = np.minimum((errors - middle) / spread, _WORST)
    return (cut - cut.mean()) / (cut.std() or 1.0)


def _choose_by_improvement(mean: np.ndarray, covariance: np.ndarray, noise: float, best: float, n: int) -> list[int]:
    """Return n places of largest expected improvement on `best`, each as if the earlier ones turn out as expected."""
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


def _choose_by_samples(
    mean: np.ndarray, covariance: np.ndarray, rng: np.random.Generator, excluded: list[int], n: int
) -> list[int]:
    """Return n more places, each the best of one sample of the process outside `excluded` (Thompson sampling)."""
    if not n:
        return []
    root = np.linalg.cholesky(covariance + 1e-6 * covariance.diagonal().max() * np.eye(len(mean)))
    samples = mean + (root @ rng.standard_normal((len(mean), n))).T
    chosen: list[int] = []
    for sample in samples:
        sample[excluded + chosen] = np.inf
        chosen.append(int(np.argmin(sample)))
    return chosen
