"""The finalists: choose them, train each in full, and report them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

from core.events import Event, Message, Progress
from runner.nas.search.finalist_training import FEW_EPOCHS, Finalist, from_dict, to_dict, train_finalist
from runner.nas.search.halving import rung_epochs
from runner.nas.search.search_state import CandidateRecord
from runner.nas.search.study import SEARCH_SHARE, Study
from runner.nas.training.batches import batch_size

_ENOUGH_EPOCHS = 15  # that a finalist should have time for, even at the cost of later ones
_REPORT_S, _REPORT_SHARE = 4.0, 0.1  # estimate for the first report, and its maximum share of the budget


class NoNetworkError(RuntimeError):
    """No candidate could be trained. `str(error)` is a sentence for the user."""


Report = Callable[[Finalist], Iterator[Event]]


def train_finalists(study: Study, report: Report) -> Iterator[Event]:
    """Report the finalists that this job has trained already, and train the other best candidates in full.

    Finalists of the jobs that it continues are on the leaderboard already: the best others are trained. Where none of
    these can be trained, the next best are tried. Raises NoNetworkError where none can be trained.
    """
    missing, spare = _split(study)
    report_s, n_done = min(_REPORT_S, _REPORT_SHARE * study.settings.budget_s), 0
    for saved in _trained_finalists(study, own=True):
        report_s, n_done = (yield from _report(study, saved, report)), n_done + 1
    # One network that has learned all it can is worth more than three that have not.
    enough_s = min(_ENOUGH_EPOCHS, study.settings.epochs or _ENOUGH_EPOCHS) * _epoch_s(study)
    for number, record in enumerate([*missing, *spare]):
        if n_done and number >= len(missing):
            break
        n_left = max(1, len(missing) - number)
        share_s = min(study.remaining_s - report_s, max(study.remaining_s / n_left - report_s, enough_s))
        if n_done and share_s < max(_epoch_s(study), enough_s / 3):
            yield Message(f"Time ran out: {n_left} finalist{'s' * (n_left > 1)} not trained.", "warning")
            break
        yield _progress(study, number, len(missing))
        trained = yield from _train(study, record, share_s)
        if study.must_stop():
            return
        if trained is not None:
            report_s, n_done = (yield from _report(study, trained, report)), n_done + 1
    if not n_done:
        raise _no_network(study)
    yield from _compare(study)
    yield Progress(1.0, "Done", 0.0)


def _split(study: Study) -> tuple[list[CandidateRecord], list[CandidateRecord]]:
    """Return the finalists that are still to be trained, and the candidates that may replace them, best first."""
    inherited = {saved["name"] for saved in study.state.finalists if saved["by"]}
    finite = [r for r in study.state.evaluations if math.isfinite(r.strategy_error or 0.0)]
    candidates = [r for r in finite if study.admits(r.size, r.latency_s) and r.name not in inherited]
    ranking = sorted(candidates, key=lambda r: (r.strategy_error, r.name))
    saved_names = {saved["name"] for saved in study.state.finalists}
    first, rest = ranking[: study.settings.finalists], ranking[study.settings.finalists :]
    return [r for r in first if r.name not in saved_names], [r for r in rest if r.name not in saved_names]


def _trained_finalists(study: Study, *, own: bool) -> list[dict[str, Any]]:
    """Return the finalists that this job could train, or else those of the jobs that it continues."""
    return [saved for saved in study.state.finalists if saved["weights"] is not None and (saved["by"] is None) == own]


def _progress(study: Study, number: int, count: int) -> Progress:
    count = max(count, number + 1)
    fraction = SEARCH_SHARE + (1 - SEARCH_SHARE) * number / count
    return Progress(fraction, f"Training finalist {number + 1} of {count}", max(study.remaining_s, 0.0))


def _train(study: Study, record: CandidateRecord, share_s: float) -> Generator[Event, None, dict[str, Any] | None]:
    """Train one finalist and write the checkpoint; return None where it failed or the job was stopped."""
    epochs, regime = study.settings.epochs or _affordable_epochs(study, share_s), study.regime(final=True)
    test = study.data.test[0]
    finalist = train_finalist(regime, record.name, record.genotype, test, epochs=epochs, share_s=share_s)
    if study.must_stop():
        return None
    saved = to_dict(record.name, record.genotype, finalist)
    study.state.finalists.append(saved)
    study.save()
    if finalist is None:
        yield Message(f"{record.name} failed in its full training and is left out.", "warning")
        return None
    done, few = len(finalist.curve), len(finalist.curve) < FEW_EPOCHS
    if done < epochs and finalist.fit_s >= 0.9 * share_s and (few or study.settings.epochs):
        text = f"{record.name} was trained for {done} of {epochs} epochs: the time was up."
        yield Message(f"{text} Give the search more time." if few else text, "warning" if few else "info")
    return saved


def _report(study: Study, saved: dict[str, Any], report: Report) -> Generator[Event, None, float]:
    """Report one finalist, and note that in the checkpoint; return the seconds that the report took."""
    began = time.monotonic()
    yield from report(from_dict(study.data.space, saved))
    duration_s = time.monotonic() - began
    saved["reported"] = True
    study.save()
    return duration_s


def _compare(study: Study) -> Iterator[Event]:
    """Yield a message where no finalist of this job is better than the best one of the jobs that it continues."""

    def error(saved: dict[str, Any]) -> float:
        value = study.objective.error(saved["valid"])
        return math.inf if math.isnan(value) else value

    old, new = (min(_trained_finalists(study, own=own), key=error, default=None) for own in (False, True))
    if old is None or new is None or error(old) > error(new):
        return
    old_value, new_value = (study.objective.value(error(saved)) for saved in (old, new))
    yield Message(
        f"{old['name']}, a finalist of {old['by']}, still leads: {study.state.identity.get('metric', 'its score')} "
        f"{old_value:.4g} on the validation set. The best new finalist, {new['name']}, has {new_value:.4g}."
    )


def _no_network(study: Study) -> Exception:
    """Return the error that says why no candidate could be trained."""
    count, limit_s = len(study.state.evaluations), study.settings.max_latency_s
    if not count and limit_s is not None:
        return study.latencies.error(limit_s)
    if not count:
        return NoNetworkError("No candidate could be trained: none is within the limits.")
    if inherited := _trained_finalists(study, own=False):
        return NoNetworkError(
            f"No further candidate could be trained. The finalists of {inherited[-1]['by']} stay on the leaderboard."
        )
    candidates = f"{count:,} {'candidate' if count == 1 else 'candidates'}"
    return NoNetworkError(f"None of {candidates} could be trained: every loss is NaN or infinite.")


def _epoch_s(study: Study) -> float:
    """Return the seconds that an epoch of all train rows takes."""
    return study.state.epoch_s * study.n_rows / study.state.epoch_rows


def _affordable_epochs(study: Study, share_s: float) -> int:
    """Return as many epochs as the time allows, within reason."""
    maximum = (100 if study.n_rows < 12_000 else 40) * rung_epochs(study.n_rows, batch_size(study.n_rows))[0]
    return max(3, min(maximum, int(share_s / _epoch_s(study))))
