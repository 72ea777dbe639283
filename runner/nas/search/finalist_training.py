"""The full training of one finalist, and its form in a checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from runner.nas.search.training_regime import TrainingRegime
from runner.nas.space.designs import Design
from runner.nas.space.networks import build
from runner.nas.space.spaces import AnySpace, Genotype
from runner.nas.training.batches import Pair, batches
from runner.nas.training.sequential_population import SequentialPopulation
from runner.nas.training.training_loop import outputs

FEW_EPOCHS = 3  # a finalist with fewer has hardly learned anything
_WARM_UP = 0.05  # part of the training in which the learning rate rises
_PATIENCE = 0.35  # part of the epochs without improvement after which the training ends
_MINIMUM_PATIENCE = 8  # epochs
_LATENESS = 0.02  # part of the training by which the clock may be ahead before it sets the learning rate
_FIRST_SHARES = 2.0  # shares of time that the first epoch may take
_SAVED = ("valid", "test", "curve", "best_epoch", "fit_s")


@dataclass(frozen=True, slots=True)
class Finalist:
    """A trained network with its outputs on the validation and test rows; `curve` has (train loss, validation loss)."""

    name: str
    design: Design
    module: nn.Module
    valid: Tensor
    test: Tensor
    curve: tuple[tuple[float, float], ...]
    best_epoch: int
    fit_s: float


def train_finalist(
    regime: TrainingRegime, name: str, genotype: Genotype, test: Tensor, *, epochs: int, share_s: float
) -> Finalist | None:
    """Train one candidate for at most `epochs` and `share_s` seconds; return None where it failed or was stopped.

    The network is the one after its best epoch. The learning rate falls along a half cosine, faster where time is
    short. The first epoch may take twice the time.
    """
    training = _Training(regime, genotype, len(test), epochs, share_s)
    for epoch in range(epochs):
        losses = training.train_epoch(epoch)
        if losses is None:
            return None
        if not losses or not training.evaluate(torch.cat(losses)) or training.is_stagnant():
            break
    on_test = predict(training.module, test) if training.module is not None else torch.full((), math.nan)
    if training.module is None or not bool(on_test.isfinite().all()):
        return None
    design, fit_s = regime.space.decode(genotype), time.monotonic() - training.start
    curve = tuple(training.curve)
    return Finalist(name, design, training.module, training.outputs, on_test, curve, training.best_epoch, fit_s)


class _Training:
    """The training of a finalist, with its best network so far."""

    def __init__(self, regime: TrainingRegime, genotype: Genotype, test_rows: int, epochs: int, share_s: float) -> None:
        self.regime, self.genotype, self.epochs, self.share_s = regime, genotype, epochs, share_s
        self.start, self.evaluation_s = time.monotonic(), 0.0
        # After an epoch come the evaluation on the validation rows and, in the end, the prediction of the test rows.
        self.evaluations = (test_rows + len(regime.valid[0])) / len(regime.valid[0])
        self.population = SequentialPopulation(regime.space, [genotype], seed=regime.seed, device=regime.device)
        self.curve: list[tuple[float, float]] = []
        self.best, self.best_epoch = (math.inf, math.inf), 0
        self.module: nn.Module | None = None
        self.outputs = torch.zeros(0)

    def train_epoch(self, epoch: int) -> list[Tensor] | None:
        """Train one epoch, as far as the time reaches; return the losses of its steps, or None after a stop."""
        losses: list[Tensor] = []
        for batch, done in self._batches(epoch):
            spent = (time.monotonic() - self.start + self.evaluations * self.evaluation_s) / max(self.share_s, 1e-9)
            if self.regime.must_stop():
                return None
            if spent >= 1 and (epoch or (losses and spent >= _FIRST_SHARES)):
                break
            rate = _learning_rate_factor(min(spent, 0.99) if spent > done + _LATENESS else done)
            losses.append(self.population.train([(*batch, rate)]))
        return losses

    def evaluate(self, losses: Tensor) -> bool:
        """Evaluate the network after an epoch with these losses; return whether it still has finite weights."""
        began = time.monotonic()
        valid_loss = float(self.population.evaluate(*self.regime.valid)[0])
        if bool(self.population.failed.any()):
            return False
        self.curve.append((float(losses.mean()), valid_loss))
        predictions = outputs(self.population, self.regime.valid[0])[0]
        metric_error, self.evaluation_s = self.regime.metric_error(predictions), time.monotonic() - began
        # With few rows many errors are equal; where it is undefined, such as the AUC of one class, the loss decides.
        error = 0.0 if math.isnan(metric_error) else metric_error, valid_loss
        if error < self.best and not math.isinf(metric_error):
            self.best, self.best_epoch = error, len(self.curve)
            self.module, self.outputs = self.population.extract(0), predictions
        return True

    def is_stagnant(self) -> bool:
        """Return whether the last improvement is too many epochs ago."""
        return len(self.curve) - self.best_epoch >= max(_MINIMUM_PATIENCE, _PATIENCE * self.epochs)

    def _batches(self, epoch: int) -> Iterator[tuple[Pair, float]]:
        """Yield the batches of an epoch, each with the part of the training before it."""
        regime = self.regime
        pairs = batches(*regime.train, regime.batch_of(self.genotype), len(regime.train[0]), regime.seed, epoch)
        for index, pair in enumerate(pairs):
            yield pair, (epoch + index / len(pairs)) / self.epochs


@torch.no_grad()
def predict(module: nn.Module, x: Tensor) -> Tensor:
    """Return the outputs of a trained module, computed on the CPU."""
    return torch.cat([module(rows) for rows in x.cpu().split(512)])


def to_dict(name: str, genotype: Genotype, finalist: Finalist | None) -> dict[str, Any]:
    """Return a finalist's form in a checkpoint; it has no weights where the training failed.

    `by` names the job that trained it (None: this one); `reported` tells whether it is on the leaderboard.
    """
    saved: dict[str, Any] = {"name": name, "genotype": genotype, "by": None, "reported": False, "weights": None}
    if finalist is None:
        return saved
    saved["weights"] = finalist.module.state_dict()
    return saved | {key: getattr(finalist, key) for key in _SAVED}


def from_dict(space: AnySpace, saved: dict[str, Any]) -> Finalist:
    """Return the finalist out of its form in a checkpoint."""
    genotype = tuple(saved["genotype"])
    module = build(space, genotype, seed=0)
    module.load_state_dict(saved["weights"])
    values = {key: saved[key] for key in _SAVED}
    return Finalist(name=saved["name"], design=space.decode(genotype), module=module.eval(), **values)


def reset_reports(finalists: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the saved finalists for another attempt of the same job, which reports its own again."""
    return [saved | {"reported": saved["by"] is not None} for saved in finalists]


def inherit(finalists: list[dict[str, Any]], parent: str, epochs: int | None) -> list[dict[str, Any]]:
    """Return the saved finalists of the job `parent` for one that continues it and trains its own for `epochs`.

    The new job reports what the parent could not report. Finalists that had time for an epoch or two only are left
    out: the new job trains them again.
    """
    few = min(FEW_EPOCHS, epochs or FEW_EPOCHS)
    rest = [saved for saved in finalists if saved["weights"] is None or len(saved["curve"]) >= few]
    return [
        saved | {"by": saved["by"] or (parent if saved["reported"] or saved["weights"] is None else None)}
        for saved in rest
    ]


def _learning_rate_factor(done: float) -> float:
    return min(1.0, done / _WARM_UP + 0.05) * 0.5 * (1 + math.cos(math.pi * done))
