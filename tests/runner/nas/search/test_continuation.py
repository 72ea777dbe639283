"""A search that starts from another job, or from searches on other data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from runner.nas.search import search_state
from runner.nas.search.search import ContinuationError, NoNetworkError
from tests.runner.nas.searches import SETTINGS, Search, at, problem

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("short_epochs")]


@pytest.mark.parametrize("strategy", ["random", "gp"])
def test_another_job_continues_with_new_candidates_and_its_own_counts(
    finished: Search, strategy: str, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, strategy=strategy, max_candidates=4)
    second = Search(tmp_path / "b.pt", settings, continued=finished.checkpoint).run()
    state = search_state.load(tmp_path / "b.pt")
    assert (len(state.records), state.n_inherited, state.n_own) == (12, 8, 4)
    assert len({record.name for record in state.records}) == 12
    assert set(finished.errors) < set(second.errors)
    best = [m.value for m in second.metrics("best_valid")]
    assert best == sorted(best)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["gp", "reinforce", "evolution"])
def test_a_search_tries_the_best_of_searches_on_other_data_first(
    finished: Search, strategy: str, tmp_path: Path
) -> None:
    best = search_state.load(finished.checkpoint).best_genotypes(4)
    other = problem(60)
    settings = replace(SETTINGS, strategy=strategy, seed=7)
    warm = Search(tmp_path / "b.pt", settings, other, warm_starts=[finished.checkpoint]).run()
    names = [metric.candidate for metric in warm.metrics("n_parameters")]
    size = search_state.load(tmp_path / "b.pt").generation_size
    expected = [other.space.canonical_name(genotype) for genotype in best][:size]
    assert names[: len(expected)] == expected
    assert len(set(names)) == len(names) == 8
    assert warm.has_message("starts with 8 of the best candidates of other searches")


def test_a_search_of_another_kind_of_data_is_no_start(finished_path: Path, tmp_path: Path) -> None:
    state = search_state.load(finished_path)
    state.identity["space"] = "TextSpace()"
    search_state.save(state, tmp_path / "text.pt")
    state.identity["space"] = repr(problem().space)
    for record in state.records:
        record.genotype = (99, *record.genotype[1:])
    search_state.save(state, tmp_path / "large.pt")
    paths = [tmp_path / "text.pt", tmp_path / "large.pt"]
    search = Search(tmp_path / "b.pt", warm_starts=paths).run(at(0, 0))
    assert search.has_message("starts with 0 of the best")


@pytest.mark.slow
def test_a_continued_search_trains_the_best_that_no_job_has_trained(finished: Search, tmp_path: Path) -> None:
    second = Search(tmp_path / "b.pt", continued=finished.checkpoint, parent="job 7").run()
    third = Search(tmp_path / "c.pt", continued=tmp_path / "b.pt", parent="job 8").run()
    state, done = search_state.load(tmp_path / "c.pt"), set[str]()
    for search, n_records in ((finished, 8), (second, 16), (third, 24)):
        ranking = sorted(state.records[:n_records], key=lambda record: (record.strategy_error, record.name))
        rest = [record.name for record in ranking if record.name not in done]
        assert [finalist.name for finalist in search.finalists] == rest[:2]
        done |= {finalist.name for finalist in search.finalists}
    assert [saved["by"] for saved in state.finalists] == ["job 7", "job 7", "job 8", "job 8", None, None]


def test_an_attempt_of_a_continued_search_reports_its_own_finalists_again_and_no_other_job_s(
    finished_path: Path, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, max_candidates=4)
    second = Search(tmp_path / "b.pt", settings, continued=finished_path).run()
    again = Search(tmp_path / "c.pt", settings, previous=tmp_path / "b.pt").run()
    assert [f.name for f in again.finalists] == [f.name for f in second.finalists]
    assert len(second.finalists) == 2


def test_a_finalist_that_the_other_job_could_not_report_is_reported_by_the_next(
    finished_path: Path, tmp_path: Path
) -> None:
    state = search_state.load(finished_path)
    state.finalists = [state.finalists[0] | {"reported": False}]  # killed before it reported its first finalist
    search_state.save(state, tmp_path / "a.pt")
    settings = replace(SETTINGS, max_candidates=4)
    second = Search(tmp_path / "b.pt", settings, continued=tmp_path / "a.pt", parent="job 7").run()
    assert second.finalists[0].fit_s == state.finalists[0]["fit_s"]
    assert not second.has_message("a finalist of job 7")


def test_a_finalist_that_had_no_time_to_learn_is_trained_again_by_the_next_job(tmp_path: Path) -> None:
    first = Search(tmp_path / "a.pt", replace(SETTINGS, epochs=1, max_candidates=4)).run()
    longer = replace(SETTINGS, epochs=4, max_candidates=0)
    second = Search(tmp_path / "b.pt", longer, continued=tmp_path / "a.pt").run()
    assert {f.name for f in first.finalists} == {f.name for f in second.finalists}
    assert all(len(f.curve) == 4 for f in second.finalists)


@pytest.mark.slow
@pytest.mark.parametrize("better", [True, False])
def test_the_log_names_the_job_whose_finalist_still_leads(finished_path: Path, better: bool, tmp_path: Path) -> None:
    state = search_state.load(finished_path)
    for saved in state.finalists:  # right, or wrong, about every validation row
        y = problem().valid[1] if better else 1 - problem().valid[1]
        saved["valid"] = torch.nn.functional.one_hot(y, 2).double()
    search_state.save(state, tmp_path / "a.pt")
    second = Search(tmp_path / "b.pt", continued=tmp_path / "a.pt", parent="job 7").run()
    assert second.has_message("a finalist of job 7, still leads: accuracy 1 on the validation set") == better
    assert len(second.finalists) == 2


def test_a_job_that_has_nothing_more_to_train_says_whose_finalists_stay(tmp_path: Path) -> None:
    everything = replace(SETTINGS, max_candidates=4, finalists=4)
    Search(tmp_path / "a.pt", everything).run()
    with pytest.raises(NoNetworkError, match="The finalists of job 7 stay on the leaderboard"):
        Search(
            tmp_path / "b.pt", replace(everything, max_candidates=0), continued=tmp_path / "a.pt", parent="job 7"
        ).run()


def test_a_search_of_other_data_or_limits_cannot_be_continued(finished_path: Path, tmp_path: Path) -> None:
    state = search_state.load(finished_path)
    state.identity["dataset"] = "xyz"
    search_state.save(state, tmp_path / "other.pt")
    with pytest.raises(ContinuationError, match="another dataset"):
        Search(tmp_path / "b.pt", continued=tmp_path / "other.pt").run()
    limited = replace(SETTINGS, max_parameters=100)
    with pytest.raises(ContinuationError, match="another space"):
        Search(tmp_path / "b.pt", limited, continued=finished_path).run()
