"""A search stays within its budget and its limits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runner.nas.search import search_state
from runner.nas.space.limits import LimitError, restrict
from runner.nas.space.spaces import TableSpace, TextSpace
from tests.runner.nas.searches import SETTINGS, Search, at, problem

pytestmark = pytest.mark.torch
short_epochs = pytest.mark.usefixtures("short_epochs")
DEFAULT_SPACE = TableSpace(5, (), 2)


@pytest.mark.slow
@short_epochs
def test_candidate_epochs_are_never_more_than_the_budget(tmp_path: Path) -> None:
    settings, data = replace(SETTINGS, max_candidates=500, max_candidate_epochs=40), problem(n_train=200)
    Search(tmp_path / "a.pt", settings, data).run()
    spent = search_state.load(tmp_path / "a.pt").own_epochs(200)
    assert 20 < spent <= 40
    Search(tmp_path / "b.pt", settings, data, continued=tmp_path / "a.pt").run()
    assert 20 < search_state.load(tmp_path / "b.pt").own_epochs(200) <= 40


@short_epochs
def test_fewer_candidate_epochs_than_one_candidate_takes_are_warned_of_and_spent(tmp_path: Path) -> None:
    small = Search(tmp_path / "a.pt", replace(SETTINGS, max_candidate_epochs=7)).run()
    assert small.has_message("budget of 7 candidate-epochs is too small for one candidate")
    assert [step for _, step, _ in small.errors] == [1, 3, 7]
    assert len(small.finalists) == 1


def test_a_budget_too_small_for_one_candidate_is_warned_of_and_trains_one(tmp_path: Path) -> None:
    small = Search(tmp_path / "a.pt", replace(SETTINGS, budget_s=1e-3)).run()
    assert small.has_message("too small for one candidate")
    assert len(small.finalists) == 1


def test_a_cancelled_search_stops_without_finalists(tmp_path: Path) -> None:
    calls = iter(range(10_000))
    cancelled = Search(tmp_path / "a.pt", is_cancelled=lambda: next(calls) > 40).run()
    assert cancelled.finalists == []
    assert next(calls) > 40


@short_epochs
def test_no_candidate_is_larger_than_the_limit(tmp_path: Path) -> None:
    settings = replace(SETTINGS, strategy="gp", max_parameters=3_000, epochs=1, finalists=3)
    found = Search(tmp_path / "a.pt", settings, problem(space=DEFAULT_SPACE)).run()
    sizes = [metric.value for metric in found.metrics("n_parameters")]
    assert len(sizes) == 8
    assert max(sizes) <= 3_000
    assert len(found.finalists) == 3


def test_a_limit_keeps_only_the_widths_that_can_meet_it() -> None:
    space = restrict(DEFAULT_SPACE, 3_000, 1)
    assert isinstance(space, TableSpace)
    assert space.widths == (32, 64, 128, 256)  # a single layer of 256 has 2,562 parameters
    narrow = restrict(TextSpace(5_000, 20, 2), 120_000, 1)
    assert isinstance(narrow, TextSpace)
    assert narrow.embeddings == (16,)
    with pytest.raises(ValueError, match="none has 10 parameters or fewer; the smallest has 322"):
        restrict(DEFAULT_SPACE, 10, 1)
    with pytest.raises(ValueError, match="none has 1 parameter or fewer"):
        restrict(DEFAULT_SPACE, 1, 1)


@short_epochs
def test_slower_networks_are_never_trained_and_the_latency_of_each_is_reported(tmp_path: Path) -> None:
    every = Search(tmp_path / "a.pt").run(at(0, 1))
    latencies = every.metrics("latency_s")
    assert len(latencies) == 4
    assert all(0 < m.value < 1 for m in latencies)
    with pytest.raises(LimitError, match=r"within 1e-06 ms; the fastest, mlp\(.*\), takes .* ms. Raise the limit"):
        Search(tmp_path / "b.pt", replace(SETTINGS, max_latency_s=1e-9)).run()
    limited = Search(tmp_path / "c.pt", replace(SETTINGS, max_latency_s=5.0)).run(at(0, 1))
    assert len(limited.metrics("latency_s")) == 4
    assert max(m.value for m in limited.metrics("latency_s")) <= 5.0


@short_epochs
def test_many_validation_rows_are_sampled_in_the_search_and_all_evaluate_a_finalist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.nas.search.study.VALID_ROWS", 50)
    found = Search(tmp_path / "a.pt", replace(SETTINGS, finalists=1, max_candidates=4)).run()
    assert set(found.evaluated_rows) == {50, 80}
    assert found.finalists[0].valid.shape == (80, 2)


@short_epochs
def test_candidates_of_different_batch_sizes_never_train_together(tmp_path: Path) -> None:
    Search(tmp_path / "a.pt", replace(SETTINGS, max_candidates=64)).run(at(0, 1))
    generation = search_state.load(tmp_path / "a.pt").generation
    assert generation is not None
    space = problem().space
    for part in generation.states:
        recipes = [space.decode(tuple(genotype)).recipe for genotype in part["genotypes"]]
        assert len({recipe.batch for recipe in recipes}) == 1
    assert len({space.decode(record.genotype).recipe.batch for record in generation.records}) == 2
