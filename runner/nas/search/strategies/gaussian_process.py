"""Gaussian process regression on discrete decisions and one number, the size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_STEPS = 15  # of a fit, which starts from the parameters of the last one
_RATE = 0.1
_DISTANCE = 1.3  # prior: architectures that differ in every decision correlate by exp(-this)
_SIZE_WEIGHT = 0.2  # prior: the same for a standard deviation of the logarithm of the size
_NOISE = 0.05
_FLOOR = 1e-5  # minimum noise, for the factorisation
_BOUNDS = (-9.0, 4.0)


@dataclass(frozen=True)
class Inputs:
    """Architectures, one a row: their genotypes, and their sizes on a standardised logarithmic scale."""

    genotypes: np.ndarray
    sizes: np.ndarray

    def differences(self, other: Inputs) -> np.ndarray:
        """Return how each row differs from each of `other`: a matrix per decision (0 or 1), and squared size gaps."""
        decisions = self.genotypes.T[:, :, None] != other.genotypes.T[:, None, :]
        gap = (self.sizes[:, None] - other.sizes[None, :]) ** 2
        return np.concatenate([decisions, gap[None]]).astype(float)


class GaussianProcess:
    """A process with the kernel scale x exp(-sum of weight x difference): a weight says how much a decision matters.

    `parameters` are the logarithms of the weights, the scale and the noise. They maximise the marginal likelihood
    under a normal prior around their first values.
    """

    def __init__(self, choices: tuple[int, ...]) -> None:
        n_choices = max(1, sum(options > 1 for options in choices))
        weights = [_DISTANCE / n_choices] * len(choices)
        self.prior = np.log([*weights, _SIZE_WEIGHT, 1.0, _NOISE])
        self.parameters = self.prior.copy()
        self.choices = choices

    def kernel(self, one: Inputs, other: Inputs) -> np.ndarray:
        """Return the covariance of the process between the rows of two inputs, by one matrix product."""
        weights = np.exp(self.parameters[:-2])
        agreement = (_one_hot(one.genotypes, self.choices) * np.repeat(weights[:-1], self.choices)) @ _one_hot(
            other.genotypes, self.choices
        ).T
        gap = (one.sizes[:, None] - other.sizes[None, :]) ** 2
        return np.exp(self.parameters[-2] - np.maximum(weights[:-1].sum() - agreement, 0.0) - weights[-1] * gap)

    @property
    def noise(self) -> float:
        """The variance of a measurement around the process."""
        return float(np.exp(self.parameters[-1]) + _FLOOR * np.exp(self.parameters[-2]))

    def fit(self, inputs: Inputs, targets: np.ndarray) -> None:
        """Take some steps of Adam on the marginal likelihood times the prior."""
        differences = inputs.differences(inputs)
        first, second = np.zeros_like(self.parameters), np.zeros_like(self.parameters)
        for step in range(1, _STEPS + 1):
            slope = self._slope(differences, targets)
            first = 0.9 * first + 0.1 * slope
            second = 0.99 * second + 0.01 * slope**2
            change = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.99**step)) + 1e-9)
            self.parameters = np.clip(self.parameters + _RATE * change, *_BOUNDS)

    def _slope(self, differences: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the gradient of the log posterior density of the parameters."""
        kernel = np.exp(self.parameters[-2] - np.tensordot(np.exp(self.parameters[:-2]), differences, 1))
        inverse = np.linalg.inv(kernel + self.noise * np.eye(len(targets)))
        alpha = inverse @ targets
        outer = np.outer(alpha, alpha) - inverse
        weighted = outer * kernel
        slope = np.empty_like(self.parameters)
        slope[:-2] = (
            -0.5 * np.exp(self.parameters[:-2]) * (differences.reshape(len(differences), -1) @ weighted.ravel())
        )
        slope[-2] = 0.5 * (weighted.sum() + np.trace(outer) * _FLOOR * np.exp(self.parameters[-2]))
        slope[-1] = 0.5 * np.trace(outer) * np.exp(self.parameters[-1])
        return slope - (self.parameters - self.prior)

    def log_posterior(self, inputs: Inputs, targets: np.ndarray) -> float:
        """Return the logarithm of what `fit` maximises, up to a constant."""
        covariance = self.kernel(inputs, inputs) + self.noise * np.eye(len(targets))
        fit = targets @ np.linalg.solve(covariance, targets) + np.linalg.slogdet(covariance)[1]
        return float(-0.5 * fit - 0.5 * ((self.parameters - self.prior) ** 2).sum())

    def posterior(self, inputs: Inputs, targets: np.ndarray, at: Inputs) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and covariance of the process at other inputs, for these targets."""
        measured = self.kernel(inputs, inputs) + self.noise * np.eye(len(targets))
        root = np.linalg.cholesky(measured)
        across = np.linalg.solve(root, np.column_stack([self.kernel(inputs, at), targets]))
        mean = across[:, :-1].T @ across[:, -1]
        return mean, self.kernel(at, at) - across[:, :-1].T @ across[:, :-1]


def _one_hot(genotypes: np.ndarray, choices: tuple[int, ...]) -> np.ndarray:
    places = genotypes + np.concatenate([[0], np.cumsum(choices)[:-1]])
    hot = np.zeros((len(genotypes), sum(choices)))
    hot[np.arange(len(genotypes))[:, None], places] = 1.0
    return hot
