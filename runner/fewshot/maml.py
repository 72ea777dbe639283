"""MAML: an initialisation from which a few steps suffice; with `Inner`'s choices also first-order MAML and ANIL.

Finn et al. 2017 (arXiv 1703.03400); ANIL: Raghu et al. 2020 (arXiv 1909.09157); learned rates and the loss of every
step: MAML++, Antoniou et al. 2019 (arXiv 1810.09502).
"""

from __future__ import annotations

import torch
from torch import Tensor

from runner.fewshot.adapt import Inner, adapt, losses, query_outputs, steps
from runner.fewshot.episodes import Batch
from runner.fewshot.networks import Network, Weights


def outputs(network: Network, meta: Weights, batch: Batch, inner: Inner) -> Tensor:
    """Outputs [tasks, query rows, outputs] after adapting to the support sets."""
    return query_outputs(network, adapt(network, meta, batch.support_x, batch.support_y, inner), batch, inner)


def gradient(network: Network, meta: Weights, batch: Batch, inner: Inner) -> tuple[Weights, Tensor]:
    """The gradient of the tasks' summed query losses after adapting, and their losses after the last step [tasks]."""
    meta = {name: value.detach().requires_grad_() for name, value in meta.items()}
    _, *passed, weights = steps(network, meta, batch.support_x, batch.support_y, inner, graph=True)
    found = losses(query_outputs(network, weights, batch, inner), batch.query_y)
    judged = found
    if inner.every_step:
        earlier = [losses(query_outputs(network, early, batch, inner), batch.query_y) for early in passed]
        judged = torch.lerp(found, torch.stack([*earlier, found]).mean(0), inner.every_step)
    gradients = torch.autograd.grad(judged.sum(), list(meta.values()))
    return dict(zip(meta, gradients, strict=True)), found.detach()
