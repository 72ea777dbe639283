"""The finalists: each trained in full, and kept as it was after its best epoch."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from runner.nas.individuals import Individuals
from runner.nas.ladder import Course, batches, outputs
from runner.nas.networks import build
from runner.nas.spaces import AnySpace, Design, Genotype

_WARM_UP = 0.05  # of the training, in which the learning rate rises
_PATIENCE = 0.35  # of the epochs without a better one, after which a finalist stops
_LEAST_PATIENCE = 8  # epochs
_BEHIND = 0.02  # of the training that the clock may be ahead, before it leads the learning rate
_FIRST_SHARES = 2.0  # times its share that a finalist may take for its first epoch
_SAVED = ("valid", "test", "curve", "best_epoch", "fit_s")


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
    began, best, judging_s = time.monotonic(), (math.inf, math.inf), 0.0
    shares = (len(test) + len(course.valid[0])) / len(course.valid[0])  # of the judging that comes after an epoch
    curve: list[tuple[float, float]] = []
    part = Individuals(course.space, [genotype], seed=course.seed, device=course.device)
    module: nn.Module | None = None
    predicted, best_epoch = torch.zeros(0), 0
    for epoch in range(epochs):
        pairs = batches(*course.train, course.batch_of(genotype), len(course.train[0]), course.seed, epoch)
        losses: list[Tensor] = []
        for index, (x, y) in enumerate(pairs):
            spent = (time.monotonic() - began + shares * judging_s) / max(share_s, 1e-9)
            if course.stopped():
                return None
            if spent >= 1 and (epoch or (losses and spent >= _FIRST_SHARES)):
                break
            done = (epoch + index / len(pairs)) / epochs
            losses.append(part.train([(x, y, _rate(min(spent, 0.99) if spent > done + _BEHIND else done))]))
        if not losses:
            break
        judged_at = time.monotonic()
        valid_loss = float(part.evaluate(*course.valid)[0])
        if bool(part.failed.any()):
            break
        curve.append((float(torch.cat(losses).mean()), valid_loss))
        now = outputs(part, course.valid[0])[0]
        judged, judging_s = course.judge(now), time.monotonic() - judged_at
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


def as_saved(name: str, genotype: Genotype, finalist: Finalist | None) -> dict[str, Any]:
    """A finalist for a checkpoint, whose `own` tells that this job trained it; without weights where it failed."""
    saved: dict[str, Any] = {"name": name, "genotype": genotype, "own": True, "weights": None}
    if finalist is None:
        return saved
    saved["weights"] = finalist.module.state_dict()
    return saved | {key: getattr(finalist, key) for key in _SAVED}


def restored(space: AnySpace, saved: dict[str, Any]) -> Finalist:
    """The finalist that `as_saved` took down."""
    genotype = tuple(saved["genotype"])
    module = build(space, genotype, seed=0)
    module.load_state_dict(saved["weights"])
    kept = {key: saved[key] for key in _SAVED}
    return Finalist(name=saved["name"], design=space.decode(genotype), module=module.eval(), **kept)


@torch.no_grad()
def predict(module: nn.Module, x: Tensor) -> Tensor:
    """Outputs of a trained module on the processor."""
    return torch.cat([module(piece) for piece in x.cpu().split(512)])


def _rate(done: float) -> float:
    return min(1.0, done / _WARM_UP + 0.05) * 0.5 * (1 + math.cos(math.pi * done))
