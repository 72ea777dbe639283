"""MAML: an initialisation from which a few steps suffice. `Inner` makes it first-order MAML, ANIL or MAML++.

Finn et al. 2017 (arXiv 1703.03400); ANIL: Raghu et al. 2020 (arXiv 1909.09157); learned rates and the loss of every
step: MAML++, Antoniou et al. 2019 (arXiv 1810.09502).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from runner.fewshot.learning.episodes import Batch
from runner.fewshot.learning.inner_loop import Inner, adapt_in_steps, losses, query_outputs, shared_features
from runner.fewshot.learning.task_networks import Network, Weights, apply_head


def outputs(network: Network, meta: Weights, batch: Batch, inner: Inner) -> Tensor:
    """Return the outputs [tasks, query rows, outputs] after adapting to the support sets."""
    (*_, weights), predict = _adapt(network, meta, batch, inner)
    return predict(weights)


def gradient(network: Network, meta: Weights, batch: Batch, inner: Inner) -> tuple[Weights, Tensor]:
    """Return the gradient of the tasks' summed query losses after adapting, and the losses of the last step [tasks].

    Features that no step changes are normalised over all rows of a task, as their statistics are stored later.
    """
    meta = {name: value.detach().requires_grad_() for name, value in meta.items()}
    inner = replace(inner, transductive=inner.transductive or inner.only_head)
    (_, *earlier, weights), predict = _adapt(network, meta, batch, inner, graph=True)
    final = meta_loss = losses(predict(weights), batch.query_y)
    if inner.every_step:
        every = [*(losses(predict(early), batch.query_y) for early in earlier), final]
        meta_loss = torch.lerp(final, torch.stack(every).mean(0), inner.every_step)
    gradients = torch.autograd.grad(meta_loss.sum(), list(meta.values()))
    return dict(zip(meta, gradients, strict=True)), final.detach()


def _adapt(
    network: Network, meta: Weights, batch: Batch, inner: Inner, graph: bool = False
) -> tuple[Iterator[Weights], Callable[[Weights], Tensor]]:
    """Return the weights before the first step and after each, and a function from such weights to query outputs."""
    x, y = batch.support_x, batch.support_y
    if not inner.only_head:
        steps = adapt_in_steps(network, meta, x, y, inner, graph)
        return steps, lambda weights: query_outputs(network, weights, batch, inner)
    support, query = shared_features(network, meta, batch, inner)
    return adapt_in_steps(network, meta, x, y, inner, graph, support), lambda weights: apply_head(weights, query)
