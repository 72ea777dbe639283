"""Training together equals training each candidate alone, and takes few operations."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from runner.nas.space.spaces import ImageSpace, TextSpace
from runner.nas.training import training_plan
from runner.nas.training.batched_population import BatchedPopulation
from runner.nas.training.sequential_population import SequentialPopulation
from runner.nas.training.training_loop import train
from tests.runner.nas.populations import IMAGES, NUMBERS, SPACES, TABLES, batches, data, furthest, sample

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize(
    ("count", "steps", "rest"),
    [(10, 10, [5, 2, 7, 8]), pytest.param(24, 30, [5, 17, 2, 20, 11, 8], marks=pytest.mark.slow)],
    ids=["few", "many"],
)
def test_training_together_equals_training_one_by_one_also_after_dropping_some(space, count, steps, rest):
    x, y = data(space)
    genotypes = sample(space, count)
    settings = {"seed": 3, "dtype": torch.float64, "clip": 0.5}
    together, alone = (
        BatchedPopulation(space, genotypes, **settings),
        SequentialPopulation(space, genotypes, **settings),
    )
    for step, (inputs, target, rate) in enumerate(batches(x, y, steps)):
        if step == steps // 2:
            together.keep(rest)
            alone.keep(rest)
        assert (together.step(inputs, target, rate) - alone.step(inputs, target, rate)).abs().max() <= 1e-10
    assert furthest(together, alone) <= 1e-10
    for one, two in zip(together.evaluate(x, y), alone.evaluate(x, y), strict=True):
        assert (one - two).abs().max() <= 1e-10


def test_an_extracted_module_gives_the_populations_outputs():
    x, y = data(IMAGES, dtype=torch.float32)
    population = BatchedPopulation(IMAGES, sample(IMAGES, 12))
    train(population, batches(x, y, 6))
    outputs = population.predict(x)
    for index in range(12):
        assert torch.allclose(population.extract(index)(x), outputs[index], atol=1e-5)


class Kernels(TorchDispatchMode):
    """Counts the operations that reach the device."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("space", [IMAGES, TABLES], ids=["images", "tables"])
def test_the_kernels_of_a_step_do_not_grow_with_the_number_of_candidates(space):
    counts = []
    x, y = data(space, 8, torch.float32)
    genotypes = sample(space, 32)
    # Twice and four times the same designs: every size has the same operations and activations.
    for candidates in (genotypes, genotypes * 2, genotypes * 4):
        population = BatchedPopulation(space, candidates, fill=False)  # zero weights have the same operations
        with Kernels() as kernels:
            population.step(x, y)
        counts.append(kernels.count)
    assert counts[0] == counts[1] == counts[2]
    alone = SequentialPopulation(space, genotypes)
    with Kernels() as kernels:
        alone.step(x, y)
    assert kernels.count > 3 * counts[0]


def test_text_is_trained_one_by_one_behind_the_same_interface():
    space = TextSpace(20, 6, 2, embeddings=(8,), widths=(16,))
    x, _ = data(space, 128)
    y = (x == 7).any(1).long()
    genotypes = [(0, block, 0, 0, 5, 0, 0) for block in range(5)]
    readers = SequentialPopulation(space, genotypes, seed=1)
    train(readers, batches(x, y, 40, 64))
    loss, errors = readers.evaluate(x, y)
    assert (loss < 0.45).all()
    assert (errors < 0.2).all()
    plan = training_plan.plan_training(space, genotypes, x, y, budget_s=0.1)
    assert plan.size == 1


def test_candidates_of_several_buckets_are_refused_and_can_be_grouped():
    space = ImageSpace((1, 8, 8), 5, positions=(1, 1), widths=(4, 8))
    genotypes = sample(space, 12)
    with pytest.raises(ValueError, match="one bucket"):
        BatchedPopulation(space, genotypes)
    groups = training_plan.group_by_bucket(space, genotypes)
    assert sorted(index for group in groups for index in group) == list(range(12))
    assert len(BatchedPopulation(space, [genotypes[index] for index in groups[0]])) == len(groups[0])


def test_keeping_nobody_or_one_twice_is_refused():
    population = BatchedPopulation(NUMBERS, sample(NUMBERS, 4))
    for indices in ([], [1, 1]):
        with pytest.raises(ValueError, match="each once"):
            population.keep(indices)
