"""A limit of the number of parameters: what it leaves of a space."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from runner.nas.spaces import AnySpace, Genotype

SAMPLES = 2_000
_PLACES = {"widths": {"ImageSpace": 0, "TableSpace": 0, "TextSpace": 2}, "embeddings": {"TextSpace": 0}}


class LimitError(ValueError):
    """A limit that no architecture meets, told in a sentence for the user."""


def restricted(space: AnySpace, limit: int | None, seed: int) -> AnySpace:
    """The space without the widths that a limit of the parameters rules out whatever else is chosen.

    Raises LimitError, with the smallest size found, where no architecture meets the limit.
    """
    if limit is None:
        return space
    rng = np.random.default_rng(seed)
    drawn = [random_genotype(space, rng) for _ in range(SAMPLES)]
    fits = [genotype for genotype in drawn if space.size(genotype) <= limit]
    if not fits:
        least = min(space.size(genotype) for genotype in drawn)
        raise LimitError(
            f"max_parameters: of {SAMPLES:,} architectures none has {limit:,} parameters or fewer; the smallest has "
            f"{least:,.0f}. Raise the limit."
        )
    changes: dict[str, Any] = {}
    for name, places in _PLACES.items():
        if (place := places.get(type(space).__name__)) is not None:
            used = {genotype[place] for genotype in fits}
            changes[name] = tuple(width for i, width in enumerate(getattr(space, name)) if i in used)
    return dataclasses.replace(space, **changes)


def random_genotype(space: AnySpace, rng: np.random.Generator) -> Genotype:
    return tuple(int(option) for option in rng.integers(space.choices))
