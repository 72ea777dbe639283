"""Reptile: the initialisation moves towards what tasks end with. Nichol et al. 2018 (arXiv 1803.02999)."""

from __future__ import annotations

import torch
from torch import Tensor

from runner.fewshot.learning import maml
from runner.fewshot.learning.adapt import Inner, losses, steps
from runner.fewshot.learning.episodes import Batch
from runner.fewshot.learning.task_networks import Network, Weights
from runner.fewshot.learning.task_networks import outputs as answers

outputs = maml.outputs


def gradient(network: Network, meta: Weights, batch: Batch, inner: Inner) -> tuple[Weights, Tensor]:
    """The way back from what the tasks end with, summed over them, and their losses before the first step [tasks].

    Reptile needs no query set: a task learns from all its rows.
    """
    x, y = torch.cat([batch.support_x, batch.query_x], 1), torch.cat([batch.support_y, batch.query_y], 1)
    first, *_, last = steps(network, meta, x, y, inner)
    with torch.no_grad():
        before = losses(answers(network, first, x), y)
    return {name: (first[name] - last[name]).sum(0) for name in first}, before
