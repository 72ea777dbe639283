"""The finalists: each trained in full, and kept as it was after its best epoch."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from runner.nas.individuals import Individuals
from runner.nas.ladder import Course, batches, outputs
from runner.nas.spaces import Design, Genotype

_WARM_UP = 0.05  # of the training, in which the learning rate rises
_PATIENCE = 0.35  # of the epochs without a better one, after which a finalist stops
_LEAST_PATIENCE = 8  # epochs
_FIRST_SHARES = 2.0  # times its share that a finalist may take for its first epoch


@dataclass(frozen=True, slots=True)
class Finalist:
    """A trained network with its outputs on the valid and the test rows. `curve` holds (train loss, valid loss)."""

    name: str
    design: Design
    module: nn.Module
    valid: Tensor
    test: Tensor
    curve: tuple[tuple[float, float], ...]
    best_epoch: int
    fit_s: float


def finish(
    course: Course, name: str, genotype: Genotype, test: Tensor, *, epochs: int, share_s: float
) -> Finalist | None:
    """Train one candidate for `epochs`, in `share_s` seconds at most; None where it failed or the job was stopped.

    The learning rate falls along a half cosine, faster where time is short; the first epoch may take twice the time.
    """
    began, best = time.monotonic(), (math.inf, math.inf)
    curve: list[tuple[float, float]] = []
    part = Individuals(course.space, [genotype], seed=course.seed, device=course.device)
    module: nn.Module | None = None
    predicted, best_epoch = torch.zeros(0), 0
    for epoch in range(epochs):
        pairs = batches(*course.train, course.batch, len(course.train[0]), course.seed, epoch)
        losses: list[Tensor] = []
        for index, (x, y) in enumerate(pairs):
            spent = (time.monotonic() - began) / max(share_s, 1e-9)
            if course.stopped():
                return None
            if spent >= 1 and (epoch or (losses and spent >= _FIRST_SHARES)):
                break
            done = (epoch + index / len(pairs)) / epochs
            losses.append(part.train([(x, y, _rate(max(done, min(spent, 0.99))))]))
        if not losses:
            break
        valid_loss = float(part.evaluate(*course.valid)[0])
        if bool(part.failed.any()):
            break
        curve.append((float(torch.cat(losses).mean()), valid_loss))
        now = outputs(part, course.valid[0])[0]
        judged = course.judge(now)
        # On few rows an error has many ties; where it is not defined, as the AUC of one class, the loss decides.
        error = 0.0 if math.isnan(judged) else judged, valid_loss
        if error < best and not math.isinf(judged):
            best, module, predicted, best_epoch = error, part.extract(0), now, epoch + 1
        if epoch + 1 - best_epoch >= max(_LEAST_PATIENCE, _PATIENCE * epochs):
            break
    on_test = predict(module, test) if module is not None else torch.full((), math.nan)
    if module is None or not bool(on_test.isfinite().all()):
        return None
    design, fit_s = course.space.decode(genotype), time.monotonic() - began
    return Finalist(name, design, module, predicted, on_test, tuple(curve), best_epoch, fit_s)


@torch.no_grad()
def predict(module: nn.Module, x: Tensor) -> Tensor:
    """Outputs of a trained module on the processor."""
    return torch.cat([module(piece) for piece in x.cpu().split(512)])


def _rate(done: float) -> float:
    return min(1.0, done / _WARM_UP + 0.05) * 0.5 * (1 + math.cos(math.pi * done))
