"""Spaces: exact counts, canonical names, names of decisions, and modules that match them."""

import random
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from runner.nas.space.designs import OPERATIONS
from runner.nas.space.layer_summary import layers
from runner.nas.space.networks import build
from runner.nas.space.spaces import AnySpace, ImageSpace, TableSpace, TextSpace
from runner.nas.training.batches import batch_choices
from tests.runner.nas.small_spaces import SPACES as SMALL
from tests.runner.nas.small_spaces import every_space

pytestmark = pytest.mark.torch

SPACES = {
    "image": ImageSpace((3, 9, 7), 10, positions=(2, 3), widths=(4, 8), flips=True, batches=(16, 32)),
    "image at half the side": ImageSpace((3, 9, 7), 10, positions=(2, 1), widths=(4, 8), stride=2),
    "table": TableSpace(5, (3, 7), 1, widths=(8, 16)),
    "table of batches": TableSpace(5, (3, 7), 1, widths=(8, 16), batches=(16, 32, 64)),
    "text": TextSpace(50, 11, 6),
}


def inputs(space, rows):
    if isinstance(space, ImageSpace):
        return torch.randn(rows, *space.shape)
    if isinstance(space, TableSpace):
        return torch.cat([torch.randn(rows, 5), torch.randint(0, 3, (rows, 2)).float()], 1)
    return torch.randint(0, 50, (rows, space.length))


def draws(space, count):
    rng = random.Random(1)
    return [tuple(rng.randrange(n) for n in space.choices) for _ in range(count)]


@pytest.mark.parametrize("name", SPACES)
def test_the_number_of_parameters_is_exact(name):
    space = SPACES[name]
    for genotype in draws(space, 60):
        module = build(space, genotype)
        assert space.size(genotype) == sum(p.numel() for p in module.parameters()), space.canonical_name(genotype)


@pytest.mark.parametrize("name", SPACES)
def test_the_operations_are_those_that_torch_counts(name):
    space = SPACES[name]
    for genotype in draws(space, 25):
        module, x = build(space, genotype).eval(), inputs(space, 1)
        # oneDNN's fused LSTM hides its products from the counter.
        with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
            module(x)
        assert space.flops(genotype) == counter.get_total_flops(), space.canonical_name(genotype)


@pytest.mark.parametrize("name", SPACES)
def test_equal_names_mean_equal_designs_and_different_names_different_ones(name):
    space = SPACES[name]
    sample = draws(space, 400)
    by_name = {space.canonical_name(genotype): space.decode(genotype) for genotype in sample}
    assert len(set(by_name.values())) == len(by_name) == len({space.decode(genotype) for genotype in sample})


def test_where_a_skip_stands_does_not_matter_but_the_order_of_operations_does():
    space, skip = ImageSpace((1, 8, 8), 10), OPERATIONS.index("skip")
    names = [
        space.canonical_name((0, *cell, 0, 1, 2, 0, 0, 1, 1, 1)) for cell in ((skip, 0, 5), (0, skip, 5), (0, 5, skip))
    ]
    assert len(set(names)) == 1
    assert space.canonical_name((0, 5, 0, skip, 0, 1, 2, 0, 0, 1, 1, 1)) != names[0]


def test_a_single_layer_is_the_same_with_and_without_residuals():
    space = SPACES["table"]
    assert space.canonical_name((0, 0, 1, 0, 0, 0, 0)) == space.canonical_name((0, 0, 0, 0, 0, 0, 0))
    assert space.canonical_name((0, 1, 1, 0, 0, 0, 0)) != space.canonical_name((0, 1, 0, 0, 0, 0, 0))


def test_the_rows_of_a_step_are_part_of_the_name_where_they_are_searched():
    space = SPACES["table of batches"]
    names = [space.canonical_name((0, 0, 0, 0, 0, 0, 0, option)) for option in range(3)]
    assert [name.rsplit(",", 1)[1] for name in names] == ["batch=16", "batch=32", "batch=64"]
    assert "batch" not in SPACES["table"].canonical_name((0,) * 7)
    assert [batch_choices(rows) for rows in (90, 1_200, 5_000)] == [(16, 32), (16, 32, 64), (32, 64, 128)]


def test_a_genotype_that_does_not_fit_is_refused_with_its_value():
    with pytest.raises(ValueError, match=r"\(9, 0, 0, 0, 0, 0, 0\)"):
        SPACES["table"].decode((9, 0, 0, 0, 0, 0, 0))


def test_weights_depend_on_seed_and_name_only():
    space = SPACES["image"]
    genotype = draws(space, 1)[0]
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second, third = (build(space, genotype, seed) for seed in (3, 3, 4))
    assert torch.equal(before, torch.get_rng_state())
    same = [all(map(torch.equal, a.parameters(), b.parameters())) for a, b in pairwise((first, second, third))]
    assert same == [True, False]


def test_padding_before_the_mean_changes_nothing_for_blocks_that_see_no_further():
    space = SPACES["text"]
    for block in (0, 1, 4):
        module = build(space, (0, block, 0, 1, 0, 0, 0), seed=1).eval()
        codes = torch.tensor([[4, 9, 2, 7, 0, 0, 0, 0, 0, 0, 0]])
        assert torch.allclose(module(codes), module(codes[:, :6]), atol=1e-6)


@pytest.mark.parametrize(
    ("side", "least", "kept"), [(8, 14, 8), (27, 14, 27), (28, 14, 14), (32, 14, 16), (33, 14, 17), (224, 14, 56),
                                (32, 28, 32), (64, 28, 32)]
)  # fmt: skip
def test_the_stem_makes_large_images_smaller_but_not_too_small(side, least, kept):
    space = ImageSpace.for_shape((3, side, side), 10, minimum_side=least)
    assert space.sides == (kept, kept)
    assert layers(space, space.decode((0,) * len(space.choices)))[1]["out"] == f"{kept}x{kept}x{space.widths[0]}"


@pytest.mark.parametrize("space", [*SMALL.values(), ImageSpace((3, 25, 21), 2), ImageSpace((1, 4, 4), 2, flips=True)])
def test_every_decision_of_a_space_has_its_own_name_and_a_name_for_each_option(space: AnySpace) -> None:
    assert [len(options) for _, options in space.decisions] == list(space.choices)
    assert len({name for name, _ in space.decisions}) == len(space.choices)
    assert all(len(set(options)) == len(options) for _, options in space.decisions)


@every_space
def test_the_names_of_options_tell_what_a_genotype_decodes_to(space: AnySpace) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        genotype = tuple(rng.integers(space.choices).tolist())
        names = {name: options[g] for (name, options), g in zip(space.decisions, genotype, strict=True)}
        design = space.decode(genotype)
        assert names["width"] == str(design.width)
        assert float(names["learning rate"]) == design.recipe.lr
        assert float(names["weight decay"]) == design.recipe.weight_decay
        assert float(names["dropout"]) == design.recipe.dropout
        assert names.get("activation", "") == getattr(design, "activation", "")
        assert names.get("block", "") == getattr(design, "block", "")
        assert names.get("augmentation", "none") == design.recipe.augment
        if isinstance(space, ImageSpace):
            chosen = [[names[f"stage {s}, operation {p + 1}"] for p in range(n)] for s, n in enumerate((2, 1), 1)]
            assert [[name for name in stage if name != "skip"] for stage in chosen] == list(map(list, design.stages))
