"""The finalists of a search, and what it reports about its candidates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from core.events import Architecture
from runner.nas.search import finalists, search_state
from runner.nas.search.finalist_training import Finalist
from runner.nas.search.search import Settings
from runner.nas.space.layer_summary import layers
from runner.nas.space.networks import build
from runner.nas.space.spaces import TableSpace
from tests.runner.nas.searches import Search, at, problem

pytestmark = pytest.mark.torch


@pytest.mark.slow
def test_a_finalist_learns_and_the_network_of_its_best_epoch_is_saved(tmp_path: Path) -> None:
    data = problem(n_train=200, space=TableSpace(5, (), 2))
    settings = Settings(seed=1, budget_s=1e4, max_candidates=8, finalists=1)
    [finalist] = Search(tmp_path / "a.pt", settings, data).run().finalists
    wrong = float((finalist.test.argmax(1) != data.test[1]).float().mean())
    assert wrong < 0.2
    with torch.no_grad():
        assert torch.equal(finalist.module(data.valid[0]), finalist.valid)
    assert 1 <= finalist.best_epoch <= len(finalist.curve)


def test_where_the_best_candidates_cannot_be_trained_in_full_the_next_best_are(
    finished_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, train_finalist = list[str](), finalists.train_finalist

    def fail_at_first(regime: Any, name: str, *args: Any, **more: Any) -> Finalist | None:
        tried.append(name)
        return train_finalist(regime, name, *args, **more) if len(tried) > 3 else None

    monkeypatch.setattr("runner.nas.search.finalists.train_finalist", fail_at_first)
    state = search_state.load(finished_path)
    state.finalists = []
    search_state.save(state, tmp_path / "a.pt")
    found = Search(tmp_path / "b.pt", previous=tmp_path / "a.pt").run()
    ranking = sorted(state.records, key=lambda record: (record.strategy_error, record.name))
    assert tried == [record.name for record in ranking[:4]]
    assert [finalist.name for finalist in found.finalists] == tried[3:]


@pytest.mark.usefixtures("short_epochs")
def test_the_layers_of_every_candidate_are_reported(tmp_path: Path) -> None:
    found = Search(tmp_path / "a.pt").run(at(0, 1))
    reported = {event.candidate: event.layers for event in found.events if isinstance(event, Architecture)}
    assert reported.keys() == {str(m.candidate) for m in found.metrics("n_parameters")}
    records = search_state.load(tmp_path / "a.pt").generation.records  # type: ignore[union-attr]
    space = found.data.space
    for record in records:
        network = build(space, record.genotype)
        widths = [str(layer.linear.out_features) for layer in network.layers]  # type: ignore[union-attr]
        shown = [layer["out"] for layer in reported[record.name]]
        assert shown == ["5", *widths, "2"]
        assert reported[record.name] == layers(space, space.decode(record.genotype))
