"""Adaptation to one task: every algorithm learns its support set."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from runner.fewshot.initialisation_file import LoadedInitialisation
from runner.fewshot.learning.inner_loop import Inner
from runner.fewshot.learning.task_networks import Conv4, initial_weights
from runner.fewshot.task_adaptation import adapt_task, configure
from tests.runner.fewshot.pattern_jobs import (
    pattern,
)

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    ("algorithm", "inner"),
    [
        ("First-order MAML", Inner(steps=3, rate=0.1, first_order=True)),
        ("ANIL", Inner(steps=3, rate=0.1, only_head=True)),
        ("Reptile", Inner(steps=3, rate=0.1)),
        ("MAML", Inner(steps=2, rate=0.1, learned_rates=True)),
    ],
)
def test_every_algorithm_learns_the_support_also_past_its_learned_rates(algorithm: str, inner: Inner) -> None:
    network = Conv4(1, 3, 8)
    weights = initial_weights(network, 1) | inner.rates(network)
    start = configure(LoadedInitialisation(algorithm, network, inner, weights, {}), 3, 4, None)
    x = torch.from_numpy(np.concatenate([pattern(k, 5) for k in range(3)]))[:, None].float() / 255
    steps = list(adapt_task(start, x, torch.arange(3).repeat_interleave(5), x))
    losses = [step.support_loss for step in steps]
    assert losses == sorted(losses, reverse=True)
    assert (len(losses), losses[0]) == (5, pytest.approx(np.log(3), abs=1e-5))
    changed = {name for name, value in steps[-1].weights.items() if not torch.equal(value, weights[name])}
    assert changed == ({"head.weight", "head.bias"} if inner.only_head else set(network.shapes()))
