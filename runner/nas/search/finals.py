"""The finalists: chosen, each trained in full, kept as it was after its best epoch, and reported."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from core.events import Event, Message, Progress
from runner.nas.search.ladder import Course, rungs
from runner.nas.search.study import SEARCH_SHARE, Run
from runner.nas.search.trace import Entry
from runner.nas.space.networks import build
from runner.nas.space.spaces import AnySpace, Design, Genotype
from runner.nas.training.batches import batch_size, batches
from runner.nas.training.individuals import Individuals
from runner.nas.training.train import outputs

_FEW_EPOCHS = 3  # after fewer a finalist has hardly learned anything, and the user is told
_ENOUGH_EPOCHS = 15  # that a finalist should have time for, even if later ones have less or none
_REPORT_S, _REPORT_SHARE = 4.0, 0.1  # what reporting the first finalist is thought to take, and of the budget at most
_WARM_UP = 0.05  # of the training, in which the learning rate rises
_PATIENCE = 0.35  # of the epochs without a better one, after which a finalist stops
_LEAST_PATIENCE = 8  # epochs
_BEHIND = 0.02  # of the training that the clock may be ahead, before it leads the learning rate
_FIRST_SHARES = 2.0  # times its share that a finalist may take for its first epoch
_SAVED = ("valid", "test", "curve", "best_epoch", "fit_s")


class NothingTrained(RuntimeError):
    """Not one candidate could be trained, told in a sentence for the user."""


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


Report = Callable[[Finalist], Iterator[Event]]


def finals(run: Run, report: Report) -> Iterator[Event]:
    """Report the finalists that this job has trained, and train the other best candidates in full.

    Those of jobs that it continues stand on the leaderboard already: the best others are trained. Where none of these
    can be trained, the next best ones are tried. Raises NothingTrained where not one can be trained.
    """
    ranked = _ranked(run)
    known = {saved["name"] for saved in run.trace.finals}
    missing = [entry for entry in ranked[: run.settings.finalists] if entry.name not in known]
    spare = [entry for entry in ranked[run.settings.finalists :] if entry.name not in known]
    report_s, n_done = min(_REPORT_S, _REPORT_SHARE * run.settings.budget_s), 0
    for saved in _trained(run, own=True):
        report_s, n_done = (yield from _reported(run, saved, report)), n_done + 1
    # One network that has learned all it can is worth more than three that have not.
    enough_s = min(_ENOUGH_EPOCHS, run.settings.epochs or _ENOUGH_EPOCHS) * _least_s(run)
    for number, entry in enumerate([*missing, *spare]):
        if n_done and number >= len(missing):
            break
        n_left = max(1, len(missing) - number)
        share_s = min(run.left_s - report_s, max(run.left_s / n_left - report_s, enough_s))
        if n_done and share_s < max(_least_s(run), enough_s / 3):
            yield Message(f"The time is up: finalists left untrained: {n_left}.", "warning")
            break
        yield _progress(run, number, len(missing))
        made = yield from _finalist(run, entry, share_s)
        if run.stopping():
            return
        if made is not None:
            report_s, n_done = (yield from _reported(run, made, report)), n_done + 1
    if not n_done:
        _nothing(run)
    yield from _compared(run)
    yield Progress(1.0, "Done", 0.0)


def _ranked(run: Run) -> list[Entry]:
    """The candidates that may become finalists of this job, best first."""
    theirs = {saved["name"] for saved in run.trace.finals if saved["by"]}
    good = [e for e in run.trace.evaluated if math.isfinite(e.told or 0.0) and run.admits(e.size, e.latency_s)]
    return sorted((e for e in good if e.name not in theirs), key=lambda e: (e.told, e.name))


def _trained(run: Run, *, own: bool) -> list[dict[str, Any]]:
    """The finalists that this job, or those that it continues, could train."""
    return [saved for saved in run.trace.finals if saved["weights"] is not None and (saved["by"] is None) == own]


def _progress(run: Run, number: int, count: int) -> Progress:
    count = max(count, number + 1)
    fraction = SEARCH_SHARE + (1 - SEARCH_SHARE) * number / count
    return Progress(fraction, f"Training finalist {number + 1} of {count}", max(run.left_s, 0.0))


def _finalist(run: Run, entry: Entry, share_s: float) -> Generator[Event, None, dict[str, Any] | None]:
    """Train one finalist and write the checkpoint; None where it failed or the job was stopped."""
    epochs, course = run.settings.epochs or _epochs(run, share_s), run.course(final=True)
    finalist = finish(course, entry.name, entry.genotype, run.data.test[0], epochs=epochs, share_s=share_s)
    if run.stopping():
        return None
    saved = as_saved(entry.name, entry.genotype, finalist)
    run.trace.finals.append(saved)
    run.save()
    if finalist is None:
        yield Message(f"{entry.name} failed in its full training and is left out.", "warning")
        return None
    done, few = len(finalist.curve), len(finalist.curve) < _FEW_EPOCHS
    if done < epochs and finalist.fit_s >= 0.9 * share_s and (few or run.settings.epochs):
        told = f"{entry.name} was trained for {done} of {epochs} epochs: the time was up."
        yield Message(f"{told} Give the search more time." if few else told, "warning" if few else "info")
    return saved


def _reported(run: Run, saved: dict[str, Any], report: Report) -> Generator[Event, None, float]:
    """Report one finalist and note that in the checkpoint; returns the seconds that the report took."""
    began = time.monotonic()
    yield from report(restored(run.data.space, saved))
    took_s = time.monotonic() - began
    saved["reported"] = True
    run.save()
    return took_s


def _compared(run: Run) -> Iterator[Event]:
    """Say so where no finalist of this job is better than the best one of the jobs that it continues."""

    def error(saved: dict[str, Any]) -> float:
        found = run.judge.error(saved["valid"])
        return math.inf if math.isnan(found) else found

    old, new = (min(_trained(run, own=own), key=error, default=None) for own in (False, True))
    if old is None or new is None or error(old) > error(new):
        return
    old_value, new_value = (run.judge.value(error(saved)) for saved in (old, new))
    yield Message(
        f"{old['name']}, a finalist of {old['by']}, still leads: {run.trace.identity.get('metric', 'its value')} "
        f"{old_value:.4g} on the valid rows. The best new finalist, {new['name']}, has {new_value:.4g}."
    )


def _nothing(run: Run) -> None:
    """Say why not one candidate could be trained."""
    count, limit_s = len(run.trace.evaluated), run.settings.max_latency_s
    if not count and limit_s is not None:
        raise run.latencies.error(limit_s)
    if not count:
        raise NothingTrained("Not one candidate could be trained: none is within the limits.")
    if theirs := _trained(run, own=False):
        raise NothingTrained(
            f"No further candidate could be trained; what {theirs[-1]['by']} has found stays on the leaderboard."
        )
    raise NothingTrained(
        f"Of {count:,} {'candidate' if count == 1 else 'candidates'} none could be trained: losses are no numbers."
    )


def _least_s(run: Run) -> float:
    return run.trace.epoch_s * run.n_rows / run.trace.rows


def _epochs(run: Run, share_s: float) -> int:
    """As many epochs as the time allows, within reason."""
    most = (100 if run.n_rows < 12_000 else 40) * rungs(run.n_rows, batch_size(run.n_rows))[0]
    return max(3, min(most, int(share_s / _least_s(run))))


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
    """A finalist for a checkpoint; without weights where it failed.

    `by` names the job that trained it, None being this one; `reported` tells that it stands on the leaderboard.
    """
    saved: dict[str, Any] = {"name": name, "genotype": genotype, "by": None, "reported": False, "weights": None}
    if finalist is None:
        return saved
    saved["weights"] = finalist.module.state_dict()
    return saved | {key: getattr(finalist, key) for key in _SAVED}


def unreported(finalists: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The saved finalists for another attempt of the same job, which reports its own once more."""
    return [saved | {"reported": saved["by"] is not None} for saved in finalists]


def inherited(finalists: list[dict[str, Any]], parent: str, epochs: int | None) -> list[dict[str, Any]]:
    """The saved finalists of the job `parent` for one that continues it, whose finalists have so many `epochs`.

    What the parent had no time to report is the new job's to report. What it had time to train for an epoch or two
    only is left out, so that it is trained again.
    """
    few = min(_FEW_EPOCHS, epochs or _FEW_EPOCHS)
    kept = [saved for saved in finalists if saved["weights"] is None or len(saved["curve"]) >= few]
    return [
        saved | {"by": saved["by"] or (parent if saved["reported"] or saved["weights"] is None else None)}
        for saved in kept
    ]


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
