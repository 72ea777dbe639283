"""The controller of REINFORCE: its gradient, and what it learns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from runner.nas.search.strategies import Candidate, make
from runner.nas.search.strategies.reinforce import Controller, Reinforce, policy_loss
from tests.runner.nas.chain import Chain, additive, drive

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("one_blas_thread")]


def test_the_policy_loss_has_the_gradient_of_the_expected_reward() -> None:
    """Over all genotypes, weighted by their probability, REINFORCE's gradient is the exact one; so is the entropy's."""
    torch.manual_seed(0)
    controller = Controller((2, 3, 2), 5)
    genotypes = torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(2))
    rewards = torch.tensor(np.random.default_rng(0).normal(size=12), dtype=torch.float32)

    def log_probabilities() -> torch.Tensor:
        logs = controller.log_probabilities(genotypes)
        return sum(log.gather(1, genotypes[:, [place]]).squeeze(1) for place, log in enumerate(logs))

    probabilities = log_probabilities().exp()
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-5)
    exact = torch.autograd.grad((probabilities * rewards).sum(), list(controller.parameters()))
    weights = (probabilities.detach() * rewards * 12).numpy()
    ours = torch.autograd.grad(-policy_loss(controller, genotypes, weights, 0.0), list(controller.parameters()))
    for one, other in zip(exact, ours, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_the_entropy_bonus_keeps_the_policy_open() -> None:
    spreads = []
    for entropy in (0.0, 5.0):
        strategy = make("reinforce", Chain(), 0, entropy=entropy)
        drive(strategy, additive, [4] * 30)
        spreads.append(sum(-p * math.log(p) for options in strategy.policy().values() for p in options.values()))
    assert spreads[0] < spreads[1]


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_the_controller_learns_an_additive_reward_and_not_a_shuffled_one(seed: int) -> None:
    space = Chain((4,) * 6)
    shuffled = np.random.default_rng(seed).permutation(4**6)

    def random(candidate: Candidate) -> float:
        return float(shuffled[np.ravel_multi_index(candidate.genotype, space.choices)])

    learned, lost = Reinforce(space, seed), Reinforce(space, seed)
    drive(learned, lambda candidate: float(sum(option != 2 for option in candidate.genotype)), [4] * 60)
    drive(lost, random, [4] * 60)
    right = np.mean([options["2"] for options in learned.policy().values()])
    assert right > 0.6
    assert np.mean([max(options.values()) for options in lost.policy().values()]) < right - 0.1


def test_the_policy_is_probabilities_and_looking_at_it_changes_nothing() -> None:
    watched, other = Reinforce(Chain(), 0), Reinforce(Chain(), 0)
    names = []
    for _ in range(8):
        names += drive(watched, additive, [4])
        policy = watched.policy()
        assert [(name, tuple(options)) for name, options in policy.items()] == list(Chain().decisions)
        assert all(sum(options.values()) == pytest.approx(1, abs=1e-5) for options in policy.values())
        assert all(p >= 0 for options in policy.values() for p in options.values())
    assert names == drive(other, additive, [4] * 8)
