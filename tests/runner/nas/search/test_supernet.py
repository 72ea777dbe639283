"""The supernet: its gradient, how it is trained, and what it prefers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from runner.nas.search.strategies import supernet
from runner.nas.space.designs import CONVOLUTIONS
from runner.nas.space.spaces import AnySpace, ImageSpace
from tests.runner.nas.small_spaces import TABLES, every_space, never, rows

pytestmark = pytest.mark.torch


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


def test_the_training_ends_when_its_seconds_are_up() -> None:
    net = supernet.build_supernet(TABLES, 0)
    looks = list(supernet.train_supernet(net, rows(TABLES, 100), seed=0, budget_s=0.2, must_stop=never, steps=10**9))
    assert looks
    assert looks[-1].step < 10_000
