"""Search strategies: what each promises, and regret ceilings on real tables of finished trainings."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from runner.nas.search.strategies import DEFAULT, STRATEGIES, Candidate, Strategy, make
from runner.nas.search.strategies.gaussian_process import GaussianProcess, Inputs
from runner.nas.search.strategies.reinforce import Controller, Reinforce, policy_loss
from tests.benchmarks import search


@dataclass(frozen=True)
class Chain:
    """A space whose networks do not depend on the order of the first two decisions."""

    choices: tuple[int, ...] = (3, 3, 4, 2, 5, 1)
    known: bool = True

    def canonical_name(self, genotype: tuple[int, ...]) -> str:
        return "-".join(map(str, [*sorted(genotype[:2]), *genotype[2:]]))

    @property
    def decisions(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return tuple((f"decision {place}", tuple(map(str, range(n)))) for place, n in enumerate(self.choices))

    def size(self, genotype: tuple[int, ...]) -> float:
        return float(1 + sum(genotype)) if self.known else math.nan


N_NETWORKS = 6 * 4 * 2 * 5
every_strategy = pytest.mark.parametrize("name", STRATEGIES)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """The matrices are small: more threads only get in each other's way."""
    with threadpool_limits(1):
        yield


def additive(candidate: Candidate) -> float:
    """An error to which each decision adds its part."""
    first, second, *rest = candidate.genotype
    return (first - 1) ** 2 + (second - 1) ** 2 + sum(abs(option - 1) for option in rest)


def drive(strategy: Strategy, error: Callable[[Candidate], float], asks: list[int]) -> list[str]:
    """The names of the candidates asked, each told its error at once."""
    names = []
    for n in asks:
        for candidate in strategy.ask(n):
            names.append(candidate.name)
            strategy.tell(candidate, error(candidate))
    return names


@every_strategy
def test_a_search_that_is_saved_and_loaded_goes_on_as_the_uninterrupted_one(name: str, tmp_path: Path) -> None:
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


def test_the_policy_loss_has_the_gradient_of_the_expected_reward() -> None:
    """Over all genotypes, weighted by their probability, REINFORCE's gradient is the exact one; so is the entropy's."""
    torch.manual_seed(0)
    controller = Controller((2, 3, 2), 5)
    genotypes = torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(2))
    rewards = torch.tensor(np.random.default_rng(0).normal(size=12), dtype=torch.float32)

    def log_probabilities() -> torch.Tensor:
        logs = controller.log_probabilities(genotypes)
        return sum(log.gather(1, genotypes[:, [place]]).squeeze(1) for place, log in enumerate(logs))

    probabilities = log_probabilities().exp()
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-5)
    exact = torch.autograd.grad((probabilities * rewards).sum(), list(controller.parameters()))
    weights = (probabilities.detach() * rewards * 12).numpy()
    ours = torch.autograd.grad(-policy_loss(controller, genotypes, weights, 0.0), list(controller.parameters()))
    for one, other in zip(exact, ours, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_the_entropy_bonus_keeps_the_policy_open() -> None:
    spreads = []
    for entropy in (0.0, 5.0):
        strategy = make("reinforce", Chain(), 0, entropy=entropy)
        drive(strategy, additive, [4] * 30)
        spreads.append(sum(-p * math.log(p) for options in strategy.policy().values() for p in options.values()))
    assert spreads[0] < spreads[1]


@pytest.mark.parametrize("seed", range(3))
def test_the_controller_learns_an_additive_reward_and_not_a_shuffled_one(seed: int) -> None:
    space = Chain((4,) * 6)
    shuffled = np.random.default_rng(seed).permutation(4**6)

    def random(candidate: Candidate) -> float:
        return float(shuffled[np.ravel_multi_index(candidate.genotype, space.choices)])

    learned, lost = Reinforce(space, seed), Reinforce(space, seed)
    drive(learned, lambda candidate: float(sum(option != 2 for option in candidate.genotype)), [4] * 60)
    drive(lost, random, [4] * 60)
    right = np.mean([options["2"] for options in learned.policy().values()])
    assert right > 0.6
    assert np.mean([max(options.values()) for options in lost.policy().values()]) < right - 0.1


def test_the_policy_is_probabilities_and_looking_at_it_changes_nothing() -> None:
    watched, other = Reinforce(Chain(), 0), Reinforce(Chain(), 0)
    names = []
    for _ in range(8):
        names += drive(watched, additive, [4])
        policy = watched.policy()
        assert [(name, tuple(options)) for name, options in policy.items()] == list(Chain().decisions)
        assert all(sum(options.values()) == pytest.approx(1, abs=1e-5) for options in policy.values())
        assert all(p >= 0 for options in policy.values() for p in options.values())
    assert names == drive(other, additive, [4] * 8)


@pytest.mark.parametrize("name", ["gp", "evolution", "local"])
def test_half_of_the_first_candidates_are_large(name: str) -> None:
    space = Chain((6,) * 6)
    sizes = [space.size(candidate.genotype) for candidate in make(name, space, 0).ask(20)]
    assert np.mean(sorted(sizes)[10:]) > space.size((3,) * 6) + 3
    assert min(sizes) < space.size((3,) * 6)
    plain = [space.size(candidate.genotype) for candidate in make(name, space, 0, size_start=False).ask(20)]
    assert np.mean(plain) < np.mean(sizes)


def _measured(n: int) -> tuple[Inputs, np.ndarray]:
    rng = np.random.default_rng(0)
    inputs = Inputs(rng.integers((3, 3, 4, 2, 5, 1), size=(n, 6)), rng.normal(size=n))
    targets = (inputs.genotypes[:, 0] == 1) + inputs.sizes + 0.1 * rng.normal(size=n)
    return inputs, targets - targets.mean()


def test_the_process_climbs_the_slope_that_finite_differences_see() -> None:
    inputs, targets = _measured(25)
    process = GaussianProcess((3, 3, 4, 2, 5, 1))
    begin = process.log_posterior(inputs, targets)
    process.fit(inputs, targets)
    assert process.log_posterior(inputs, targets) > begin
    slope = process._slope(inputs.differences(inputs), targets)
    for place in range(len(slope)):
        values = []
        for step in (1e-5, -1e-5):
            process.parameters[place] += step
            values.append(process.log_posterior(inputs, targets))
            process.parameters[place] -= step
        assert slope[place] == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-4, abs=1e-6)


