"""Searches on a small problem, which tests follow event by event, interrupt and continue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from core.events import Event, Message, Metric
from runner.nas.search import search_state
from runner.nas.search.finalist_training import Finalist
from runner.nas.search.search import Objective, Origin, SearchData, Settings, search
from runner.nas.search.search_state import SearchState
from runner.nas.space.spaces import TableSpace

SETTINGS = Settings("random", 3, 1e4, 8, 2, 2)
IDENTITY = {"dataset": "abc", "metric": "accuracy"}


def shorten_epochs(patch: pytest.MonkeyPatch) -> None:
    """Make no epochs longer because a dataset has few rows."""
    patch.setattr("runner.nas.search.halving._MINIMUM_STEPS", 1)
    patch.setattr("runner.nas.search.halving._SHORT_STEPS", 1)


def problem(n_valid: int = 80, n_train: int = 100, space: TableSpace | None = None) -> SearchData:
    """Five numbers and two classes: an interaction and a threshold."""
    ends = (0, n_train, n_train + n_valid, n_train + n_valid + 80)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ends[-1], 5, generator=generator)
    y = ((x[:, 0] * x[:, 1] + x[:, 2]) > 0).long()
    parts = [(x[low:high], y[low:high]) for low, high in pairwise(ends)]
    return SearchData(space or TableSpace(5, (), 2, widths=(8, 16), batches=(16, 32)), *parts)


class Search:
    """One search: its events as they come, and its finalists. `more` are the fields of Origin, and stops."""

    def __init__(
        self, checkpoint: Path, settings: Settings = SETTINGS, data: SearchData | None = None, **more: Any
    ) -> None:
        self.events: list[Event] = []
        self.finalists: list[Finalist] = []
        self.evaluated_rows: list[int] = []
        self.data, self.checkpoint = data or problem(), checkpoint
        names = {part.name for part in fields(Origin)}
        origin = Origin(identity=IDENTITY, **{name: value for name, value in more.items() if name in names})
        rest = {name: value for name, value in more.items() if name not in names}
        objective = Objective(self._error, lambda error: 1 - error)
        self._events = search(self.data, settings, objective, self._report, checkpoint, origin, **rest)

    def run(self, until: Callable[[SearchState], bool] | None = None) -> Search:
        """Run to the end, or until the checkpoint meets a condition: then the search is gone, like a killed process."""
        for event in self._events:
            self.events.append(event)
            if until is not None and self.checkpoint.exists() and until(search_state.load(self.checkpoint)):
                self._events.close()  # type: ignore[attr-defined]
                return self
        assert until is None, "the checkpoint never met the condition"
        return self

    @property
    def errors(self) -> list[tuple[str, int, float]]:
        """The validation errors of all candidates, exactly."""
        return sorted((str(m.candidate), m.step, m.value) for m in self.metrics("valid_error"))

    def metrics(self, name: str) -> list[Metric]:
        return [event for event in self.events if isinstance(event, Metric) and event.name == name]

    def has_message(self, text: str) -> bool:
        return any(text in event.text for event in self.events if isinstance(event, Message))

    def _error(self, outputs: torch.Tensor, rows: torch.Tensor | None = None) -> float:
        y = self.data.valid[1] if rows is None else self.data.valid[1][rows]
        self.evaluated_rows.append(len(outputs))
        return float((outputs.argmax(1) != y).float().mean())

    def _report(self, finalist: Finalist) -> Iterator[Event]:
        self.finalists.append(finalist)
        yield Message(f"finalist {finalist.name}")


def at(n_records: int, rungs: int | None, finalists: int = 0) -> Callable[[SearchState], bool]:
    """Return the condition that a checkpoint has so many candidates, rungs of the current generation, and finalists."""

    def is_reached(state: SearchState) -> bool:
        done = None if state.generation is None else state.generation.rungs
        return (len(state.records), done, len(state.finalists)) == (n_records, rungs, finalists)

    return is_reached


def from_the_start(saved: Path, path: Path) -> Path:
    """Write the checkpoint as it was before the first candidate, with the same training plans, which vary by timing."""
    state = search_state.load(saved)
    names = ("generation_size", "epoch_rows", "epoch_s", "plans", "identity")
    search_state.save(SearchState(**{name: getattr(state, name) for name in names}), path)
    return path


def assert_same(one: Search, other: Search) -> None:
    """Assert that two searches have the same errors and the same finalists, exactly."""
    assert one.errors == other.errors
    for name in ("best_valid", "n_parameters"):
        assert sorted(map(repr, one.metrics(name))) == sorted(map(repr, other.metrics(name)))
    assert [f.name for f in one.finalists] == [f.name for f in other.finalists]
    for a, b in zip(one.finalists, other.finalists, strict=True):
        assert a.curve == b.curve
        assert torch.equal(a.test, b.test)
        assert all(map(torch.equal, a.module.state_dict().values(), b.module.state_dict().values()))
