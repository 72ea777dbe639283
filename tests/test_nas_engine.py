"""The life of a search on plain tensors: killed, paused, continued, within its limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from core.events import Architecture, Event, Message, Metric
from runner.nas.search import finalists, search_state
from runner.nas.search.finalist_training import Finalist
from runner.nas.search.search import ContinuationError, NoNetworkError, Objective, SearchData, Settings, search
from runner.nas.search.strategies import STRATEGIES
from runner.nas.space.layer_summary import layers
from runner.nas.space.limits import LimitError
from runner.nas.space.networks import build
from runner.nas.space.spaces import TableSpace

SETTINGS = Settings("random", 3, 1e4, 8, 2, 2)
IDENTITY = {"dataset": "abc", "metric": "accuracy"}


class Killed(BaseException):
    """The end of the process, as far as the search can tell."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread, and no longer training for data of few rows."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr("runner.nas.search.halving._MINIMUM_STEPS", 1)
    monkeypatch.setattr("runner.nas.search.halving._SHORT_STEPS", 1)
    yield
    torch.set_num_threads(before)


def problem(n_valid: int = 80) -> SearchData:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(280 + n_valid, 5, generator=generator)
    y = ((x[:, 0] * x[:, 1] + x[:, 2]) > 0).long()
    parts = [(x[low:high], y[low:high]) for low, high in ((0, 200), (200, 200 + n_valid), (200 + n_valid, len(x)))]
    return SearchData(TableSpace(5, (), 2, widths=(8, 16), batches=(16, 32)), *parts)


class Search:
    """One search: its events as they come, and its finalists."""

    def __init__(
        self, checkpoint: Path, settings: Settings = SETTINGS, data: SearchData | None = None, **more: Any
    ) -> None:
        self.events: list[Event] = []
        self.finalists: list[Finalist] = []
        self.judged: list[int] = []
        self.data, self.checkpoint = data or problem(), checkpoint
        self._events = search(
            self.data, settings, Objective(self._error, lambda error: 1 - error), self._report, checkpoint,
            identity=IDENTITY, **more,
        )  # fmt: skip

    def run(self, until: Callable[[search_state.SearchState], bool] | None = None) -> Search:
        """To the end, or until the checkpoint is as wanted: then it is gone, as a killed process is."""
        for event in self._events:
            self.events.append(event)
            if until is not None and self.checkpoint.exists() and until(search_state.load(self.checkpoint)):
                self._events.close()  # type: ignore[attr-defined]
                return self
        assert until is None, "the checkpoint never was as wanted"
        return self

    @property
    def errors(self) -> list[tuple[str, int, float]]:
        """Valid errors of all candidates, exactly."""
        return sorted((str(m.candidate), m.step, m.value) for m in self.metrics("valid_error"))

    def metrics(self, name: str) -> list[Metric]:
        return [event for event in self.events if isinstance(event, Metric) and event.name == name]

    def said(self, text: str) -> bool:
        return any(text in event.text for event in self.events if isinstance(event, Message))

    def _error(self, outputs: torch.Tensor, rows: torch.Tensor | None = None) -> float:
        y = self.data.valid[1] if rows is None else self.data.valid[1][rows]
        self.judged.append(len(outputs))
        return float((outputs.argmax(1) != y).float().mean())

    def _report(self, finalist: Finalist) -> Iterator[Event]:
        self.finalists.append(finalist)
        yield Message(f"finalist {finalist.name}")


def at(n_entries: int, rungs: int | None, finalists: int = 0) -> Callable[[search_state.SearchState], bool]:
    def reached(state: search_state.SearchState) -> bool:
        climb = None if state.generation is None else state.generation.rungs
        return (len(state.records), climb, len(state.finalists)) == (n_entries, rungs, finalists)

    return reached


def from_the_start(saved: Path, path: Path) -> Path:
    """A checkpoint as it was before the first candidate: the ways to train are timed, and nothing is done."""
    state = search_state.load(saved)
    kept = {name: getattr(state, name) for name in ("generation_size", "epoch_rows", "epoch_s", "plans", "identity")}
    search_state.save(search_state.SearchState(**kept), path)
    return path


