"""Limits of the number of parameters, which narrows a space, and of the latency, which is measured."""

from __future__ import annotations

import dataclasses
import statistics
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from runner.nas.space.networks import build
from runner.nas.space.spaces import AnySpace, Genotype

SAMPLES = 2_000
_PROBES = 32  # of these, those of the fewest operations, are timed to see whether a limit can be met
_PASSES, _MOST_S = 5, 0.01  # that a latency is measured in
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
        least, unit = min(space.size(genotype) for genotype in drawn), "parameter" if limit == 1 else "parameters"
        raise LimitError(
            f"max_parameters: of {SAMPLES:,} architectures none has {limit:,} {unit} or fewer; the smallest has "
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


class Latencies:
    """Seconds that a network takes to predict one row alone on a device, measured once for each architecture."""

    def __init__(self, space: AnySpace, row: Tensor, device: str) -> None:
        self.space, self.row, self.device = space, row[:1].to(device), device
        self.known: dict[str, float] = {}

    def of(self, genotype: Genotype) -> float:
        """The latency of a candidate; its recipe does not matter."""
        architecture = str(self.space.decode(genotype))
        if architecture not in self.known:
            self.known[architecture] = self._measured(genotype)
        return self.known[architecture]

    def fastest(self) -> str:
        """The fastest architecture so far with its latency, for a sentence."""
        name = min(self.known, key=self.known.__getitem__)
        return f"{name} takes {1000 * self.known[name]:.3g} ms"

    def check(self, limit_s: float, seed: int) -> None:
        """Raise LimitError where not one of many small architectures meets the limit."""
        rng = np.random.default_rng(seed)
        drawn = sorted((random_genotype(self.space, rng) for _ in range(SAMPLES)), key=self.space.flops)
        if all(self.of(genotype) > limit_s for genotype in drawn[:_PROBES]):
            raise self.error(limit_s)

    def error(self, limit_s: float) -> LimitError:
        """What to say where nothing met the limit."""
        return LimitError(
            f"max_latency_s: no architecture was found that predicts one row within {1000 * limit_s:g} ms; "
            f"the fastest, {self.fastest()}. Raise the limit."
        )

    @torch.no_grad()
    def _measured(self, genotype: Genotype) -> float:
        """The median of a few passes after one that warms up, in some milliseconds at most."""
        module, times = _blank(self.space, genotype, self.device), []
        began = time.perf_counter()
        for _ in range(1 + _PASSES):
            before = time.perf_counter()
            module(self.row)
            if self.device == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - before)
            if len(times) > 1 and time.perf_counter() - began > _MOST_S:
                break
        return statistics.median(times[1:])


def _blank(space: AnySpace, genotype: Genotype, device: str) -> nn.Module:
    """The network without its first weights, whose drawing takes longer than a pass."""
    with torch.device("meta"):
        module = build(space, genotype)
    module = module.to_empty(device=device).eval()
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.detach().fill_(0.01 if tensor.is_floating_point() else 0)
    return module
