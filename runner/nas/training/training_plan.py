"""The fastest way to train a bucket of candidates on this device: together, and how many, or one by one."""

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
from runner.nas.training.batched_population import BatchedPopulation, can_batch
from runner.nas.training.losses import is_out_of_memory
from runner.nas.training.sequential_population import SequentialPopulation
from runner.nas.training.training_loop import Population
from runner.shared.allocator import keep_memory

SIZES = (8, 32, 128, 512)
LAYOUT_TRIALS = 4  # candidates that are timed in both memory layouts
MARGIN = 1.05  # by which a faster way must win: more than the noise of the timings
AGREEMENT = 0.05  # maximum difference, absolute and relative, of losses in mixed and in full precision
PROBES = 3  # steps after which these losses are compared
COPIES = 8  # of a layer's output: the maximum that its activations take in a forward and backward pass


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """How to train candidates: `size` of them together (1: one by one), with images in channels-last layout or not.

    On a GPU, `mixed` precision and the recording of a population's steps as a `graph` are possible.
    `speedup` is the measured throughput relative to one by one in torch's default layout. `timings` holds
    (way, candidates, seconds per step and candidate). `spent_s` is how long planning took.
    """

    size: int
    channels_last: bool
    speedup: float
    timings: tuple[tuple[str, int, float], ...]
    spent_s: float
    mixed: bool = False
    graph: bool = False


def group_by_bucket(space: AnySpace, genotypes: Sequence[Genotype]) -> list[list[int]]:
    """Return the indices of the candidates that can be trained together, one list for each bucket."""
    groups: dict[int, list[int]] = {}
    for index, genotype in enumerate(genotypes):
        groups.setdefault(space.bucket(genotype), []).append(index)
    return [groups[bucket] for bucket in sorted(groups)]


