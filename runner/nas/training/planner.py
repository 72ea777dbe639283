"""Which way trains a bucket of candidates fastest on this device: at once, and how many, or one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from runner.nas.space.spaces import AnySpace, Genotype, ImageSpace
from runner.nas.training.individuals import Individuals
from runner.nas.training.losses import is_out_of_memory
from runner.nas.training.population import Population, stackable
from runner.nas.training.train import Part
from runner.shared.allocator import keep_memory

SIZES = (8, 32, 128, 512)
LAYOUT_TRIALS = 4  # candidates that are timed in both layouts
MARGIN = 1.05  # batching must win by more than the noise of the timings
AGREEMENT = 0.05  # how far losses in mixed precision may lie from those in full precision, also relatively
PROBES = 3  # steps after which they are compared
COPIES = 8  # what a layer's activations take at most, forward and backward, in copies of its output


@dataclass(frozen=True, slots=True)
class Plan:
    """`size` candidates at once, or one by one where it is 1, with images in channels-last layout or not.

    On a GPU perhaps in mixed precision, and with a population's steps recorded as a graph.
    `speedup` is the measured throughput against one by one in torch's default layout; `timings` holds
    (way, candidates, seconds a step of one candidate); `spent_s` is what planning took.
    """

    size: int
    channels_last: bool
    speedup: float
    timings: tuple[tuple[str, int, float], ...]
    spent_s: float
    mixed: bool = False
    graph: bool = False


def buckets(space: AnySpace, genotypes: Sequence[Genotype]) -> list[list[int]]:
    """Indices of the candidates that can be trained together."""
    found: dict[int, list[int]] = {}
    for index, genotype in enumerate(genotypes):
        found.setdefault(space.bucket(genotype), []).append(index)
    return [found[key] for key in sorted(found)]


def start(space: AnySpace, genotypes: Sequence[Genotype], plan: Plan, **settings: Any) -> list[Part]:
    """The candidates of one bucket as parts, in order, as the plan says; settings go to Population / Individuals."""
    if plan.size == 1:
        return [Individuals(space, genotypes, channels_last=plan.channels_last, mixed=plan.mixed, **settings)]
    settings |= {"mixed": plan.mixed, "graph": plan.graph}
    pieces = -(-len(genotypes) // plan.size)
    bounds = [round(len(genotypes) * piece / pieces) for piece in range(pieces + 1)]
    return [Population(space, genotypes[low:high], **settings) for low, high in pairwise(bounds)]


def plan(
    space: AnySpace,
    genotypes: Sequence[Genotype],
    x: Tensor,
    y: Tensor,
    *,
    budget_s: float,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    memory_bytes: float | None = None,
) -> Plan:
    """Time a few steps of each way on one real batch, for `budget_s` seconds at most plus the step under way.

    `genotypes` are of one bucket. Populations larger than `memory_bytes` (default: most of what is free) are not
    tried. Without time for any comparison the plan is one by one, which is never wrong. The process keeps freed
    memory from here on.
    """
    keep_memory()
    watch = _Watch(torch.device(device), budget_s)
    settings: dict[str, Any] = {"device": device, "dtype": dtype}
    timings: list[tuple[str, int, float]] = []
    few = list(genotypes[:LAYOUT_TRIALS])
    alone = _alone(space, few, x, y, False, watch, settings)
    plain, last = dict(alone), False
    timings.append(("alone", len(alone), _mean(alone)))
    if isinstance(space, ImageSpace) and watch.left():
        other = _alone(space, few, x, y, True, watch, settings)
        timings.append(("alone, channels last", len(other), _mean(other)))
        both = other.keys() & alone.keys()
        last = sum(other[g] for g in both) * MARGIN < sum(alone[g] for g in both)
        alone = other if last else alone
    mixed = graph = False
    if watch.device.type == "cuda" and watch.left():
        alone, mixed = _mixed(space, alone, x, y, last, watch, settings, timings)
    precise = settings | {"mixed": mixed}
    shared = plain.keys() & alone.keys()
    gain = sum(plain[g] for g in shared) / sum(alone[g] for g in shared) if shared else 1.0
    size, ratio = 1, 1.0
    for count, limit in _sizes(space, genotypes, x, dtype, watch.device, memory_bytes):
        if not watch.left() or not stackable(space):
            break
        group = list(genotypes[:count])
        alone |= _alone(space, [g for g in group if g not in alone], x, y, last, watch, precise)
        found = _together(space, group, x, y, watch, settings)
        if not found or not all(g in alone for g in group):
            break
        timings += [(way.name, count, seconds / count) for way, seconds in found.items()]
        best = _best(found)
        faster = sum(alone[g] for g in group) / found[best]
        if faster > max(ratio, MARGIN):
            size, ratio, mixed, graph = limit, faster, best.mixed, best.graph
        elif faster < 0.9 * ratio:
            break
    return Plan(size, last, gain * ratio, tuple(timings), watch.spent(), mixed, graph)


@dataclass(frozen=True, slots=True)
class _Way:
    """How a population steps."""

    mixed: bool = False
    graph: bool = False

    @property
    def name(self) -> str:
        return "at once" + ", mixed" * self.mixed + ", graph" * self.graph


class _Watch:
    """Clocks: the plan's own limit, and the time of one call."""

    def __init__(self, device: torch.device, budget_s: float) -> None:
        self.device, self.start, self.budget_s = device, time.perf_counter(), budget_s
        # The time of a single busy thread does not count what other processes took from it.
        alone = device.type == "cpu" and torch.get_num_threads() == 1
        self.clock = time.thread_time if alone and hasattr(time, "thread_time") else time.perf_counter

    def spent(self) -> float:
        return time.perf_counter() - self.start

    def left(self) -> bool:
        return self.spent() < self.budget_s

    def time(self, call: Callable[[], object], repeats: int) -> float:
        best = float("inf")
        call()
        for _ in range(repeats):
            self._wait()
            began = self.clock()
            call()
            self._wait()
            best = min(best, self.clock() - began)
            if not self.left():
                break
        return best

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _alone(
    space: AnySpace,
    genotypes: Sequence[Genotype],
    x: Tensor,
    y: Tensor,
    channels_last: bool,
    watch: _Watch,
    settings: dict[str, Any],
) -> dict[Genotype, float]:
    """Seconds a step of each candidate, as far as the time reaches."""
    seconds: dict[Genotype, float] = {}
    inputs = x.to(settings["device"], settings["dtype"]) if x.is_floating_point() else x.to(settings["device"])
    target = y.to(settings["device"])
    for genotype in genotypes:
        if seconds and not watch.left():
            break
        owner = Individuals(space, [genotype], channels_last=channels_last, **settings)
        seconds[genotype] = watch.time(partial(owner.members[0].step, inputs, target, 1.0), 2)
    return seconds


