"""A small space of each kind, and random rows for it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from runner.nas.space.spaces import AnySpace, ImageSpace, TableSpace, TextSpace

IMAGES = ImageSpace((1, 6, 6), 3, positions=(2, 1), flips=True)
TABLES = TableSpace(4, (3, 5), 1)
TEXTS = TextSpace(30, 7, 4)
SPACES = {"images": IMAGES, "tables": TABLES, "texts": TEXTS}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def rows(space: AnySpace, count: int) -> tuple[Tensor, Tensor]:
    """Return random inputs and targets."""
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
    """Return that nobody wants a stop."""
    return False
