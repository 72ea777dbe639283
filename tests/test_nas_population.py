"""BatchedPopulation-batched training equals training each candidate alone, whatever happens to its neighbours."""

import io
import random

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from runner.nas.space.spaces import ImageSpace, TableSpace, TextSpace
from runner.nas.training import losses, training_plan
from runner.nas.training.batched_population import BatchedPopulation
from runner.nas.training.cuda_graphs import Recording
from runner.nas.training.sequential_population import SequentialPopulation
from runner.nas.training.training_loop import train

IMAGES = ImageSpace((1, 8, 8), 5, positions=(3, 2), widths=(4,), flips=True)
HALVED = ImageSpace((3, 9, 7), 5, positions=(2, 1), widths=(4,), stride=2)
TABLES = TableSpace(4, (3, 5), 3, widths=(8,))
NUMBERS = TableSpace(6, (), 1, widths=(8,))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sample(space, count, seed=0):
    rng, found = random.Random(seed), {}
    while len(found) < count:
        genotype = tuple(rng.randrange(n) for n in space.choices)
        found.setdefault(space.canonical_name(genotype), genotype)
    return list(found.values())


def data(space, rows=64, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, space.outputs, (rows,), generator=generator)
    if isinstance(space, ImageSpace):
        return torch.randn(rows, *space.shape, generator=generator, dtype=dtype), y
    if isinstance(space, TextSpace):
        return torch.randint(0, space.vocabulary, (rows, space.length), generator=generator), y
    x = torch.randn(rows, space.numeric, generator=generator, dtype=dtype)
    codes = [torch.randint(0, n, (rows, 1), generator=generator).to(dtype) for n in space.categories]
    return torch.cat([x, *codes], 1), y if space.outputs > 1 else x[:, 0] * 2 + x[:, 1]


def batches(x, y, steps, rows=16):
    starts = [step * rows % len(x) for step in range(steps)]
    return [(x[s : s + rows], y[s : s + rows], 1 - step / 60) for step, s in enumerate(starts)]


def furthest(first, second):
    """Largest difference between the weights and running statistics of two sets of candidates."""
    pairs = []
    for index in range(len(first)):
        one, two = first.extract(index).state_dict(), second.extract(index).state_dict()
        assert one.keys() == two.keys()
        pairs += [(one[name], two[name]) for name in one if one[name].is_floating_point()]
    return max((a - b).abs().max().item() for a, b in pairs)


@pytest.mark.parametrize("space", [IMAGES, HALVED, TABLES, NUMBERS], ids=["images", "halved", "tables", "numbers"])
def test_training_at_once_equals_training_one_by_one_also_after_dropping_some(space):
    x, y = data(space)
    genotypes = sample(space, 24)
    settings = {"seed": 3, "dtype": torch.float64, "clip": 0.5}
    at_once, alone = BatchedPopulation(space, genotypes, **settings), SequentialPopulation(space, genotypes, **settings)
    for step, (inputs, target, rate) in enumerate(batches(x, y, 30)):
        if step == 15:
            at_once.keep([5, 17, 2, 20, 11, 8])
            alone.keep([5, 17, 2, 20, 11, 8])
        assert (at_once.step(inputs, target, rate) - alone.step(inputs, target, rate)).abs().max() <= 1e-10
    assert furthest(at_once, alone) <= 1e-10
    for one, two in zip(at_once.evaluate(x, y), alone.evaluate(x, y), strict=True):
        assert (one - two).abs().max() <= 1e-10


