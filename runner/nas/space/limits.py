"""Limits: the number of parameters, which narrows a space, and the latency, which is measured."""

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
_PROBES = 32  # of these, the ones with the fewest operations, are timed to see whether a limit can be met
_PASSES, _MAXIMUM_S = 5, 0.01  # of one measurement
_GENOTYPE_PLACES = {"widths": {"ImageSpace": 0, "TableSpace": 0, "TextSpace": 2}, "embeddings": {"TextSpace": 0}}


class SettingError(ValueError):
    """A setting that a search cannot use: `field` names it, `text` says why, `remedy` what to do.

    `str(error)` puts them together as a sentence for the user.
    """

    def __init__(self, field: str, text: str, remedy: str) -> None:
        super().__init__(f"{field}: {text} {remedy}")
        self.field, self.text, self.remedy = field, text, remedy


class LimitError(SettingError):
    """A limit that no architecture meets."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(field, text, "Raise the limit.")


def restrict(space: AnySpace, limit: int | None, seed: int) -> AnySpace:
    """Return the space without the widths that a limit on the parameters always rules out.

    Raises LimitError, with the smallest size of the sample, where no architecture meets the limit.
    """
    if limit is None:
        return space
    rng = np.random.default_rng(seed)
    sample = [random_genotype(space, rng) for _ in range(SAMPLES)]
    within = [genotype for genotype in sample if space.size(genotype) <= limit]
    if not within:
        smallest, unit = min(map(space.size, sample)), "parameter" if limit == 1 else "parameters"
        raise LimitError(
            "max_parameters",
            f"Of {SAMPLES:,} architectures none has {limit:,} {unit} or fewer; the smallest has {smallest:,.0f}.",
        )
    changes: dict[str, Any] = {}
    for name, places in _GENOTYPE_PLACES.items():
        if (place := places.get(type(space).__name__)) is not None:
            options = {genotype[place] for genotype in within}
            changes[name] = tuple(width for i, width in enumerate(getattr(space, name)) if i in options)
    return dataclasses.replace(space, **changes)


def random_genotype(space: AnySpace, rng: np.random.Generator) -> Genotype:
    """Return a genotype drawn uniformly."""
    return tuple(int(option) for option in rng.integers(space.choices))


class Latencies:
    """The seconds that networks take to predict one row on a device, measured once per architecture."""

    def __init__(self, space: AnySpace, row: Tensor, device: str) -> None:
        self.space, self.row, self.device = space, row[:1].to(device), device
        self.by_architecture: dict[str, float] = {}

    def seconds(self, genotype: Genotype) -> float:
        """Return the latency of a candidate; its recipe does not matter."""
        architecture = str(self.space.decode(genotype))
        if architecture not in self.by_architecture:
            self.by_architecture[architecture] = self._measure(genotype)
        return self.by_architecture[architecture]

    def check(self, limit_s: float, seed: int) -> None:
        """Raise LimitError where none of many small architectures meets the limit."""
        rng = np.random.default_rng(seed)
        sample = sorted((random_genotype(self.space, rng) for _ in range(SAMPLES)), key=self.space.flops)
        if all(self.seconds(genotype) > limit_s for genotype in sample[:_PROBES]):
            raise self.error(limit_s)

    def error(self, limit_s: float) -> LimitError:
        """Return the error for a limit that no architecture meets; it names the fastest one."""
        name = min(self.by_architecture, key=self.by_architecture.__getitem__)
        return LimitError(
            "max_latency_s",
            f"No architecture predicts one row within {1000 * limit_s:g} ms; "
            f"the fastest, {name}, takes {1000 * self.by_architecture[name]:.3g} ms.",
        )

    @torch.no_grad()
    def _measure(self, genotype: Genotype) -> float:
        """Return the median of a few passes after a warm-up pass; it takes some milliseconds at most."""
        module, times = _build_without_weights(self.space, genotype, self.device), []
        began = time.perf_counter()
        for _ in range(1 + _PASSES):
            before = time.perf_counter()
            module(self.row)
            if self.device == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - before)
            if len(times) > 1 and time.perf_counter() - began > _MAXIMUM_S:
                break
        return statistics.median(times[1:])


def _build_without_weights(space: AnySpace, genotype: Genotype, device: str) -> nn.Module:
    """Return the network with constant weights: to draw random ones takes longer than a pass."""
    with torch.device("meta"):
        module = build(space, genotype)
    module = module.to_empty(device=device).eval()
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.detach().fill_(0.01 if tensor.is_floating_point() else 0)
    return module
