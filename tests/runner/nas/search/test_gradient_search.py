"""The gradient search: what is derived from a supernet's policy, and searches that have a policy."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from core.events import Event, Message, Metric, PolicyPoint
from runner.nas.search import search_state
from runner.nas.search.search import SearchData, Settings
from runner.nas.search.strategies import Candidate, make, supernet
from runner.nas.search.strategies.gradient import GradientSearch
from runner.nas.space.designs import CONVOLUTIONS, OPERATIONS
from runner.nas.space.spaces import AnySpace, ImageSpace, TableSpace
from tests.runner.nas.searches import Search
from tests.runner.nas.small_spaces import IMAGES, TABLES, every_space, never, rows

pytestmark = pytest.mark.torch


_PREPARED: dict[AnySpace, tuple[GradientSearch, list[Event]]] = {}


def prepared(space: AnySpace) -> tuple[GradientSearch, list[Event]]:
    """Return a strategy with a trained supernet, and the events of its training; each space is trained once."""
    if space not in _PREPARED:
        strategy = GradientSearch(space, 3, steps=20)
        _PREPARED[space] = strategy, list(strategy.prepare(rows(space, 200), "cpu", 1e6, never))
    return _PREPARED[space]


def with_policy(space: AnySpace, policy: dict[str, list[float]]) -> GradientSearch:
    """Return a strategy whose supernet has this policy."""
    strategy = GradientSearch(space, 0)
    strategy.load_state(strategy.state() | {"looks": [[1, 1.0, policy]], "prepared": True})
    return strategy


@every_space
def test_a_prepared_strategy_reports_its_loss_and_probabilities(space: AnySpace) -> None:
    strategy, events = prepared(space)
    losses = [event for event in events if isinstance(event, Metric) and event.name == "supernet_loss"]
    assert [event.step for event in losses] == list(range(1, 21))
    assert all(math.isfinite(event.value) for event in losses)
    points = [event for event in events if isinstance(event, PolicyPoint)]
    last = {(point.decision, point.option): point.probability for point in points if point.source == "supernet"}
    for decision, options in strategy.policy().items():
        assert sum(options.values()) == pytest.approx(1)
        assert options == {option: last[decision, option] for option in options}
        assert tuple(options) == dict(space.decisions)[decision]


@every_space
def test_a_prepared_strategy_that_is_saved_and_loaded_continues_without_training_again(
    space: AnySpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy, events = prepared(space)
    for candidate in strategy.ask(13):
        strategy.tell(candidate, space.size(candidate.genotype))
    other = make("gradient", space, 9)
    other.load_state(json.loads(json.dumps(strategy.state())))
    monkeypatch.setattr(supernet, "train_supernet", None)
    again = list(other.prepare(rows(space, 4), "cpu", 0.0, never))
    assert again == events[1:]  # without the message that it trains
    assert other.policy() == strategy.policy()
    assert other.ask(20) == strategy.ask(20)


def test_a_strategy_that_is_stopped_in_training_trains_anew() -> None:
    calls = iter(range(1_000))
    strategy = GradientSearch(TABLES, 0, steps=20)
    list(strategy.prepare(rows(TABLES, 100), "cpu", 1e6, lambda: next(calls) >= 9))
    saved = strategy.state()
    assert not saved["prepared"]
    strategy.load_state(saved)
    events = list(strategy.prepare(rows(TABLES, 100), "cpu", 1e6, never))
    assert [e.step for e in events if isinstance(e, Metric) and e.name == "supernet_loss"] == list(range(1, 21))


def test_a_supernet_that_breaks_leaves_all_operations_equally_likely() -> None:
    x, y = rows(IMAGES, 100)
    strategy = GradientSearch(IMAGES, 0, steps=20)
    events = list(strategy.prepare((x * math.nan, y), "cpu", 1e6, never))
    assert any(isinstance(event, Message) and event.level == "warning" for event in events)
    assert strategy.policy() == {}
    assert len({candidate.name for candidate in strategy.ask(30)}) == 30


def test_a_space_without_operations_has_no_supernet() -> None:
    class Line:
        choices, decisions = (3,), (("place", ("a", "b", "c")),)

        def canonical_name(self, genotype: tuple[int, ...]) -> str:
            return str(genotype)

        def size(self, genotype: tuple[int, ...]) -> float:
            return 1.0

    with pytest.raises(ValueError, match="no supernet of Line"):
        list(GradientSearch(Line(), 0).prepare((torch.zeros(4, 1), torch.zeros(4)), "cpu", 1.0, never))


@pytest.mark.parametrize("positions", [(2, 1), (3, 3), (2, 3, 3)])
def test_at_most_a_third_of_the_operations_are_skips_and_pools_for_any_policy(
    positions: tuple[int, ...],
) -> None:
    space = ImageSpace((1, 28, 28), 3, positions=positions)
    skips = {name: [0.01] * 7 + [0.93] for name, options in space.decisions if options == OPERATIONS}
    strategy = with_policy(space, skips)
    most = sum(positions) // 3
    for _ in range(4):
        for candidate in strategy.ask(20):
            kept = sum(name in CONVOLUTIONS for stage in space.decode(candidate.genotype).stages for name in stage)
            assert sum(positions) - kept <= most
            strategy.tell(candidate, space.size(candidate.genotype))


def test_candidates_follow_the_policy_the_most_probable_first_and_none_twice() -> None:
    names = [name for name, options in IMAGES.decisions if options == OPERATIONS]
    policy = [0.5, 0.2, 0.1, 0.05, 0.05, 0.05, 0.03, 0.02]
    strategy = with_policy(IMAGES, dict.fromkeys(names, policy))
    asked = strategy.ask(40)
    likely = [math.prod(policy[option] for option in candidate.genotype[1:4]) for candidate in asked]
    assert likely == pytest.approx(sorted(likely, reverse=True))
    assert np.mean(likely) > 3 / 8**3
    asked += [candidate for _ in range(5) for candidate in strategy.ask(40)]
    assert len({candidate.name for candidate in asked}) == 240


def test_decisions_that_are_not_mixed_follow_the_best_candidates() -> None:
    names = [name for name, options in IMAGES.decisions if options == OPERATIONS]
    strategy = with_policy(IMAGES, dict.fromkeys(names, [1 / 8] * 8))

    def error(candidate: Candidate) -> float:
        return float(IMAGES.decode(candidate.genotype).recipe.lr != 1.2e-3)

    shares = []
    for _ in range(8):
        asked = strategy.ask(10)
        errors = [error(candidate) for candidate in asked]
        for candidate, value in zip(asked, errors, strict=True):
            strategy.tell(candidate, value)
        shares.append(1 - np.mean(errors))
    assert np.mean(shares[-3:]) > 0.6 > 0.5 > shares[0]


def _digits() -> SearchData:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x = torch.tensor((images - images.mean()) / images.std(), dtype=torch.float32).view(-1, 1, 8, 8)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    parts = [(x[part], torch.tensor(labels)[part]) for part in order.split([1_000, 397, 400])]
    return SearchData(ImageSpace.for_shape((1, 8, 8), 10), *parts)


def _policies(search: Search) -> dict[int, dict[str, float]]:
    policies: dict[int, dict[str, float]] = {}
    for event in search.events:
        if isinstance(event, PolicyPoint) and event.source == "strategy":
            policies.setdefault(event.step, {})[f"{event.decision} = {event.option}"] = event.probability
    return policies


def _numbers() -> SearchData:
    x = torch.randn(120, 4, generator=torch.Generator().manual_seed(0))
    parts = (x[:80], x[80:100], x[100:])
    return SearchData(TableSpace(4, (), 2, widths=(8,)), *((part, (part[:, 0] > 0).long()) for part in parts))


@pytest.mark.usefixtures("short_epochs")
def test_a_search_reports_its_policy_after_each_generation_and_again_when_it_resumes(tmp_path: Path) -> None:
    data = _numbers()
    settings = Settings("reinforce", 3, 1e4, 8, 1, 1)
    policies = _policies(Search(tmp_path / "a.pt", settings, data).run())
    assert list(policies) == [0, 4, 8]
    named = {f"{name} = {option}" for name, options in data.space.decisions for option in options}
    assert all(set(policy) == named for policy in policies.values())
    assert all(sum(policy.values()) == pytest.approx(len(data.space.choices)) for policy in policies.values())
    assert policies[0] != policies[4]
    again = Search(tmp_path / "b.pt", settings, data, previous=tmp_path / "a.pt").run()
    assert _policies(again) == policies


@pytest.mark.usefixtures("short_epochs")
def test_a_search_killed_after_its_supernet_does_not_train_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, settings, first = _numbers(), Settings("gradient", 1, 2.0, 4, 1, 1), tmp_path / "a.pt"

    def killed() -> bool:
        if first.exists():
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        Search(first, settings, data, is_cancelled=killed).run()
    snapshots = search_state.load(first).strategy["looks"]
    assert snapshots
    monkeypatch.setattr(supernet, "train_supernet", None)
    losses = Search(tmp_path / "b.pt", settings, data, previous=first).run().metrics("supernet_loss")
    assert [[event.step, event.value] for event in losses] == [snapshot[:2] for snapshot in snapshots]


@pytest.mark.slow
@pytest.mark.sklearn
def test_a_whole_search_on_digits_finds_a_network_that_reads_them(tmp_path: Path) -> None:
    data = _digits()
    search = Search(tmp_path / "a.pt", Settings("gradient", 1, 50.0, 8, 1), data).run()
    losses, [finalist] = search.metrics("supernet_loss"), search.finalists
    assert losses[-1].value < losses[0].value
    right = float((finalist.test.argmax(1) == data.test[1]).float().mean())
    print(right, finalist.name)
    assert right > 0.95