def same(one: Search, other: Search) -> None:
    assert one.errors == other.errors
    for name in ("best_valid", "n_parameters"):
        assert sorted(map(repr, one.metrics(name))) == sorted(map(repr, other.metrics(name)))
    assert [f.name for f in one.finalists] == [f.name for f in other.finalists]
    for a, b in zip(one.finalists, other.finalists, strict=True):
        assert a.curve == b.curve
        assert torch.equal(a.test, b.test)
        assert all(map(torch.equal, a.module.state_dict().values(), b.module.state_dict().values()))


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
        same(ended, whole)
        checkpoint = later


@pytest.mark.slow
def test_a_finished_finalist_is_reported_again_and_not_trained_again(tmp_path: Path) -> None:
    first = Search(tmp_path / "a.pt").run(at(8, None, 1))
    after = Search(tmp_path / "b.pt", previous=tmp_path / "a.pt").run()
    assert after.finalists[0].fit_s == search_state.load(tmp_path / "a.pt").finalists[0]["fit_s"]
    assert len(after.finalists) == 2
    assert len(first.finalists) <= 1


def test_a_paused_search_stops_at_once_and_goes_on_with_more_candidates(tmp_path: Path) -> None:
    calls = iter(range(1_000))
    paused = Search(tmp_path / "a.pt", is_paused=lambda: next(calls) > 60).run()
    assert paused.said("The search is paused after")
    assert paused.finalists == []
    saved = search_state.load(tmp_path / "a.pt")
    assert saved.spent_s > 0
    more = Search(tmp_path / "b.pt", replace(SETTINGS, max_candidates=12), previous=tmp_path / "a.pt").run()
    assert len(more.metrics("n_parameters")) == len({m.candidate for m in more.metrics("n_parameters")}) == 12
    assert search_state.load(tmp_path / "b.pt").spent_s > saved.spent_s
    again = Search(tmp_path / "c.pt", replace(SETTINGS, max_candidates=16), previous=tmp_path / "b.pt").run()
    assert len(again.metrics("n_parameters")) == 16
    assert {f.name for f in more.finalists} <= {f.name for f in again.finalists}


@pytest.mark.parametrize("strategy", ["random", "gp"])
def test_another_job_continues_with_new_candidates_and_its_own_counts(strategy: str, tmp_path: Path) -> None:
    first = Search(tmp_path / "a.pt").run()
    settings = replace(SETTINGS, strategy=strategy, max_candidates=4)
    second = Search(tmp_path / "b.pt", settings, continued=tmp_path / "a.pt").run()
    state = search_state.load(tmp_path / "b.pt")
    assert (len(state.records), state.n_inherited, state.n_own) == (12, 8, 4)
    assert len({entry.name for entry in state.records}) == 12
    assert set(first.errors) < set(second.errors)
    best = [m.value for m in second.metrics("best_valid")]
    assert best == sorted(best)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["gp", "reinforce", "evolution"])
def test_a_search_tries_the_best_of_searches_on_other_data_first(strategy: str, tmp_path: Path) -> None:
    Search(tmp_path / "a.pt").run()
    best = search_state.load(tmp_path / "a.pt").best_genotypes(4)
    other = problem(60)
    settings = replace(SETTINGS, strategy=strategy, seed=7)
    warm = Search(tmp_path / "b.pt", settings, other, warm_starts=[tmp_path / "a.pt"]).run()
    names = [metric.candidate for metric in warm.metrics("n_parameters")]
    size = search_state.load(tmp_path / "b.pt").generation_size
    wanted = [other.space.canonical_name(genotype) for genotype in best][:size]
    assert names[: len(wanted)] == wanted
    assert len(set(names)) == len(names) == 8
    assert warm.said("starts with 8 of the best candidates of other searches")


def test_a_search_of_another_kind_of_data_is_no_start(tmp_path: Path) -> None:
    Search(tmp_path / "a.pt").run()
    state = search_state.load(tmp_path / "a.pt")
    state.identity["space"] = "TextSpace()"
    search_state.save(state, tmp_path / "text.pt")
    state.identity["space"] = repr(problem().space)
    for entry in state.records:
        entry.genotype = (99, *entry.genotype[1:])
    search_state.save(state, tmp_path / "large.pt")
    paths = [tmp_path / "text.pt", tmp_path / "large.pt"]
    assert Search(tmp_path / "b.pt", warm_starts=paths).run().said("starts with 0 of the best")


