"""The gradient search: the supernet's gradient, what it prefers, and what is derived from it; names of decisions."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from core.events import Event, Message, Metric, PolicyPoint
from runner.nas.search import search_state
from runner.nas.search.finalist_training import Finalist
from runner.nas.search.search import Objective, SearchData, Settings, search
from runner.nas.search.strategies import Candidate, make, supernet
from runner.nas.search.strategies.gradient import GradientSearch
from runner.nas.space.designs import CONVOLUTIONS, OPERATIONS
from runner.nas.space.spaces import AnySpace, ImageSpace, TableSpace, TextSpace

IMAGES = ImageSpace((1, 6, 6), 3, positions=(2, 1), flips=True)
TABLES = TableSpace(4, (3, 5), 1)
TEXTS = TextSpace(30, 7, 4)
SPACES = {"images": IMAGES, "tables": TABLES, "texts": TEXTS}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rows(space: AnySpace, count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, max(space.outputs, 2), (count,), generator=generator)
    if isinstance(space, ImageSpace):
        return torch.randn(count, *space.shape, generator=generator), y
    if isinstance(space, TextSpace):
        return torch.randint(0, space.vocabulary, (count, space.length), generator=generator), y
    x = torch.randn(count, space.numeric, generator=generator)
    codes = [torch.randint(0, n, (count, 1), generator=generator).float() for n in space.categories]
    return torch.cat([x, *codes], 1), x[:, 0] - 2 * x[:, 1]


def never() -> bool:
    return False


def prepared(space: AnySpace) -> tuple[GradientSearch, list[Event]]:
    strategy = GradientSearch(space, 3, steps=20)
    return strategy, list(strategy.prepare(rows(space, 200), "cpu", 1e6, never))


def believing(space: AnySpace, policy: dict[str, list[float]]) -> GradientSearch:
    """A strategy whose supernet came out with this policy."""
    strategy = GradientSearch(space, 0)
    strategy.load_state(strategy.state() | {"looks": [[1, 1.0, policy]], "prepared": True})
    return strategy


@pytest.mark.parametrize("space", [*SPACES.values(), ImageSpace((3, 25, 21), 2), ImageSpace((1, 4, 4), 2, flips=True)])
def test_every_decision_of_a_space_has_its_own_name_and_a_name_for_each_option(space: AnySpace) -> None:
    assert [len(options) for _, options in space.decisions] == list(space.choices)
    assert len({name for name, _ in space.decisions}) == len(space.choices)
    assert all(len(set(options)) == len(options) for _, options in space.decisions)


@every_space
def test_the_names_of_options_tell_what_a_genotype_decodes_to(space: AnySpace) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        genotype = tuple(rng.integers(space.choices).tolist())
        said = {name: options[g] for (name, options), g in zip(space.decisions, genotype, strict=True)}
        design = space.decode(genotype)
        assert said["width"] == str(design.width)
        assert float(said["learning rate"]) == design.recipe.lr
        assert float(said["weight decay"]) == design.recipe.weight_decay
        assert float(said["dropout"]) == design.recipe.dropout
        assert said.get("activation", "") == getattr(design, "activation", "")
        assert said.get("block", "") == getattr(design, "block", "")
        assert said.get("augmentation", "none") == design.recipe.augment
        if isinstance(space, ImageSpace):
            chosen = [[said[f"stage {s}, operation {p + 1}"] for p in range(n)] for s, n in enumerate((2, 1), 1)]
            assert [[name for name in stage if name != "skip"] for stage in chosen] == list(map(list, design.stages))


@every_space
def test_the_gradient_of_the_policy_is_the_one_that_finite_differences_see(space: AnySpace) -> None:
    torch.manual_seed(0)
    net = supernet.Images(space, "gelu") if isinstance(space, ImageSpace) else supernet.build_supernet(space, 0)
    net = net.double().train()
    x, y = rows(space, 12)
    batch = (x.double() if x.is_floating_point() else x, y.double() if y.is_floating_point() else y)
    for logits in net.logits.values():
        torch.nn.init.normal_(logits)
    names = list(net.logits)
    slopes = torch.autograd.grad(supernet.loss(net, batch), [net.logits[name] for name in names])
    assert all(slope.abs().max() > 1e-4 for slope in slopes)
    for name, slope in zip(names, slopes, strict=True):
        for option in range(len(slope)):
            values = []
            for step in (1e-6, -2e-6):
                net.logits[name].data[option] += step
                values.append(supernet.loss(net, batch).item())
            net.logits[name].data[option] += 1e-6
            assert (values[0] - values[1]) / 2e-6 == pytest.approx(slope[option].item(), rel=1e-4, abs=1e-7)


def test_the_policy_learns_only_after_the_warm_up_and_the_weights_never_from_held_out_rows() -> None:
    x, y = rows(TABLES, 200)
    settings = {"seed": 0, "budget_s": 1e6, "steps": 20}
    looks = list(supernet.train_supernet(supernet.build_supernet(TABLES, 0), (x, y), must_stop=never, **settings))
    even = [look.policy["residual"] == [0.5, 0.5] for look in looks]
    assert even == [look.step <= 6 for look in looks]
    ours, held = supernet._halves((x, torch.arange(200)), 0)
    assert sorted(ours[1].tolist() + held[1].tolist()) == list(range(200))
    weights = []
    for changed in (ours[1][:0], held[1], ours[1]):
        net, calls = supernet.build_supernet(TABLES, 0), iter(range(20))
        target = y.index_fill(0, changed, 9.0)
        list(supernet.train_supernet(net, (x, target), must_stop=lambda calls=calls: next(calls) == 5, **settings))
        weights.append(net.head.weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def stripes(count: int, side: int = 8) -> tuple[Tensor, Tensor]:
    """Noise whose pixels repeat three places on, in one class with the sign turned: more than one 3x3 look can tell."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 2, (count,), generator=generator)
    x = torch.randint(0, 2, (count, 1, side, side), generator=generator).float() * 2 - 1
    for place in range(3, side):
        x[:, 0, :, place] = x[:, 0, :, place - 3] * (2 * y - 1)[:, None]
    return x, y


