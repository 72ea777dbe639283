"""A population whose candidates fail, that is saved, or for which memory runs out."""

import io

import pytest
import torch

from runner.nas.training import losses
from runner.nas.training.batched_population import BatchedPopulation
from runner.nas.training.sequential_population import SequentialPopulation
from runner.nas.training.training_loop import train
from tests.runner.nas.populations import IMAGES, NUMBERS, batches, data, furthest, sample

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", [BatchedPopulation, SequentialPopulation])
def test_a_candidate_that_breaks_is_marked_and_its_neighbours_do_not_notice(kind, dtype):
    x, y = data(IMAGES, dtype=dtype)
    genotypes = sample(IMAGES, 6)
    broken, whole = (kind(IMAGES, genotypes, dtype=dtype) for _ in range(2))
    with torch.no_grad():
        weights = (
            broken.weights.row(4, "stem.conv.weight")
            if kind is BatchedPopulation
            else broken.members[4].module.get_parameter("stem.conv.weight")
        )
        weights.fill_(float("nan"))
    others = [index for index in range(6) if index != 4]
    for inputs, target, rate in batches(x, y, 3):
        assert torch.equal(broken.step(inputs, target, rate)[others], whole.step(inputs, target, rate)[others])
    assert broken.failed.nonzero().flatten().tolist() == [4]
    assert broken.evaluate(x, y)[0].isnan().nonzero().flatten().tolist() == [4]
    broken.keep(others)
    whole.keep(others)
    assert furthest(broken, whole) == 0


def test_a_gradient_that_explodes_leaves_the_weights_finite():
    x, y = data(NUMBERS)
    population = BatchedPopulation(NUMBERS, sample(NUMBERS, 4), dtype=torch.float64)
    before = population.weights.flat.detach().clone()
    population.step(x, y * float("inf"))
    assert population.failed.all()
    assert population.weights.flat.isfinite().all()
    assert not torch.equal(before, torch.zeros_like(before))


@pytest.mark.parametrize("kind", [BatchedPopulation, SequentialPopulation])
def test_a_saved_state_continues_as_if_nothing_had_happened(kind):
    x, y = data(IMAGES)
    genotypes = sample(IMAGES, 10)
    first = kind(IMAGES, genotypes, seed=2, dtype=torch.float64)
    train(first, batches(x, y, 4))
    first.keep([7, 1, 3])
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    second = kind(IMAGES, genotypes, seed=2, dtype=torch.float64)
    second.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    train(first, batches(x, y, 4))
    train(second, batches(x, y, 4))
    assert first.genotypes == second.genotypes
    assert furthest(first, second) == 0


def test_two_halves_continue_as_the_whole_would():
    x, y = data(IMAGES)
    whole = BatchedPopulation(IMAGES, sample(IMAGES, 9), dtype=torch.float64)
    train(whole, batches(x, y, 3))
    halves = whole.split()
    assert [len(half) for half in halves] == [5, 4]
    train(whole, batches(x, y, 3))
    for half in halves:
        train(half, batches(x, y, 3))
    merged = [half.extract(i) for half in halves for i in range(len(half))]
    for index, module in enumerate(merged):
        for one, two in zip(module.parameters(), whole.extract(index).parameters(), strict=True):
            assert (one - two).abs().max() <= 1e-10


def test_a_full_memory_halves_the_population_until_it_fits_and_continues(monkeypatch):
    x, y = data(IMAGES)
    population, roomy = (BatchedPopulation(IMAGES, sample(IMAGES, 10), dtype=torch.float64) for _ in range(2))
    whole = losses.mean_losses

    def hungry(outputs, target):
        if len(outputs) > 3:
            torch.empty(2**50)  # after the forward pass: torch's own error for memory that nobody has
        return whole(outputs, target)

    _, expected = train(roomy, batches(x, y, 4))
    monkeypatch.setattr(losses, "mean_losses", hungry)
    parts, found = train(population, batches(x, y, 4))
    assert [len(part) for part in parts] == [3, 2, 3, 2]
    assert (found - expected).abs().max() <= 1e-10
    merged = [part.extract(i) for part in parts for i in range(len(part))]
    for index, module in enumerate(merged):
        for one, two in zip(module.state_dict().values(), roomy.extract(index).state_dict().values(), strict=True):
            assert (one - two).abs().max() <= 1e-10


def test_a_full_memory_also_halves_a_population_on_fixed_memory(monkeypatch):
    x, y = data(IMAGES)
    parts = [BatchedPopulation(IMAGES, sample(IMAGES, 8), dtype=torch.float64, graph=graph) for graph in (True, False)]
    whole = losses.mean_losses

    def hungry(outputs, target):
        if len(outputs) > 4:
            torch.empty(2**50)
        return whole(outputs, target)

    monkeypatch.setattr(losses, "mean_losses", hungry)
    (fixed, one), (ordinary, two) = (train(part, batches(x, y, 3)) for part in parts)
    assert [len(part) for part in fixed] == [len(part) for part in ordinary] == [4, 4]
    assert torch.equal(one, two)
    assert not parts[0].recordings


def test_a_candidate_that_does_not_fit_alone_is_marked_as_failed(monkeypatch):
    x, y = data(NUMBERS)
    population = BatchedPopulation(NUMBERS, sample(NUMBERS, 3), dtype=torch.float64)
    monkeypatch.setattr(losses, "mean_losses", lambda outputs, target: torch.empty(2**50))
    parts, found = train(population, batches(x, y, 2))
    assert [part.failed.tolist() for part in parts] == [[True], [True], [True]]
    assert found.isnan().all()
