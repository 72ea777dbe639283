"""The Gaussian process, and Bayesian optimization by it."""

from __future__ import annotations

import numpy as np
import pytest

from runner.nas.search.strategies import make
from runner.nas.search.strategies.gaussian_process import GaussianProcess, Inputs
from tests.runner.nas.chain import Chain, additive, drive

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("one_blas_thread")]


def _measured(n: int) -> tuple[Inputs, np.ndarray]:
    rng = np.random.default_rng(0)
    inputs = Inputs(rng.integers((3, 3, 4, 2, 5, 1), size=(n, 6)), rng.normal(size=n))
    targets = (inputs.genotypes[:, 0] == 1) + inputs.sizes + 0.1 * rng.normal(size=n)
    return inputs, targets - targets.mean()


def test_the_process_climbs_the_slope_that_finite_differences_see() -> None:
    inputs, targets = _measured(25)
    process = GaussianProcess((3, 3, 4, 2, 5, 1))
    begin = process.log_posterior(inputs, targets)
    process.fit(inputs, targets)
    assert process.log_posterior(inputs, targets) > begin
    slope = process._slope(inputs.differences(inputs), targets)
    for place in range(len(slope)):
        values = []
        for step in (1e-5, -1e-5):
            process.parameters[place] += step
            values.append(process.log_posterior(inputs, targets))
            process.parameters[place] -= step
        assert slope[place] == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-4, abs=1e-6)


def test_the_process_finds_out_which_decision_matters_and_predicts_what_it_has_not_seen() -> None:
    inputs, targets = _measured(120)
    process = GaussianProcess((3, 3, 4, 2, 5, 1))
    known, rest = (Inputs(inputs.genotypes[part], inputs.sizes[part]) for part in (slice(80), slice(80, None)))
    for _ in range(5):
        process.fit(known, targets[:80])
    assert np.argmax(process.parameters[:5]) == 0  # the sixth decision has one option
    mean, covariance = process.posterior(known, targets[:80], rest)
    assert np.corrcoef(mean, targets[80:])[0, 1] > 0.9
    deviations = (targets[80:] - mean) / np.sqrt(covariance.diagonal() + process.noise)
    assert 0.5 < deviations.std() < 2


@pytest.mark.parametrize("acquisition", ["thompson", "improvement", "both"])
def test_every_acquisition_finds_the_best_of_a_small_space(acquisition: str) -> None:
    strategy = make("gp", Chain(), 0, acquisition=acquisition, start=10)
    best = []
    drive(strategy, lambda candidate: best.append(additive(candidate)) or best[-1], [10] * 6)
    assert min(best) == 1  # the last decision has one option, which costs 1