@pytest.mark.slow
def test_a_continued_search_trains_the_best_that_no_job_has_trained(tmp_path: Path) -> None:
    first = Search(tmp_path / "a.pt").run()
    second = Search(tmp_path / "b.pt", continued=tmp_path / "a.pt", parent="job 7").run()
    third = Search(tmp_path / "c.pt", continued=tmp_path / "b.pt", parent="job 8").run()
    state, done = search_state.load(tmp_path / "c.pt"), set[str]()
    for found, n_known in ((first, 8), (second, 16), (third, 24)):
        ranked = sorted(state.records[:n_known], key=lambda entry: (entry.strategy_error, entry.name))
        left = [entry.name for entry in ranked if entry.name not in done]
        assert [finalist.name for finalist in found.finalists] == left[:2]
        done |= {finalist.name for finalist in found.finalists}
    assert [saved["by"] for saved in state.finalists] == ["job 7", "job 7", "job 8", "job 8", None, None]


def test_an_attempt_of_a_continued_search_reports_its_own_finalists_again_and_no_other_job_s(tmp_path: Path) -> None:
    Search(tmp_path / "a.pt").run()
    second = Search(tmp_path / "b.pt", continued=tmp_path / "a.pt").run()
    again = Search(tmp_path / "c.pt", previous=tmp_path / "b.pt").run()
    assert [f.name for f in again.finalists] == [f.name for f in second.finalists]


def test_a_finalist_that_the_other_job_could_not_report_is_reported_by_the_next(tmp_path: Path) -> None:
    Search(tmp_path / "a.pt").run(at(8, None, 1))  # the checkpoint has it, and nobody was told
    saved = search_state.load(tmp_path / "a.pt").finalists[0]
    second = Search(tmp_path / "b.pt", continued=tmp_path / "a.pt", parent="job 7").run()
    assert second.finalists[0].fit_s == saved["fit_s"]
    assert not second.said("a finalist of job 7")


def test_a_finalist_that_had_no_time_to_learn_is_trained_again_by_the_next_job(tmp_path: Path) -> None:
    first = Search(tmp_path / "a.pt", replace(SETTINGS, epochs=1)).run()
    longer = replace(SETTINGS, epochs=4, max_candidates=4)
    second = Search(tmp_path / "b.pt", longer, continued=tmp_path / "a.pt").run()
    assert {f.name for f in first.finalists} & {f.name for f in second.finalists}
    assert all(len(f.curve) == 4 for f in second.finalists)


@pytest.mark.slow
@pytest.mark.parametrize("better", [True, False])
def test_the_log_names_the_job_whose_finalist_still_leads(better: bool, tmp_path: Path) -> None:
    Search(tmp_path / "a.pt").run()
    state = search_state.load(tmp_path / "a.pt")
    for saved in state.finalists:  # right, or wrong, about every valid row
        y = problem().valid[1] if better else 1 - problem().valid[1]
        saved["valid"] = torch.nn.functional.one_hot(y, 2).double()
    search_state.save(state, tmp_path / "a.pt")
    second = Search(tmp_path / "b.pt", continued=tmp_path / "a.pt", parent="job 7").run()
    assert second.said("a finalist of job 7, still leads: accuracy 1 on the validation set") == better
    assert len(second.finalists) == 2


def test_where_the_best_candidates_cannot_be_trained_in_full_the_next_best_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, finish = list[str](), finalists.train_finalist

    def fails_at_first(course: Any, name: str, *args: Any, **more: Any) -> Finalist | None:
        tried.append(name)
        return finish(course, name, *args, **more) if len(tried) > 3 else None

    monkeypatch.setattr("runner.nas.search.finalists.train_finalist", fails_at_first)
    found = Search(tmp_path / "a.pt").run()
    ranked = sorted(search_state.load(tmp_path / "a.pt").records, key=lambda entry: (entry.strategy_error, entry.name))
    assert tried == [entry.name for entry in ranked[:4]]
    assert [finalist.name for finalist in found.finalists] == tried[3:]


def test_a_job_that_has_nothing_left_to_train_says_whose_finalists_stay(tmp_path: Path) -> None:
    everything = replace(SETTINGS, max_candidates=4, finalists=4)
    Search(tmp_path / "a.pt", everything).run()
    with pytest.raises(NoNetworkError, match="The finalists of job 7 stay on the leaderboard"):
        Search(
            tmp_path / "b.pt", replace(everything, max_candidates=0), continued=tmp_path / "a.pt", parent="job 7"
        ).run()