def build_populations(
    space: AnySpace, genotypes: Sequence[Genotype], plan: TrainingPlan, **settings: Any
) -> list[Population]:
    """Return the candidates of one bucket, in order, as populations of the plan's size.

    The settings are those of BatchedPopulation and SequentialPopulation.
    """
    if plan.size == 1:
        return [SequentialPopulation(space, genotypes, channels_last=plan.channels_last, mixed=plan.mixed, **settings)]
    settings |= {"mixed": plan.mixed, "graph": plan.graph}
    pieces = -(-len(genotypes) // plan.size)
    bounds = [round(len(genotypes) * piece / pieces) for piece in range(pieces + 1)]
    return [BatchedPopulation(space, genotypes[low:high], **settings) for low, high in pairwise(bounds)]


def plan_training(
    space: AnySpace,
    genotypes: Sequence[Genotype],
    x: Tensor,
    y: Tensor,
    *,
    budget_s: float,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    memory_bytes: float | None = None,
) -> TrainingPlan:
    """Time a few steps of each way on one real batch, for at most `budget_s` seconds plus the current step.

    `genotypes` are of one bucket. Populations larger than `memory_bytes` (default: most of the free memory) are not
    tried. Without time for a comparison the plan is one by one, which always works. From this call on the process
    does not return memory to the system.
    """
    keep_memory()
    timer = _Timer(space, x, y, torch.device(device), dtype, budget_s)
    plain = timer.time_alone(genotypes[:LAYOUT_TRIALS])
    timer.add("alone", len(plain), _mean(plain))
    alone = _choose_precision(timer, _choose_layout(timer, _Alone(dict(plain))))
    common = plain.keys() & alone.seconds.keys()
    gain = sum(plain[g] for g in common) / sum(alone.seconds[g] for g in common) if common else 1.0
    sizes = _sizes(space, genotypes, x, dtype, timer.watch.device, memory_bytes)
    size, ratio, mode = _choose_size(timer, genotypes, alone, sizes)
    timings = tuple(timer.timings)
    return TrainingPlan(size, alone.channels_last, gain * ratio, timings, timer.watch.spent(), mode.mixed, mode.graph)


def losses_agree(losses: Tensor, reference: Tensor) -> bool:
    """Return whether each candidate's loss agrees with the one in full precision; NaN agrees with NaN."""
    return torch.allclose(losses, reference, rtol=AGREEMENT, atol=AGREEMENT, equal_nan=True)


def estimate_bytes(space: AnySpace, genotype: Genotype, rows: int, dtype: torch.dtype) -> float:
    """Return an upper estimate of the memory that one candidate takes in a training step."""
    design, weights, layers = space.decode(genotype), space.size(genotype), 0.0
    if isinstance(space, ImageSpace):
        _, height, width = space.shape
        for index, places in enumerate(space.positions):
            channels = space.bucket(genotype) << index
            layers += (places + 1) * channels * -(-height >> index) * -(-width >> index)
    else:
        layers = space.bucket(genotype) * float(getattr(design, "depth", 1)) * getattr(space, "length", 1)
    return (COPIES * layers * rows + 8 * weights) * dtype.itemsize


@dataclass(frozen=True, slots=True)
class _Mode:
    """How a batched population takes its steps."""

    mixed: bool = False
    graph: bool = False

    @property
    def name(self) -> str:
        return "at once" + ", mixed" * self.mixed + ", graph" * self.graph


@dataclass(frozen=True, slots=True)
class _Alone:
    """How candidates train one by one, and the seconds per step of each."""

    seconds: dict[Genotype, float]
    channels_last: bool = False
    mixed: bool = False


class _Watch:
    """The clock of a plan's budget, and the clock of single calls."""

    def __init__(self, device: torch.device, budget_s: float) -> None:
        self.device, self.start, self.budget_s = device, time.perf_counter(), budget_s
        # The CPU time of a single busy thread leaves out the time that other processes took.
        single = device.type == "cpu" and torch.get_num_threads() == 1
        self.clock = time.thread_time if single and hasattr(time, "thread_time") else time.perf_counter

    def spent(self) -> float:
        return time.perf_counter() - self.start

    def has_time(self) -> bool:
        return self.spent() < self.budget_s

    def time(self, call: Callable[[], object], repeats: int) -> float:
        """Return the seconds of the fastest of some calls after a first one."""
        best = float("inf")
        call()
        for _ in range(repeats):
            self._wait()
            began = self.clock()
            call()
            self._wait()
            best = min(best, self.clock() - began)
            if not self.has_time():
                break
        return best

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


class _Timer:
    """Times steps of candidates on one batch; `timings` collects the results."""

    def __init__(
        self, space: AnySpace, x: Tensor, y: Tensor, device: torch.device, dtype: torch.dtype, budget_s: float
    ) -> None:
        self.space, self.x, self.y, self.watch = space, x, y, _Watch(device, budget_s)
        self.settings: dict[str, Any] = {"device": device, "dtype": dtype}
        self.timings: list[tuple[str, int, float]] = []

    def add(self, way: str, candidates: int, seconds: float) -> None:
        """Add a result: seconds per step and candidate."""
        self.timings.append((way, candidates, seconds))

    def time_alone(
        self, genotypes: Sequence[Genotype], channels_last: bool = False, mixed: bool = False
    ) -> dict[Genotype, float]:
        """Return the seconds per step of each candidate, as far as the time reaches; at least of the first."""
        seconds: dict[Genotype, float] = {}
        x, y = self.x.to(self.settings["device"]), self.y.to(self.settings["device"])
        x = x.to(self.settings["dtype"]) if x.is_floating_point() else x
        for genotype in genotypes:
            if seconds and not self.watch.has_time():
                break
            one = SequentialPopulation(
                self.space, [genotype], channels_last=channels_last, mixed=mixed, **self.settings
            )
            seconds[genotype] = self.watch.time(partial(one.members[0].step, x, y, 1.0), 2)
        return seconds

    def time_together(self, group: list[Genotype]) -> dict[_Mode, float]:
        """Return the seconds per step of the whole group in each mode that fits in memory and is precise enough."""
        seconds: dict[_Mode, float] = {}
        others = [_Mode(False, True), _Mode(True, False), _Mode(True, True)] if self.watch.device.type == "cuda" else []
        reference: Tensor | None = None
        for mode in [_Mode(), *others]:
            if seconds and not self.watch.has_time():
                break
            try:
                population = BatchedPopulation(self.space, group, mixed=mode.mixed, graph=mode.graph, **self.settings)
                losses = self.probe(population) if others else None
                if reference is not None and losses is not None and not losses_agree(losses, reference):
                    continue
                seconds[mode] = self.watch.time(partial(population.step, self.x, self.y), 3)
            except (RuntimeError, MemoryError) as error:
                # Not every library has every layer in bfloat16.
                if not mode.mixed and not is_out_of_memory(error):
                    raise
                continue
            reference = losses if reference is None else reference
        return seconds

    def probe(self, population: Population) -> Tensor:
        """Return the losses after a few steps."""
        return [population.step(self.x, self.y) for _ in range(PROBES)][-1]


def _choose_layout(timer: _Timer, alone: _Alone) -> _Alone:
    """Return the faster memory layout for images."""
    if not isinstance(timer.space, ImageSpace) or not timer.watch.has_time():
        return alone
    other = timer.time_alone(list(alone.seconds), channels_last=True)
    timer.add("alone, channels last", len(other), _mean(other))
    common = other.keys() & alone.seconds.keys()
    faster = sum(other[g] for g in common) * MARGIN < sum(alone.seconds[g] for g in common)
    return _Alone(other, channels_last=True) if faster else alone


def _choose_precision(timer: _Timer, alone: _Alone) -> _Alone:
    """Return mixed precision on a GPU where it is faster and the losses agree."""
    if timer.watch.device.type != "cuda" or not timer.watch.has_time():
        return alone
    genotypes, layout = list(alone.seconds), alone.channels_last
    try:
        parts = [
            SequentialPopulation(timer.space, genotypes, channels_last=layout, mixed=mixed, **timer.settings)
            for mixed in (True, False)
        ]
        agree = losses_agree(*map(timer.probe, parts))
        other = timer.time_alone(genotypes, layout, mixed=True)
    except RuntimeError:
        # Not every library has every layer in bfloat16.
        return alone
    timer.add("alone, mixed", len(other), _mean(other))
    faster = sum(other.values()) * MARGIN < sum(alone.seconds[genotype] for genotype in other)
    return _Alone(other, layout, mixed=True) if agree and faster else alone


def _choose_size(
    timer: _Timer, genotypes: Sequence[Genotype], alone: _Alone, sizes: list[tuple[int, int]]
) -> tuple[int, float, _Mode]:
    """Return the fastest size, its speed relative to one by one, and its mode."""
    size, ratio, mode, seconds = 1, 1.0, _Mode(alone.mixed), dict(alone.seconds)
    for count, limit in sizes:
        if not timer.watch.has_time() or not can_batch(timer.space):
            break
        group = list(genotypes[:count])
        seconds |= timer.time_alone([g for g in group if g not in seconds], alone.channels_last, alone.mixed)
        together = timer.time_together(group)
        if not together or not all(g in seconds for g in group):
            break
        for way, total in together.items():
            timer.add(way.name, count, total / count)
        best = _fastest(together)
        faster = sum(seconds[g] for g in group) / together[best]
        if faster > max(ratio, MARGIN):
            size, ratio, mode = limit, faster, best
        elif faster < 0.9 * ratio:
            break
    return size, ratio, mode


def _fastest(seconds: dict[_Mode, float]) -> _Mode:
    """Return the fastest mode, but plain steps where another one gains less than the noise of the timings."""
    fastest = min(seconds, key=seconds.__getitem__)
    return fastest if seconds[fastest] * MARGIN < seconds.get(_Mode(), float("inf")) else _Mode()


def _sizes(
    space: AnySpace,
    genotypes: Sequence[Genotype],
    x: Tensor,
    dtype: torch.dtype,
    device: torch.device,
    memory_bytes: float | None,
) -> list[tuple[int, int]]:
    """Return growing sizes to time, each with the size to use if it wins; none exceeds the bucket or the memory."""
    free = memory_bytes if memory_bytes is not None else _free_bytes(device)
    need = max(estimate_bytes(space, genotype, len(x), dtype) for genotype in genotypes)
    top = min(len(genotypes), int(free / need))
    if top < 2:
        return []
    return [(min(size, top), size) for index, size in enumerate(SIZES) if index == 0 or SIZES[index - 1] < top]


def _free_bytes(device: torch.device) -> float:
    """Return the free memory, less a reserve."""
    if device.type == "cuda":
        return 0.8 * torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return 500.0 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 2e9


def _mean(seconds: dict[Genotype, float]) -> float:
    return sum(seconds.values()) / len(seconds)
