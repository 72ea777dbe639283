"""A search that is killed, paused or resumed goes on from its checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runner.nas.search import search_state
from runner.nas.search.strategies import STRATEGIES
from tests.runner.nas.searches import SETTINGS, Search, assert_same, at, from_the_start, problem

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("short_epochs")]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_search_killed_anywhere_ends_as_one_that_never_was(strategy: str, tmp_path: Path) -> None:
    settings = replace(SETTINGS, strategy=strategy)
    moments = [at(0, 0), at(0, 1), at(0, 2), at(4, 0), at(4, 1), at(4, 2), at(8, None), at(8, None, 1)]
    checkpoint = tmp_path / "0.pt"
    Search(checkpoint, settings).run(at(0, 0))
    whole = Search(tmp_path / "whole.pt", settings, previous=from_the_start(checkpoint, tmp_path / "start.pt")).run()
    assert len(whole.finalists) == 2
    for number, moment in enumerate(moments[1:], start=1):
        later = tmp_path / f"{number}.pt"
        Search(later, settings, previous=checkpoint).run(moment)
        ended = Search(tmp_path / "ended.pt", settings, previous=later).run()
        assert_same(ended, whole)
        checkpoint = later


def test_a_search_killed_in_its_second_generation_ends_as_one_that_never_was(tmp_path: Path) -> None:
    killed = tmp_path / "killed.pt"
    Search(killed).run(at(4, 1))
    whole = Search(tmp_path / "whole.pt", previous=from_the_start(killed, tmp_path / "start.pt")).run()
    assert_same(Search(tmp_path / "ended.pt", previous=killed).run(), whole)


@pytest.mark.slow
def test_a_finished_finalist_is_reported_again_and_not_trained_again(tmp_path: Path) -> None:
    first = Search(tmp_path / "a.pt").run(at(8, None, 1))
    after = Search(tmp_path / "b.pt", previous=tmp_path / "a.pt").run()
    assert after.finalists[0].fit_s == search_state.load(tmp_path / "a.pt").finalists[0]["fit_s"]
    assert len(after.finalists) == 2
    assert len(first.finalists) <= 1


def test_a_paused_search_stops_at_once_and_resumes_with_more_candidates(tmp_path: Path) -> None:
    calls = iter(range(1_000))
    paused = Search(tmp_path / "a.pt", is_paused=lambda: next(calls) > 60).run()
    assert paused.has_message("The search is paused after")
    assert paused.finalists == []
    saved = search_state.load(tmp_path / "a.pt")
    assert saved.spent_s > 0
    more = Search(tmp_path / "b.pt", replace(SETTINGS, max_candidates=12), previous=tmp_path / "a.pt").run()
    assert len(more.metrics("n_parameters")) == len({m.candidate for m in more.metrics("n_parameters")}) == 12
    assert search_state.load(tmp_path / "b.pt").spent_s > saved.spent_s


def test_a_finished_search_resumes_with_more_candidates(finished: Search, tmp_path: Path) -> None:
    again = Search(tmp_path / "b.pt", replace(SETTINGS, max_candidates=12), previous=finished.checkpoint).run()
    assert len(again.metrics("n_parameters")) == 12
    assert {f.name for f in finished.finalists} <= {f.name for f in again.finalists}


def test_a_checkpoint_of_the_last_version_resumes(tmp_path: Path) -> None:
    # Killed after the first rung of its second generation, on twice as many rows.
    saved = Path(__file__).parents[1] / "last_version" / "search.pt"
    state = search_state.load(saved)
    assert at(4, 1)(state)
    ended = Search(tmp_path / "a.pt", data=problem(n_train=200), previous=saved).run()
    assert {record.name for record in state.records} < {name for name, _, _ in ended.errors}
    assert len(ended.metrics("n_parameters")) == 8
    assert len(ended.finalists) == 2
