"""What every search strategy promises."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from runner.nas.search.strategies import DEFAULT, STRATEGIES, Candidate, make
from tests.runner.nas.chain import N_NETWORKS, Chain, additive, drive

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("one_blas_thread")]
every_strategy = pytest.mark.parametrize("name", STRATEGIES)


@every_strategy
def test_a_search_that_is_saved_and_loaded_continues_as_the_uninterrupted_one(name: str, tmp_path: Path) -> None:
    before, after = [4, 1, 10, 7, 10, 3], [5, 10, 1, 8, 10]
    through, first = make(name, Chain(), 7), make(name, Chain(), 7)
    expected = drive(through, additive, before + after)
    begun = drive(first, additive, before)
    state = first.state()
    drive(first, additive, after)  # what happens to the saved search later must not change its state
    torch.save(state, tmp_path / "state.pt")
    second = make(name, Chain(), 8)
    second.load_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert begun + drive(second, additive, after) == expected
    assert len(set(expected)) == len(expected) == sum(before + after)


@every_strategy
def test_a_search_interrupted_between_asking_and_telling_loses_nothing(name: str, tmp_path: Path) -> None:
    through, first, second = (make(name, Chain(), seed) for seed in (3, 3, 4))
    drive(through, additive, [23, 5])
    drive(first, additive, [23, 5])
    pending = first.ask(6)
    assert pending == through.ask(6)
    for candidate in pending[:2]:
        first.tell(candidate, additive(candidate))
        through.tell(candidate, additive(candidate))
    torch.save(first.state(), tmp_path / "state.pt")
    second.load_state(torch.load(tmp_path / "state.pt", weights_only=True))
    for candidate in pending[:1:-1]:
        second.tell(candidate, additive(candidate))
        through.tell(candidate, additive(candidate))
    assert second.ask(9) == through.ask(9)


@every_strategy
def test_no_network_is_asked_twice_and_an_exhausted_space_gives_fewer(name: str) -> None:
    strategy = make(name, Chain(), 0)
    names = drive(strategy, additive, [50] * 6)
    assert len(names) == len(set(names)) == N_NETWORKS
    assert strategy.ask(3) == []


@every_strategy
def test_failed_candidates_do_not_stop_a_search_nor_lead_it(name: str) -> None:
    strategy = make(name, Chain(), 1)
    errors = {}

    def error(candidate: Candidate) -> float:
        errors[candidate.name] = math.nan if candidate.genotype[3] == 1 else additive(candidate)
        return errors[candidate.name]

    names = drive(strategy, error, [10] * 6)
    assert len(set(names)) == 60
    assert any(math.isnan(error) for error in errors.values())
    assert all(math.isnan(errors[name]) == (name.split("-")[3] == "1") for name in names)
    drive(make(name, Chain(), 2), lambda _: math.nan, [10] * 6)  # nothing but failures


@every_strategy
def test_a_search_works_without_sizes_with_equal_errors_and_in_asks_of_one(name: str) -> None:
    assert len(set(drive(make(name, Chain(known=False), 0), lambda _: 0.5, [1] * 40))) == 40


@every_strategy
def test_the_seed_alone_decides(name: str) -> None:
    runs = []
    for seed in (5, 5, 6):
        np.random.seed(len(runs))
        torch.manual_seed(len(runs))
        runs.append(drive(make(name, Chain(), seed), additive, [10] * 5))
    assert runs[0] == runs[1] != runs[2]


@every_strategy
def test_errors_on_any_scale_give_the_same_search(name: str) -> None:
    plain = drive(make(name, Chain(), 2), additive, [10] * 5)
    scaled = drive(make(name, Chain(), 2), lambda candidate: 1024 * additive(candidate), [10] * 5)
    assert plain == scaled


def test_an_unknown_strategy_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'annealing'.*reinforce"):
        make("annealing", Chain(), 0)
    assert DEFAULT in STRATEGIES


def test_every_state_but_the_controllers_is_json() -> None:
    for name in set(STRATEGIES) - {"reinforce"}:
        strategy, other = make(name, Chain(), 0), make(name, Chain(), 1)
        drive(strategy, additive, [10] * 4)
        other.load_state(json.loads(json.dumps(strategy.state())))
        assert strategy.ask(10) == other.ask(10)


@pytest.mark.parametrize("name", ["gp", "evolution", "local"])
def test_half_of_the_first_candidates_are_large(name: str) -> None:
    space = Chain((6,) * 6)
    sizes = [space.size(candidate.genotype) for candidate in make(name, space, 0).ask(20)]
    assert np.mean(sorted(sizes)[10:]) > space.size((3,) * 6) + 3
    assert min(sizes) < space.size((3,) * 6)
    plain = [space.size(candidate.genotype) for candidate in make(name, space, 0, size_start=False).ask(20)]
    assert np.mean(plain) < np.mean(sizes)