def test_an_extracted_module_gives_the_populations_outputs():
    x, y = data(IMAGES, dtype=torch.float32)
    population = BatchedPopulation(IMAGES, sample(IMAGES, 12))
    train(population, batches(x, y, 6))
    outputs = population.predict(x)
    for index in range(12):
        assert torch.allclose(population.extract(index)(x), outputs[index], atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", [BatchedPopulation, SequentialPopulation])
def test_a_candidate_that_breaks_is_marked_and_its_neighbours_do_not_notice(kind, dtype):
    x, y = data(IMAGES, dtype=dtype)
    genotypes = sample(IMAGES, 12)
    broken, whole = (kind(IMAGES, genotypes, dtype=dtype) for _ in range(2))
    with torch.no_grad():
        weights = (
            broken.weights.row(4, "stem.conv.weight")
            if kind is BatchedPopulation
            else broken.members[4].module.get_parameter("stem.conv.weight")
        )
        weights.fill_(float("nan"))
    others = [index for index in range(12) if index != 4]
    for inputs, target, rate in batches(x, y, 5):
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
def test_a_saved_state_goes_on_as_if_nothing_had_happened(kind):
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
    genotypes = sample(space, 64)
    # Twice and four times the same 32 designs, so that every size has the same operations and activations.
    for candidates in (genotypes[:32], genotypes[:32] * 2, genotypes[:32] * 4):
        population = BatchedPopulation(space, candidates)
        with Kernels() as kernels:
            population.step(x, y)
        counts.append(kernels.count)
    assert counts[0] == counts[1] == counts[2]
    alone = SequentialPopulation(space, genotypes[:32])
    with Kernels() as kernels:
        alone.step(x, y)
    assert kernels.count > 3 * counts[0]


def test_two_halves_go_on_as_the_whole_would():
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


def test_a_full_memory_halves_the_population_until_it_fits_and_goes_on(monkeypatch):
    x, y = data(IMAGES)
    population, roomy = (BatchedPopulation(IMAGES, sample(IMAGES, 18), dtype=torch.float64) for _ in range(2))
    whole = losses.mean_losses

    def hungry(outputs, target):
        if len(outputs) > 5:
            torch.empty(2**50)  # after the forward pass: torch's own error for memory that nobody has
        return whole(outputs, target)

    _, expected = train(roomy, batches(x, y, 4))
    monkeypatch.setattr(losses, "mean_losses", hungry)
    parts, found = train(population, batches(x, y, 4))
    assert [len(part) for part in parts] == [5, 4, 5, 4]
    assert (found - expected).abs().max() <= 1e-10
    merged = [part.extract(i) for part in parts for i in range(len(part))]
    for index, module in enumerate(merged):
        for one, two in zip(module.state_dict().values(), roomy.extract(index).state_dict().values(), strict=True):
            assert (one - two).abs().max() <= 1e-10


def test_a_candidate_that_does_not_fit_alone_is_marked_as_failed(monkeypatch):
    x, y = data(NUMBERS)
    population = BatchedPopulation(NUMBERS, sample(NUMBERS, 3), dtype=torch.float64)
    monkeypatch.setattr(losses, "mean_losses", lambda outputs, target: torch.empty(2**50))
    parts, found = train(population, batches(x, y, 2))
    assert [part.failed.tolist() for part in parts] == [[True], [True], [True]]
    assert found.isnan().all()


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


def test_without_time_or_memory_the_plan_is_one_by_one():
    x, y = data(IMAGES, 16, torch.float32)
    genotypes = sample(IMAGES, 16)
    assert training_plan.plan_training(IMAGES, genotypes, x, y, budget_s=0.0).size == 1
    assert training_plan.plan_training(IMAGES, genotypes, x, y, budget_s=20.0, memory_bytes=1.0).size == 1


def test_a_plan_times_both_ways_and_its_parts_hold_everyone_in_order():
    x, y = data(IMAGES, 16, torch.float32)
    genotypes = sample(IMAGES, 20)
    plan = training_plan.plan_training(IMAGES, genotypes, x, y, budget_s=20.0)
    assert {"alone", "alone, channels last", "at once"} == {way for way, _, _ in plan.timings}
    chosen = training_plan.TrainingPlan(8, True, 2.0, (), 0.0)
    parts = training_plan.build_populations(IMAGES, genotypes, chosen, seed=1)
    assert [len(part) for part in parts] == [7, 6, 7]
    assert [genotype for part in parts for genotype in part.genotypes] == genotypes


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


class Waits(TorchDispatchMode):
    """Refuses what would make the host wait for the device."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket
        assert name not in (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero), f"{function} waits"
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("space", [IMAGES, HALVED, TABLES, NUMBERS], ids=["images", "halved", "tables", "numbers"])
def test_a_step_on_fixed_memory_equals_the_ordinary_one_also_for_other_rows_and_after_dropping_some(space):
    x, y = data(space)
    settings = {"seed": 3, "dtype": torch.float64, "clip": 0.5}
    fixed, ordinary = (BatchedPopulation(space, sample(space, 12), graph=graph, **settings) for graph in (True, False))
    for step, (inputs, target, rate) in enumerate(batches(x, y, 12)):
        if step == 6:
            fixed.keep([5, 7, 2, 11])
            ordinary.keep([5, 7, 2, 11])
            assert fixed.graph
            assert not fixed.recordings
        rows = 10 if step % 3 == 2 else 16
        one, two = (part.step(inputs[:rows], target[:rows], rate) for part in (fixed, ordinary))
        assert torch.equal(one, two)
    assert len(fixed.recordings) == 2
    assert not ordinary.recordings
    assert furthest(fixed, ordinary) == 0


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("space", [IMAGES, HALVED, TABLES, NUMBERS], ids=["images", "halved", "tables", "numbers"])
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


@pytest.mark.parametrize("kind", [BatchedPopulation, SequentialPopulation])
@pytest.mark.parametrize("space", [IMAGES, TABLES], ids=["images", "tables"])
def test_mixed_precision_learns_as_full_precision_does_with_weights_in_full(space, kind):
    x, y = data(space, 32, torch.float32)
    mixed, full = (kind(space, sample(space, 6), seed=1, mixed=way) for way in (True, False))
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
    # Not the long short-term memory (3): some processors have none in bfloat16.
    readers = SequentialPopulation(space, [(0, block, 0, 0, 5, 0, 0) for block in (0, 1, 2, 4)], seed=1, mixed=True)
    train(readers, batches(x, y, 40, 64))
    assert (readers.evaluate(x, y)[0] < 0.45).all()


@pytest.mark.parametrize("kind", [BatchedPopulation, SequentialPopulation])
def test_a_state_in_mixed_precision_is_saved_and_goes_on(kind):
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


def test_losses_that_part_in_mixed_precision_are_seen():
    full = torch.tensor([1.0, 0.02, torch.nan])
    assert training_plan.losses_agree(full * 1.03, full)
    assert not training_plan.losses_agree(torch.tensor([1.2, 0.02, torch.nan]), full)
    assert not training_plan.losses_agree(torch.tensor([1.0, torch.nan, torch.nan]), full)


def test_a_plan_says_precision_and_graph_and_on_a_processor_wants_neither():
    x, y = data(IMAGES, 16, torch.float32)
    genotypes = sample(IMAGES, 8)
    found = training_plan.plan_training(IMAGES, genotypes, x, y, budget_s=0.5)
    assert not found.mixed
    assert not found.graph
    [part] = training_plan.build_populations(
        IMAGES, genotypes, training_plan.TrainingPlan(8, True, 2.0, (), 0.0, mixed=True, graph=True)
    )
    assert (part.mixed, part.graph) == (True, True)
    [part] = training_plan.build_populations(
        IMAGES, genotypes, training_plan.TrainingPlan(1, True, 2.0, (), 0.0, mixed=True)
    )
    assert part.mixed
