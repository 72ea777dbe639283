"""Prototypical networks: the nearest mean of a class's support features. Snell et al. 2017 (arXiv 1703.05175)."""

from __future__ import annotations

import torch
from torch import Tensor

from runner.fewshot.adapt import Inner, each, losses
from runner.fewshot.episodes import Batch
from runner.fewshot.networks import Network, Weights


def outputs(network: Network, meta: Weights, batch: Batch, inner: Inner) -> Tensor:
    """Minus the squared distances [tasks, query rows, classes] to the prototypes; of `inner` only the norm counts."""
    n_support = batch.support_x.shape[1]
    x = network.prepared(torch.cat([batch.support_x, batch.query_x], 1))
    features = network.features(each(network, meta, len(x)), x, None if inner.transductive else n_support)
    support, query = features[:, :n_support], features[:, n_support:]
    members = torch.nn.functional.one_hot(batch.support_y).to(features.dtype).transpose(1, 2)
    prototypes = members @ support / members.sum(2, keepdim=True)
    return -(query.unsqueeze(2) - prototypes.unsqueeze(1)).square().sum(3)


def gradient(network: Network, meta: Weights, batch: Batch, inner: Inner) -> tuple[Weights, Tensor]:
    """The gradient of the tasks' summed query losses, and those losses [tasks]; the head has none."""
    meta = {name: value.detach().requires_grad_() for name, value in meta.items()}
    found = losses(outputs(network, meta, batch, inner), batch.query_y)
    gradients = torch.autograd.grad(found.sum(), list(meta.values()), materialize_grads=True)
    return dict(zip(meta, gradients, strict=True)), found.detach()
