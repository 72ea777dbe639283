"""The few-shot engine's gradients: against the plain loop, finite differences and what algebra says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from runner.fewshot.learning import maml, protonet, reptile
from runner.fewshot.learning.batch_norm import normalise
from runner.fewshot.learning.episodes import Batch, SinusoidTasks
from runner.fewshot.learning.inner_loop import Inner, adapt, adapt_in_steps, losses, query_outputs, weights_per_task
from runner.fewshot.learning.microbatches import microbatches
from runner.fewshot.learning.task_networks import (
    MLP,
    STORED_STATISTICS,
    Adapter,
    Conv4,
    Network,
    ResNet,
    TextMean,
    Weights,
    initial_weights,
    measure_statistics,
    outputs,
)
from tests.runner.fewshot.learning import reference_networks

pytestmark = pytest.mark.torch


def _meta(network: Network, noise: float = 0.1) -> Weights:
    """Weights in float64, none of them zero."""
    generator = torch.Generator().manual_seed(1)
    start = initial_weights(network, 0, torch.float64)
    return {n: v + noise * torch.randn(v.shape, generator=generator, dtype=v.dtype) for n, v in start.items()}


def _images(ways: int = 3, tasks: int = 4, channels: int = 1, side: int = 12) -> Batch:
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(tasks, 3 * ways, channels, side, side, generator=generator, dtype=torch.float64)
    y = torch.arange(ways).repeat(3).expand(tasks, -1)
    return Batch(x[:, :ways], y[:, :ways], x[:, ways:], y[:, ways:])


def _apart(one: Weights, other: Weights) -> float:
    assert one.keys() == other.keys()
    assert max(float(value.abs().max()) for value in other.values()) > 1e-3
    return max(float((one[name] - other[name]).abs().max()) for name in other)


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 13)])
def test_tasks_at_once_equal_one_after_another(channels: int, side: int, first_order: bool) -> None:
    network, batch = Conv4(channels, 3, width=8), _images(channels=channels, side=side)
    inner = Inner(steps=3, rate=0.1, first_order=first_order, transductive=True)
    mine, my_losses = maml.gradient(network, _meta(network), batch, inner)
    theirs, their_losses = reference_networks.gradient(_meta(network), batch, inner)
    assert float((my_losses - their_losses).abs().max()) < 1e-12
    assert _apart(mine, theirs) < 1e-12


def test_tasks_at_once_equal_one_after_another_in_a_residual_network() -> None:
    network, batch = ResNet(3, 3, width=4), _images(channels=3, side=13)
    inner = Inner(steps=2, rate=0.1, transductive=True)
    mine, _ = maml.gradient(network, _meta(network), batch, inner)
    theirs, _ = reference_networks.gradient(_meta(network), batch, inner, reference_networks.resnet)
    assert _apart(mine, theirs) < 1e-12


def test_tasks_at_once_equal_one_after_another_in_a_network_of_texts() -> None:
    network, batch = TextMean(12, 3, width=6), _images()
    lengths = torch.arange(1, batch.support_x.shape[1] + 1)
    words = torch.randint(1, 12, (*batch.support_x.shape[:2], 9), generator=torch.Generator().manual_seed(5))
    words = words * (torch.arange(9) < lengths.view(-1, 1))  # texts of different lengths, 0 is no word
    texts = Batch(words, batch.support_y, words.flip(0), batch.support_y)
    inner = Inner(steps=2, rate=0.5)
    mine, _ = maml.gradient(network, _meta(network), texts, inner)
    theirs, _ = reference_networks.gradient(_meta(network), texts, inner, reference_networks.text)
    assert _apart(mine, theirs) < 1e-12


def _rows(ways: int = 3, tasks: int = 3, inputs: int = 5) -> Batch:
    """Tasks of rows of features."""
    x = torch.randn(tasks, 3 * ways, inputs, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    y = torch.arange(ways).repeat(3).expand(tasks, -1)
    return Batch(x[:, :ways], y[:, :ways], x[:, ways:], y[:, ways:])


def test_tasks_at_once_equal_one_after_another_in_an_adapter() -> None:
    network, batch, inner = Adapter(5, 3), _rows(), Inner(steps=3, rate=0.2)
    mine, _ = maml.gradient(network, _meta(network), batch, inner)
    theirs, _ = reference_networks.gradient(_meta(network), batch, inner, reference_networks.adapter)
    assert _apart(mine, theirs) < 1e-12


@pytest.mark.parametrize("inner", [Inner(steps=2, rate=0.2), Inner(steps=2, rate=0.2, only_head=True)])
def test_the_meta_gradient_of_an_adapter_is_that_of_finite_differences(inner: Inner) -> None:
    network, batch = Adapter(5, 3), _rows()
    gradient, _ = maml.gradient(network, _meta(network), batch, inner)
    assert _apart(gradient, _differences(network, _meta(network), batch, inner)) < 1e-7


def test_an_adapter_starts_as_the_identity() -> None:
    network, batch = Adapter(5, 3), _rows()
    weights = weights_per_task(network, initial_weights(network, 0, torch.float64), len(batch))
    assert torch.equal(network.features(weights, batch.query_x), batch.query_x)


def test_batch_norm_by_all_rows_is_that_by_the_first_rows_where_these_are_all() -> None:
    x, scale, shift = torch.randn(5, 6, 4, 4).double(), torch.randn(6).double(), torch.randn(6).double()
    places = [part.requires_grad_() for part in (x, scale, shift)]
    seconds = []
    for n_statistics in (None, 5):
        y = normalise(x, scale, shift, n_statistics).tanh()
        first = torch.autograd.grad(y.square().sum(), places, create_graph=True)
        seconds.append(torch.autograd.grad(sum(g.square().sum() for g in first), places))
    for one, other in zip(*seconds, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("inner", "gap"),
    [
        (Inner(steps=2, rate=0.05), 1e-7),
        (Inner(steps=2, rate=0.05, only_head=True), 1e-7),
        (Inner(steps=2, rate=0.05, learned_rates=True), 1e-7),
        (Inner(steps=3, rate=0.05, every_step=1.0), 1e-7),
        (Inner(steps=3, rate=0.05, every_step=0.3), 1e-7),
    ],
)
def test_the_meta_gradient_is_that_of_finite_differences(inner: Inner, gap: float) -> None:
    network = MLP(width=5, activation="tanh")
    batch = SinusoidTasks(shots=5, queries=5, dtype=torch.float64).batch("train", 0, 3)
    meta = _meta(network) | inner.rates(network, torch.float64)
    gradient, _ = maml.gradient(network, meta, batch, inner)
    assert _apart(gradient, _differences(network, meta, batch, inner)) < gap


def test_finite_differences_detect_a_missing_second_order() -> None:
    network = MLP(width=5, activation="tanh")
    batch = SinusoidTasks(shots=5, queries=5, dtype=torch.float64).batch("train", 0, 3)
    inner = Inner(steps=2, rate=0.05, first_order=True)
    gradient, _ = maml.gradient(network, _meta(network), batch, inner)
    assert _apart(gradient, _differences(network, _meta(network), batch, inner)) > 0.01


def _differences(network: Network, meta: Weights, batch: Batch, inner: Inner, step: float = 1e-5) -> Weights:
    differences = {name: torch.zeros_like(value) for name, value in meta.items()}
    for name, value in meta.items():
        for place in range(value.numel()):
            ends = []
            for sign in (1, -1):
                moved = value.clone()
                moved.view(-1)[place] += sign * step
                ends.append(_meta_loss(network, meta | {name: moved}, batch, inner))
            differences[name].view(-1)[place] = (ends[0] - ends[1]) / (2 * step)
    return differences


def _meta_loss(network: Network, meta: Weights, batch: Batch, inner: Inner) -> float:
    """The query losses after the last step and, as far as `every_step` says, their mean over the steps."""
    _, *after = adapt_in_steps(network, meta, batch.support_x, batch.support_y, inner)
    query_losses = [losses(query_outputs(network, w, batch, inner).detach(), batch.query_y).sum() for w in after]
    return float((1 - inner.every_step) * query_losses[-1] + inner.every_step * sum(query_losses) / len(query_losses))


def test_one_step_of_reptile_is_joint_training() -> None:
    network, batch, inner = Conv4(1, 3, width=8), _images(), Inner(steps=1, rate=0.1)
    meta = {name: value.requires_grad_() for name, value in _meta(network).items()}
    moved, _ = reptile.gradient(network, meta, batch, inner)
    x, y = torch.cat([batch.support_x, batch.query_x], 1), torch.cat([batch.support_y, batch.query_y], 1)
    joint = losses(outputs(network, weights_per_task(network, meta, len(x)), x), y).sum()
    gradients = torch.autograd.grad(joint, list(meta.values()))
    assert _apart({n: v / 0.1 for n, v in moved.items()}, dict(zip(meta, gradients, strict=True))) < 1e-12


@pytest.mark.parametrize("scale", [1e4, 1.0])
def test_first_order_is_second_order_where_the_hessian_is_zero(scale: float) -> None:
    network, rate = MLP(2, 3, width=8), 0.1 / scale
    meta = _meta(network)
    x = torch.randn(2, 12, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    # Far from the origin the cross-entropy of wrong classes is linear in the head: probabilities are 0 or 1.
    far = scale * x[:, :6]
    wrong = outputs(network, weights_per_task(network, meta, 2), far).argmin(2)
    batch = Batch(far, wrong, x[:, 6:], wrong)
    inner = [Inner(2, rate, only_head=True, first_order=order) for order in (False, True)]
    second, first = (maml.gradient(network, meta, batch, way)[0] for way in inner)
    gap = _apart(*({name: gradient[name] for name in ("head.weight", "head.bias")} for gradient in (first, second)))
    assert (gap < 1e-12) == (scale > 1)


def test_anil_changes_the_head_only_and_equals_maml_with_frozen_features() -> None:
    network, batch = Conv4(1, 3, width=8), _images()
    meta = _meta(network)
    weights = adapt(network, meta, batch.support_x, batch.support_y, Inner(2, 0.1, only_head=True))
    for name, value in weights.items():
        assert torch.equal(value, meta[name].expand_as(value)) == (not name.startswith("head")), name
    by_hand = weights_per_task(network, meta, len(batch))
    for _ in range(2):
        by_hand = {name: value.detach().requires_grad_() for name, value in by_hand.items()}
        total = losses(outputs(network, by_hand, batch.support_x), batch.support_y).sum()
        for name in ("head.weight", "head.bias"):
            by_hand[name] = by_hand[name] - 0.1 * torch.autograd.grad(total, by_hand[name], retain_graph=True)[0]
    assert float((weights["head.weight"] - by_hand["head.weight"].detach()).abs().max()) < 1e-14


def test_each_step_lowers_the_support_loss_and_the_first_weights_are_the_initial_ones() -> None:
    network, batch = Conv4(1, 3, width=8), _images()
    weights = list(adapt_in_steps(network, _meta(network), batch.support_x, batch.support_y, Inner(4, 0.05)))
    curve = [float(losses(outputs(network, w, batch.support_x), batch.support_y).detach().sum()) for w in weights]
    assert len(curve) == 5
    assert curve == sorted(curve, reverse=True)


@pytest.mark.parametrize("algorithm", [maml, protonet])
def test_an_inductive_output_does_not_depend_on_the_other_query_rows_and_a_transductive_one_does(
    algorithm: object,
) -> None:
    network, batch = Conv4(1, 3, width=8), _images()
    fewer = replace(batch, query_x=batch.query_x[:, :2], query_y=batch.query_y[:, :2])
    for transductive in (False, True):
        inner = Inner(1, 0.1, transductive=transductive)
        one, other = (algorithm.outputs(network, _meta(network), b, inner).detach()[:, :2] for b in (batch, fewer))
        assert (float((one - other).abs().max()) < 1e-12) == (not transductive)


@pytest.mark.parametrize("network", [Conv4(1, 3, width=8), ResNet(1, 3, width=4)])
def test_stored_statistics_are_those_of_the_rows_that_they_were_measured_on(network: Network) -> None:
    batch, meta = _images(), _meta(network)
    rows = batch.support_x[0]
    stored = meta | measure_statistics(network, meta, rows)
    weights = weights_per_task(network, stored, 1)
    by_rows = network.features(weights, network.prepare(rows[None]))
    assert (
        float((network.features(weights, network.prepare(rows[None]), STORED_STATISTICS) - by_rows).abs().max()) < 1e-12
    )
    one = network.features(weights, network.prepare(rows[None, :1]), STORED_STATISTICS)
    assert float((one - by_rows[:, :1]).abs().max()) < 1e-12


@pytest.mark.parametrize(("algorithm", "inner"), [(maml, Inner(2, 0.1, only_head=True)), (protonet, Inner(0))])
def test_with_stored_statistics_an_output_depends_on_no_other_query_row(algorithm: object, inner: Inner) -> None:
    network, batch = Conv4(1, 3, width=8), _images()
    meta = _meta(network)
    stored = meta | measure_statistics(network, meta, batch.query_x.flatten(0, 1))
    alone = replace(batch, query_x=batch.query_x[:, :1], query_y=batch.query_y[:, :1])
    one, all_ = (algorithm.outputs(network, stored, b, inner).detach()[:, :1] for b in (alone, batch))
    assert float((one - all_).abs().max()) < 1e-12
    by_support = algorithm.outputs(network, meta, batch, inner).detach()[:, :1]
    assert float((by_support - all_).abs().max()) > 1e-4


@pytest.mark.parametrize("algorithm", [maml, reptile, protonet])
def test_the_gradients_of_microbatches_add_up_to_that_of_the_whole(algorithm: object) -> None:
    network, batch, inner = Conv4(1, 3, width=8), _images(), Inner(2, 0.1)
    parts = list(microbatches(network, batch, inner, limit=1))
    assert [len(part) for part in parts] == [1] * len(batch)
    whole, _ = algorithm.gradient(network, _meta(network), batch, inner)
    pieces = [algorithm.gradient(network, _meta(network), part, inner)[0] for part in parts]
    assert _apart({name: sum(piece[name] for piece in pieces) for name in whole}, whole) < 1e-12


def test_prototypes_are_the_means_of_their_classes() -> None:
    network, batch, inner = Conv4(1, 3, width=8), _images(), Inner()
    both = replace(
        batch,
        support_x=torch.cat([batch.support_x, batch.query_x[:, :3]], 1),
        support_y=torch.cat([batch.support_y, batch.query_y[:, :3]], 1),
    )
    meta = _meta(network)
    distances = protonet.outputs(network, meta, both, inner)
    x = torch.cat([both.support_x, both.query_x], 1)
    features = network.features(weights_per_task(network, meta, len(x)), network.prepare(x), 6)
    middle = (features[:, 1] + features[:, 4]) / 2
    assert torch.allclose(distances[:, 0, 1], -(features[:, 6] - middle).square().sum(1), rtol=0, atol=1e-12)


def test_query_outputs_after_no_step_are_those_of_the_initialisation() -> None:
    network, batch = Conv4(1, 3, width=8), _images()
    start = weights_per_task(network, _meta(network), len(batch))
    inner = Inner(0, 0.1, transductive=True)
    expected = outputs(network, start, batch.query_x)
    assert torch.equal(query_outputs(network, start, batch, inner), expected)
    assert torch.equal(maml.outputs(network, _meta(network), batch, inner), expected)