def test_the_process_finds_out_which_decision_matters_and_predicts_what_it_has_not_seen() -> None:
    inputs, targets = _measured(120)
    process = GaussianProcess((3, 3, 4, 2, 5, 1))
    known, rest = (Inputs(inputs.genotypes[part], inputs.sizes[part]) for part in (slice(80), slice(80, None)))
    for _ in range(5):
        process.fit(known, targets[:80])
    assert np.argmax(process.parameters[:5]) == 0  # the sixth decision has one option
    mean, covariance = process.posterior(known, targets[:80], rest)
    assert np.corrcoef(mean, targets[80:])[0, 1] > 0.9
    deviations = (targets[80:] - mean) / np.sqrt(covariance.diagonal() + process.noise)
    assert 0.5 < deviations.std() < 2


@pytest.mark.parametrize("acquisition", ["thompson", "improvement", "both"])
def test_every_acquisition_finds_the_best_of_a_small_space(acquisition: str) -> None:
    strategy = make("gp", Chain(), 0, acquisition=acquisition, start=10)
    best = []
    drive(strategy, lambda candidate: best.append(additive(candidate)) or best[-1], [10] * 6)
    assert min(best) == 1  # the last decision has one option, which costs 1


def test_random_search_on_the_table_reproduces_the_known_regret(data: Path) -> None:
    assert _regret("cifar100", "random", seeds=300) == pytest.approx(1.85, abs=0.15)


@pytest.mark.parametrize(
    ("table", "name", "ceiling"),
    [
        ("cifar100", "gp", 0.40),
        ("macro", "gp", 0.12),
        ("cifar100", "evolution", 0.65),
        ("cifar100", "local", 0.65),
        ("cifar100", "reinforce", 1.1),
    ],
)
def test_a_strategy_stays_under_its_regret_ceiling(data: Path, table: str, name: str, ceiling: float) -> None:
    """Few seeds, so the ceilings lie above the means of the benchmark, and far below random search (1.85; 0.28)."""
    assert _regret(table, name, seeds=6) < ceiling


def _regret(table_name: str, name: str, *, seeds: int) -> float:
    table = search.load(table_name)
    last = [search.search(table, name, seed).incumbents[-1] for seed in range(seeds)]
    return float(table.tests.max() - table.tests[last].mean())


def test_every_state_but_the_controllers_is_json() -> None:
    for name in set(STRATEGIES) - {"reinforce"}:
        strategy, other = make(name, Chain(), 0), make(name, Chain(), 1)
        drive(strategy, additive, [10] * 4)
        other.load_state(json.loads(json.dumps(strategy.state())))
        assert strategy.ask(10) == other.ask(10)
