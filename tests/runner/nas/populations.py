"""Populations of small spaces, and random data for them."""

import random

import torch

from runner.nas.space.spaces import ImageSpace, TableSpace, TextSpace

IMAGES = ImageSpace((1, 8, 8), 5, positions=(3, 2), widths=(4,), flips=True)
HALVED = ImageSpace((3, 9, 7), 5, positions=(2, 1), widths=(4,), stride=2)
TABLES = TableSpace(4, (3, 5), 3, widths=(8,))
NUMBERS = TableSpace(6, (), 1, widths=(8,))
SPACES = {"images": IMAGES, "halved": HALVED, "tables": TABLES, "numbers": NUMBERS}


def sample(space, count, seed=0):
    """Return different random candidates."""
    rng, found = random.Random(seed), {}
    while len(found) < count:
        genotype = tuple(rng.randrange(n) for n in space.choices)
        found.setdefault(space.canonical_name(genotype), genotype)
    return list(found.values())


def data(space, rows=64, dtype=torch.float64):
    """Return random inputs and targets."""
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
    """Return batches with a falling factor on the learning rate."""
    starts = [step * rows % len(x) for step in range(steps)]
    return [(x[s : s + rows], y[s : s + rows], 1 - step / 60) for step, s in enumerate(starts)]


def furthest(first, second):
    """Return the largest difference between the weights and running statistics of two sets of candidates."""
    pairs = []
    for index in range(len(first)):
        one, two = first.extract(index).state_dict(), second.extract(index).state_dict()
        assert one.keys() == two.keys()
        pairs += [(one[name], two[name]) for name in one if one[name].is_floating_point()]
    return max((a - b).abs().max().item() for a, b in pairs)