def brightness(count: int, side: int = 8) -> tuple[Tensor, Tensor]:
    """Noise that is a little lighter in one class: the mean, which the head takes anyway, tells all there is."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 2, (count,), generator=generator)
    return torch.randn(count, 1, side, side, generator=generator) + 0.15 * (2 * y - 1)[:, None, None, None], y


@pytest.mark.slow
def test_where_a_pattern_needs_convolutions_the_policy_prefers_them_to_skips_and_pools() -> None:
    shares = {}
    for data in (stripes, brightness):
        net = supernet.build_supernet(ImageSpace((1, 8, 8), 2, positions=(2,)), 0)
        looks = list(supernet.train_supernet(net, data(400), seed=0, budget_s=1e6, must_stop=never, steps=200))
        assert looks[-1].loss < 0.8 * looks[0].loss
        shares[data] = [sum(policy[: len(CONVOLUTIONS)]) for policy in looks[-1].policy.values()]
    assert min(shares[stripes]) > 0.8  # 0.625 of the operations are convolutions
    assert min(shares[stripes]) > max(shares[brightness])


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
def test_a_prepared_strategy_that_is_saved_and_loaded_goes_on_without_training_again(
    space: AnySpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy, events = prepared(space)
    for candidate in strategy.ask(13):
        strategy.tell(candidate, space.size(candidate.genotype))
    other = make("gradient", space, 9)
    other.load_state(json.loads(json.dumps(strategy.state())))
    monkeypatch.setattr(supernet, "train_supernet", None)
    again = list(other.prepare(rows(space, 4), "cpu", 0.0, never))
    assert again == events[1:]  # all but the word that it trains
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


def test_the_training_ends_when_its_seconds_are_up() -> None:
    net = supernet.build_supernet(TABLES, 0)
    looks = list(supernet.train_supernet(net, rows(TABLES, 100), seed=0, budget_s=0.2, must_stop=never, steps=10**9))
    assert looks
    assert looks[-1].step < 10_000


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
def test_at_most_a_third_of_the_operations_are_skips_and_pools_whatever_the_policy_prefers(
    positions: tuple[int, ...],
) -> None:
    space = ImageSpace((1, 28, 28), 3, positions=positions)
    skips = {name: [0.01] * 7 + [0.93] for name, options in space.decisions if options == OPERATIONS}
    strategy = believing(space, skips)
    most = sum(positions) // 3
    for _ in range(4):
        for candidate in strategy.ask(20):
            kept = sum(name in CONVOLUTIONS for stage in space.decode(candidate.genotype).stages for name in stage)
            assert sum(positions) - kept <= most
            strategy.tell(candidate, space.size(candidate.genotype))


def test_candidates_follow_the_policy_the_most_probable_first_and_none_twice() -> None:
    names = [name for name, options in IMAGES.decisions if options == OPERATIONS]
    policy = [0.5, 0.2, 0.1, 0.05, 0.05, 0.05, 0.03, 0.02]
    strategy = believing(IMAGES, dict.fromkeys(names, policy))
    asked = strategy.ask(40)
    likely = [math.prod(policy[option] for option in candidate.genotype[1:4]) for candidate in asked]
    assert likely == pytest.approx(sorted(likely, reverse=True))
    assert np.mean(likely) > 3 / 8**3
    asked += [candidate for _ in range(5) for candidate in strategy.ask(40)]
    assert len({candidate.name for candidate in asked}) == 240


def test_decisions_that_are_not_mixed_follow_the_best_told() -> None:
    names = [name for name, options in IMAGES.decisions if options == OPERATIONS]
    strategy = believing(IMAGES, dict.fromkeys(names, [1 / 8] * 8))

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
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor((images - images.mean()) / images.std(), dtype=torch.float32).view(-1, 1, 8, 8)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    parts = [(x[part], torch.tensor(labels)[part]) for part in order.split([1_000, 397, 400])]
    return SearchData(ImageSpace.for_shape((1, 8, 8), 10), *parts)


def _search(
    data: SearchData, settings: Settings, checkpoint: Path, **more: Path | Callable[[], bool]
) -> tuple[list[Event], list[Finalist]]:
    y, finalists = data.valid[1], []

    def report(finalist: Finalist) -> Iterator[Event]:
        finalists.append(finalist)
        yield from ()

    judge = Objective(lambda outputs: float((outputs.argmax(1) != y).float().mean()), lambda error: 1 - error)
    return list(search(data, settings, judge, report, checkpoint, **more)), finalists


def _policies(events: list[Event]) -> dict[int, dict[str, float]]:
    found: dict[int, dict[str, float]] = {}
    for event in events:
        if isinstance(event, PolicyPoint) and event.source == "strategy":
            found.setdefault(event.step, {})[f"{event.decision} = {event.option}"] = event.probability
    return found


def _numbers() -> SearchData:
    x = torch.randn(120, 4, generator=torch.Generator().manual_seed(0))
    parts = (x[:80], x[80:100], x[100:])
    return SearchData(TableSpace(4, (), 2, widths=(8,)), *((part, (part[:, 0] > 0).long()) for part in parts))


def test_a_search_reports_its_policy_after_each_generation_and_again_when_it_goes_on(tmp_path: Path) -> None:
    data = _numbers()
    settings = Settings("reinforce", 3, 1e4, 8, 1, 1)
    events, _ = _search(data, settings, tmp_path / "a.pt")
    policies = _policies(events)
    assert list(policies) == [0, 4, 8]
    named = {f"{name} = {option}" for name, options in data.space.decisions for option in options}
    assert all(set(policy) == named for policy in policies.values())
    assert all(sum(policy.values()) == pytest.approx(len(data.space.choices)) for policy in policies.values())
    assert policies[0] != policies[4]
    again, _ = _search(data, settings, tmp_path / "b.pt", previous=tmp_path / "a.pt")
    assert _policies(again) == policies


def test_a_search_killed_after_its_supernet_does_not_train_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, settings, first = _numbers(), Settings("gradient", 1, 8.0, 4, 1, 1), tmp_path / "a.pt"

    def killed() -> bool:
        if first.exists():
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        _search(data, settings, first, is_cancelled=killed)
    looks = search_state.load(first).strategy["looks"]
    assert looks
    monkeypatch.setattr(supernet, "train_supernet", None)
    events, _ = _search(data, settings, tmp_path / "b.pt", previous=first)
    losses = [event for event in events if isinstance(event, Metric) and event.name == "supernet_loss"]
    assert [[event.step, event.value] for event in losses] == [look[:2] for look in looks]


@pytest.mark.slow
def test_a_whole_search_on_digits_finds_a_network_that_reads_them(tmp_path: Path) -> None:
    data = _digits()
    events, (finalist,) = _search(data, Settings("gradient", 1, 50.0, 8, 1), tmp_path / "a.pt")
    losses = [event.value for event in events if isinstance(event, Metric) and event.name == "supernet_loss"]
    assert losses[-1] < losses[0]
    right = float((finalist.test.argmax(1) == data.test[1]).float().mean())
    print(right, finalist.name)
    assert right > 0.95
