"""Reptile: the initialisation moves towards the tasks' adapted weights. Nichol et al. 2018 (arXiv 1803.02999)."""

from __future__ import annotations

import torch
from torch import Tensor

from runner.fewshot.learning import maml, task_networks
from runner.fewshot.learning.episodes import Batch
from runner.fewshot.learning.inner_loop import Inner, adapt_in_steps, losses
from runner.fewshot.learning.task_networks import Network, Weights

outputs = maml.outputs


def gradient(network: Network, meta: Weights, batch: Batch, inner: Inner) -> tuple[Weights, Tensor]:
    """Return initial minus adapted weights, summed over the tasks, and the tasks' losses before the first step [tasks].

    Reptile needs no query set: a task learns from all its rows.
    """
    x, y = torch.cat([batch.support_x, batch.query_x], 1), torch.cat([batch.support_y, batch.query_y], 1)
    first, *_, last = adapt_in_steps(network, meta, x, y, inner)
    with torch.no_grad():
        before = losses(task_networks.outputs(network, first, x), y)
    return {name: (first[name] - last[name]).sum(0) for name in first}, before
