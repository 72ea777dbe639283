"""Steps for a GPU, as far as a CPU can run them: on fixed memory for a graph, and in mixed precision."""

import io

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from runner.nas.space.spaces import TextSpace
from runner.nas.training.batched_population import BatchedPopulation
from runner.nas.training.cuda_graphs import Recording
from runner.nas.training.sequential_population import SequentialPopulation
from runner.nas.training.training_loop import train
from tests.runner.nas.populations import IMAGES, SPACES, TABLES, batches, data, furthest, sample

pytestmark = pytest.mark.torch


class Waits(TorchDispatchMode):
    """Refuses what would make the host wait for the device."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket
        assert name not in (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero), f"{function} waits"
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_a_step_on_fixed_memory_equals_the_ordinary_one_also_for_other_rows_and_after_dropping_some(space):
    x, y = data(space)
    settings = {"seed": 3, "dtype": torch.float64, "clip": 0.5}
    fixed, ordinary = (BatchedPopulation(space, sample(space, 8), graph=graph, **settings) for graph in (True, False))
    for step, (inputs, target, rate) in enumerate(batches(x, y, 10)):
        if step == 5:
            fixed.keep([5, 7, 2])
            ordinary.keep([5, 7, 2])
            assert fixed.graph
            assert not fixed.recordings
        rows = 10 if step % 3 == 2 else 16
        one, two = (part.step(inputs[:rows], target[:rows], rate) for part in (fixed, ordinary))
        assert torch.equal(one, two)
    assert len(fixed.recordings) == 2
    assert not ordinary.recordings
    assert furthest(fixed, ordinary) == 0


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_a_step_that_is_recorded_never_waits_for_the_device(space, mixed):
    x, y = data(space, 16, torch.float32)
    population = BatchedPopulation(space, sample(space, 12), graph=True, mixed=mixed)
    population.step(x, y)
    [recording] = population.recordings.values()
    population.optimizer.prepare(0.5)
    with Waits():
        losses = population._advance(*recording.inputs)
    assert losses.isfinite().all()
    with pytest.raises(AssertionError, match="waits"), Waits():
        bool(losses.isfinite().all())


def test_a_recording_reads_each_calls_inputs_and_keeps_its_memory():
    total = torch.zeros(3)

    def add(x):
        return total.add_(x).clone()

    recording = Recording([torch.ones(3)])
    places = [place.data_ptr() for place in recording.inputs]
    assert recording(add, [torch.full((3,), 2.0)], [total]).tolist() == [2, 2, 2]
    assert recording(add, [torch.full((3,), 5.0)], [total]).tolist() == [7, 7, 7]
    assert [place.data_ptr() for place in recording.inputs] == places


@pytest.mark.parametrize("kind", [BatchedPopulation, SequentialPopulation])
@pytest.mark.parametrize("space", [IMAGES, TABLES], ids=["images", "tables"])
def test_mixed_precision_learns_as_full_precision_does_with_weights_in_full(space, kind):
    x, y = data(space, 32, torch.float32)
    mixed, full = (kind(space, sample(space, 4), seed=1, mixed=way) for way in (True, False))
    first, second = mixed.step(x, y), full.step(x, y)
    assert not torch.equal(first, second)
    assert (first - second).abs().max() < 0.02
    (_, one), (_, two) = (train(part, [(x, y, 1.0)] * 10) for part in (mixed, full))
    assert (one - two).abs().max() < 0.02
    assert one.dtype == torch.float32
    assert all(tensor.dtype in (torch.float32, torch.long) for tensor in mixed.extract(0).state_dict().values())
    assert mixed.step(x, y).mean() < 0.95 * first.mean()


def test_text_learns_in_mixed_precision():
    space = TextSpace(20, 6, 2, embeddings=(8,), widths=(16,))
    x, _ = data(space, 128)
    y = (x == 7).any(1).long()
    # Not the LSTM (3): some CPUs have none in bfloat16.
    readers = SequentialPopulation(space, [(0, block, 0, 0, 5, 0, 0) for block in (0, 1, 2, 4)], seed=1, mixed=True)
    train(readers, batches(x, y, 40, 64))
    assert (readers.evaluate(x, y)[0] < 0.45).all()


@pytest.mark.parametrize("kind", [BatchedPopulation, SequentialPopulation])
def test_a_state_in_mixed_precision_is_saved_and_continues(kind):
    x, y = data(IMAGES, dtype=torch.float32)
    first, second = (kind(IMAGES, sample(IMAGES, 6), seed=2, mixed=True) for _ in range(2))
    train(first, batches(x, y, 4))
    first.keep([4, 1, 3])
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    second.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    assert second.mixed
    for part in (first, second):
        train(part, batches(x, y, 4))
    assert furthest(first, second) == 0