def _together(
    space: AnySpace, group: list[Genotype], x: Tensor, y: Tensor, watch: _Watch, settings: dict[str, Any]
) -> dict[_Way, float]:
    """Seconds a step of the whole group in each way that fits in memory and agrees with full precision."""
    found: dict[_Way, float] = {}
    others = [_Way(False, True), _Way(True, False), _Way(True, True)] if watch.device.type == "cuda" else []
    reference: Tensor | None = None
    for way in [_Way(), *others]:
        if found and not watch.left():
            break
        try:
            population = Population(space, group, mixed=way.mixed, graph=way.graph, **settings)
            losses = _probe(population, x, y) if others else None
            if reference is not None and losses is not None and not close(losses, reference):
                continue
            found[way] = watch.time(partial(population.step, x, y), 3)
        except (RuntimeError, MemoryError) as error:
            # Not every library has every layer in bfloat16.
            if not way.mixed and not is_out_of_memory(error):
                raise
            continue
        reference = losses if reference is None else reference
    return found


def _probe(part: Part, x: Tensor, y: Tensor) -> Tensor:
    """The losses after a few steps."""
    return [part.step(x, y) for _ in range(PROBES)][-1]


def close(losses: Tensor, reference: Tensor) -> bool:
    """Whether losses agree with those in full precision, for each candidate; a failed one agrees with a failed one."""
    return torch.allclose(losses, reference, rtol=AGREEMENT, atol=AGREEMENT, equal_nan=True)


def _mixed(
    space: AnySpace,
    alone: dict[Genotype, float],
    x: Tensor,
    y: Tensor,
    channels_last: bool,
    watch: _Watch,
    settings: dict[str, Any],
    timings: list[tuple[str, int, float]],
) -> tuple[dict[Genotype, float], bool]:
    """Seconds a step of candidates alone in the better precision, and whether that is the mixed one."""
    few, ways = list(alone), [settings | {"mixed": mixed} for mixed in (True, False)]
    try:
        parts = [Individuals(space, few, channels_last=channels_last, **way) for way in ways]
        agreed = close(*(_probe(part, x, y) for part in parts))
        other = _alone(space, few, x, y, channels_last, watch, ways[0])
    except RuntimeError:
        # Not every library has every layer in bfloat16.
        return alone, False
    timings.append(("alone, mixed", len(other), _mean(other)))
    better = agreed and sum(other.values()) * MARGIN < sum(alone[genotype] for genotype in other)
    return (other, True) if better else (alone, False)


def _best(found: dict[_Way, float]) -> _Way:
    """The fastest way; more than plain steps only where that gains more than the timings' noise."""
    fastest = min(found, key=found.__getitem__)
    return fastest if found[fastest] * MARGIN < found.get(_Way(), float("inf")) else _Way()


def _sizes(
    space: AnySpace,
    genotypes: Sequence[Genotype],
    x: Tensor,
    dtype: torch.dtype,
    device: torch.device,
    memory_bytes: float | None,
) -> list[tuple[int, int]]:
    """Sizes to try (with the size to use if it wins), growing, none larger than the bucket or the memory."""
    free = memory_bytes if memory_bytes is not None else _free_bytes(device)
    need = max(bytes_needed(space, genotype, len(x), dtype) for genotype in genotypes)
    top = min(len(genotypes), int(free / need))
    if top < 2:
        return []
    return [(min(size, top), size) for index, size in enumerate(SIZES) if index == 0 or SIZES[index - 1] < top]


def bytes_needed(space: AnySpace, genotype: Genotype, rows: int, dtype: torch.dtype) -> float:
    """Estimate from above of the memory that one candidate takes in a training step."""
    design, weights, layers = space.decode(genotype), space.size(genotype), 0.0
    if isinstance(space, ImageSpace):
        _, height, breadth = space.shape
        for index, places in enumerate(space.positions):
            width = space.bucket(genotype) << index
            layers += (places + 1) * width * -(-height >> index) * -(-breadth >> index)
    else:
        layers = space.bucket(genotype) * float(getattr(design, "depth", 1)) * getattr(space, "length", 1)
    return (COPIES * layers * rows + 8 * weights) * dtype.itemsize


def _free_bytes(device: torch.device) -> float:
    if device.type == "cuda":
        return 0.8 * torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return 500.0 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 2e9


def _mean(seconds: dict[Genotype, float]) -> float:
    return sum(seconds.values()) / len(seconds)