def test_a_search_of_other_data_or_limits_cannot_be_continued(tmp_path: Path) -> None:
    Search(tmp_path / "a.pt").run(at(0, 0))
    state = search_state.load(tmp_path / "a.pt")
    state.identity["dataset"] = "xyz"
    search_state.save(state, tmp_path / "other.pt")
    with pytest.raises(ContinuationError, match="another dataset"):
        Search(tmp_path / "b.pt", continued=tmp_path / "other.pt").run()
    limited = replace(SETTINGS, max_parameters=100)
    with pytest.raises(ContinuationError, match="another space"):
        Search(tmp_path / "b.pt", limited, continued=tmp_path / "a.pt").run()


@pytest.mark.slow
def test_candidate_epochs_are_never_more_than_the_budget(tmp_path: Path) -> None:
    settings = replace(SETTINGS, max_candidates=500, max_candidate_epochs=40)
    Search(tmp_path / "a.pt", settings).run()
    spent = search_state.load(tmp_path / "a.pt").own_epochs(200)
    assert 20 < spent <= 40
    Search(tmp_path / "b.pt", settings, continued=tmp_path / "a.pt").run()
    assert 20 < search_state.load(tmp_path / "b.pt").own_epochs(200) <= 40


def test_fewer_candidate_epochs_than_one_candidate_takes_are_warned_of_and_spent(tmp_path: Path) -> None:
    small = Search(tmp_path / "a.pt", replace(SETTINGS, max_candidate_epochs=7)).run()
    assert small.said("budget of 7 candidate-epochs is too small for one candidate")
    assert [step for _, step, _ in small.errors] == [1, 3, 7]
    assert len(small.finalists) == 1


def test_slower_networks_are_never_trained_and_the_latency_of_each_is_told(tmp_path: Path) -> None:
    every = Search(tmp_path / "a.pt").run(at(0, 1))
    measured = every.metrics("latency_s")
    assert len(measured) == 4
    assert all(0 < m.value < 1 for m in measured)
    with pytest.raises(LimitError, match=r"within 1e-06 ms; the fastest, mlp\(.*\), takes .* ms. Raise the limit"):
        Search(tmp_path / "b.pt", replace(SETTINGS, max_latency_s=1e-9)).run()
    limited = Search(tmp_path / "c.pt", replace(SETTINGS, max_latency_s=5.0)).run(at(0, 1))
    limited_by = max(m.value for m in limited.metrics("latency_s"))
    assert limited_by <= 5.0


def test_every_proposed_candidate_is_drawn(tmp_path: Path) -> None:
    found = Search(tmp_path / "a.pt").run(at(0, 1))
    drawn = {event.candidate: event.layers for event in found.events if isinstance(event, Architecture)}
    assert drawn.keys() == {str(m.candidate) for m in found.metrics("n_parameters")}
    entries = search_state.load(tmp_path / "a.pt").generation.records  # type: ignore[union-attr]
    space = found.data.space
    for entry in entries:
        network = build(space, entry.genotype)
        widths = [str(layer.linear.out_features) for layer in network.layers]  # type: ignore[union-attr]
        shown = [layer["out"] for layer in drawn[entry.name]]
        assert shown == ["5", *widths, "2"]
        assert drawn[entry.name] == layers(space, space.decode(entry.genotype))


def test_many_valid_rows_are_sampled_in_the_search_and_all_judge_a_finalist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.nas.search.study.VALID_ROWS", 50)
    found = Search(tmp_path / "a.pt", replace(SETTINGS, finalists=1, max_candidates=4)).run()
    assert set(found.judged) == {50, 80}
    assert found.finalists[0].valid.shape == (80, 2)


def test_candidates_of_other_batches_never_train_together(tmp_path: Path) -> None:
    Search(tmp_path / "a.pt", replace(SETTINGS, max_candidates=64)).run(at(0, 1))
    climb = search_state.load(tmp_path / "a.pt").generation
    assert climb is not None
    space = problem().space
    for part in climb.states:
        recipes = [space.decode(tuple(genotype)).recipe for genotype in part["genotypes"]]
        assert len({recipe.batch for recipe in recipes}) == 1
    assert len({space.decode(entry.genotype).recipe.batch for entry in climb.records}) == 2
