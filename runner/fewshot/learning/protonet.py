"""Prototypical networks: the nearest class mean of the support features. Snell et al. 2017 (arXiv 1703.05175)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from runner.fewshot.learning.episodes import Batch
from runner.fewshot.learning.inner_loop import Inner, losses, shared_features
from runner.fewshot.learning.task_networks import Network, Weights


def outputs(network: Network, meta: Weights, batch: Batch, inner: Inner) -> Tensor:
    """Return minus the squared distances [tasks, query rows, classes] to the prototypes.

    Of `inner` only the choice of batch-norm statistics matters.
    """
    support, query = shared_features(network, meta, batch, inner)
    members = torch.nn.functional.one_hot(batch.support_y).to(support.dtype).transpose(1, 2)
    prototypes = members @ support / members.sum(2, keepdim=True)
    # |q - p|^2 without the differences of all pairs.
    both = torch.baddbmm(prototypes.square().sum(2).unsqueeze(1), query, prototypes.transpose(1, 2), alpha=-2)
    return -(both + query.square().sum(2, keepdim=True))


def gradient(network: Network, meta: Weights, batch: Batch, inner: Inner) -> tuple[Weights, Tensor]:
    """Return the gradient of the tasks' summed query losses, and those losses [tasks]; the head has no gradient.

    Features are normalised over all rows of a task, as their statistics are stored later.
    """
    meta = {name: value.detach().requires_grad_() for name, value in meta.items()}
    query_losses = losses(outputs(network, meta, batch, replace(inner, transductive=True)), batch.query_y)
    gradients = torch.autograd.grad(query_losses.sum(), list(meta.values()), materialize_grads=True)
    return dict(zip(meta, gradients, strict=True)), query_losses.detach()
