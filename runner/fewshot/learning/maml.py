"""MAML: an initialisation from which a few steps suffice; with `Inner`'s choices also first-order MAML and ANIL.

Finn et al. 2017 (arXiv 1703.03400); ANIL: Raghu et al. 2020 (arXiv 1909.09157); learned rates and the loss of every
step: MAML++, Antoniou et al. 2019 (arXiv 1810.09502).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from runner.fewshot.learning.adapt import Inner, losses, query_outputs, shared_features, steps
from runner.fewshot.learning.episodes import Batch
from runner.fewshot.learning.task_networks import Network, Weights, head


def outputs(network: Network, meta: Weights, batch: Batch, inner: Inner) -> Tensor:
    """Outputs [tasks, query rows, outputs] after adapting to the support sets."""
    (*_, weights), answers = _adapting(network, meta, batch, inner)
    return answers(weights)


def gradient(network: Network, meta: Weights, batch: Batch, inner: Inner) -> tuple[Weights, Tensor]:
    """The gradient of the tasks' summed query losses after adapting, and their losses after the last step [tasks].

    Features that no step changes are normalised over all rows of a task, as the statistics come from elsewhere later.
    """
    meta = {name: value.detach().requires_grad_() for name, value in meta.items()}
    inner = replace(inner, transductive=inner.transductive or inner.only_head)
    (_, *passed, weights), answers = _adapting(network, meta, batch, inner, graph=True)
    found = judged = losses(answers(weights), batch.query_y)
    if inner.every_step:
        earlier = [losses(answers(early), batch.query_y) for early in passed]
        judged = torch.lerp(found, torch.stack([*earlier, found]).mean(0), inner.every_step)
    gradients = torch.autograd.grad(judged.sum(), list(meta.values()))
    return dict(zip(meta, gradients, strict=True)), found.detach()


def _adapting(
    network: Network, meta: Weights, batch: Batch, inner: Inner, graph: bool = False
) -> tuple[Iterator[Weights], Callable[[Weights], Tensor]]:
    """The weights before the first step and after each, and what such weights say of the query rows."""
    x, y = batch.support_x, batch.support_y
    if not inner.only_head:
        passed = steps(network, meta, x, y, inner, graph)
        return passed, lambda weights: query_outputs(network, weights, batch, inner)
    support, query = shared_features(network, meta, batch, inner)
    return steps(network, meta, x, y, inner, graph, support), lambda weights: head(weights, query)
