"""Successive halving: a generation trains together, and at each rung a third of it goes on."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from runner.nas.planner import Plan, buckets, start
from runner.nas.population import EVALUATION_ROWS
from runner.nas.spaces import AnySpace
from runner.nas.trace import Entry
from runner.nas.training import Batch, Part, train

RUNGS = (1, 3, 9)  # epochs in all that a candidate is trained by the end of each; more where one is but few steps
KEPT = 3  # one of so many goes on to the next rung
_FEWEST_STEPS = 32  # of the first rung
_STEPS = 16  # between two looks at the clock

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class Course:
    """What a generation is trained on. `rows` of the train rows are one epoch; `stopped` asks whether time is up.

    `judge` makes outputs on the valid rows an error by the job's metric.
    """

    space: AnySpace
    train: Pair
    valid: Pair
    rows: int
    batch: int
    seed: int
    device: str
    stopped: Callable[[], bool]
    judge: Callable[[Tensor], float]


def batch_size(rows: int) -> int:
    """Rows of one step, by the number of train rows."""
    return 32 if rows < 3_000 else 64 if rows < 12_000 else 128


def batches(x: Tensor, y: Tensor, size: int, rows: int, seed: int, epoch: int) -> list[tuple[Tensor, Tensor]]:
    """The shuffled batches of one epoch: the same whoever trains. A last one of less than half the size is left out."""
    generator = torch.Generator().manual_seed((seed << 20) + epoch)
    order = torch.randperm(len(x), generator=generator)[:rows]
    cuts = [cut for cut in order.split(size) if 2 * len(cut) >= size or len(order) < size]
    return [(x[cut], y[cut]) for cut in cuts]


def rungs(rows: int, size: int) -> tuple[int, ...]:
    """Epochs in all by the end of each rung, where an epoch has `rows` rows in batches of `size`."""
    factor = math.ceil(_FEWEST_STEPS / math.ceil(rows / size))
    return tuple(factor * rung for rung in RUNGS)


def climb(course: Course, entries: Sequence[Entry], plans: dict[int, Plan]) -> Iterator[list[Entry]]:
    """Train new candidates up the ladder, and yield those of each part that has reached a rung.

    At the end the entries that reached the first rung have what the strategy is to be told, and those left are judged.
    """
    parts = _parts(course, entries, plans)
    by_genotype = {entry.genotype: entry for entry in entries}
    kept: list[Part] = []
    ladder = rungs(course.rows, course.batch)
    for done, epochs in zip((0, *ladder), ladder, strict=False):
        climbed: list[Part] = []
        for part in parts:
            pieces = _epochs(course, part, range(done, epochs))
            if pieces is None:
                break
            for piece in pieces:
                yield _reached(course, piece, by_genotype, epochs)
            climbed += pieces
        parts = _kept(climbed, by_genotype)
        kept = parts or kept
        if not parts or course.stopped():
            break
    _settle(entries)
    for part in kept:
        for genotype, predicted in zip(part.genotypes, outputs(part, course.valid[0]), strict=True):
            by_genotype[genotype].judged = course.judge(predicted)


def outputs(part: Part, x: Tensor) -> Tensor:
    """Outputs [candidates, rows, outputs] on any number of rows, on the processor."""
    return torch.cat([part.predict(piece).cpu() for piece in x.split(EVALUATION_ROWS)], 1)


def _parts(course: Course, entries: Sequence[Entry], plans: dict[int, Plan]) -> list[Part]:
    genotypes = [entry.genotype for entry in entries]
    parts: list[Part] = []
    for bucket in buckets(course.space, genotypes):
        members = [genotypes[index] for index in bucket]
        plan = plans[course.space.bucket(members[0])]
        groups = [[member] for member in members] if plan.size == 1 else [members]
        for group in groups:
            parts += start(course.space, group, plan, seed=course.seed, device=course.device)
    return parts


def _epochs(course: Course, part: Part, epochs: range) -> list[Part] | None:
    """The part (or its pieces, where memory ran out) after some epochs; None where time ran out."""
    pieces = [part]
    for epoch in epochs:
        pairs = batches(*course.train, course.batch, course.rows, course.seed, epoch)
        whole: list[Batch] = [(x, y, 1.0) for x, y in pairs]
        for first in range(0, len(whole), _STEPS):
            if course.stopped():
                return None
            pieces = [piece for old in pieces for piece in train(old, whole[first : first + _STEPS])[0]]
    return pieces


def _reached(course: Course, part: Part, by_genotype: dict[tuple[int, ...], Entry], epochs: int) -> list[Entry]:
    losses, errors = part.evaluate(*course.valid)
    reached = [by_genotype[genotype] for genotype in part.genotypes]
    for entry, loss, error in zip(reached, losses.tolist(), errors.tolist(), strict=True):
        entry.rungs.append((epochs, loss, error))
    return reached


def _kept(parts: Sequence[Part], by_genotype: dict[tuple[int, ...], Entry]) -> list[Part]:
    """The best of all parts by valid loss, each part compacted to its own."""
    ranked = sorted(
        (by_genotype[genotype].rungs[-1][1], number, place)
        for number, part in enumerate(parts)
        for place, genotype in enumerate(part.genotypes)
        if math.isfinite(by_genotype[genotype].rungs[-1][1])
    )
    chosen = ranked[: math.ceil(len(ranked) / KEPT)]
    kept = []
    for number, part in enumerate(parts):
        if places := sorted(place for _, its, place in chosen if its == number):
            part.keep(places)
            kept.append(part)
    return kept


def _settle(entries: Sequence[Entry]) -> None:
    """What the strategy is told: the least loss of those at the top; the others' loss, less what training on gained."""
    reached = [entry for entry in entries if entry.rungs]
    gain = 1.0
    for rung in reversed(range(len(RUNGS))):
        above = [entry for entry in reached if len(entry.rungs) > rung + 1 and math.isfinite(entry.rungs[-1][1])]
        ratios = [entry.told / entry.rungs[rung][1] for entry in above if entry.told and entry.rungs[rung][1]]
        gain = min(1.0, statistics.median(ratios)) if ratios else gain
        for entry in reached:
            if len(entry.rungs) == rung + 1:
                last = entry.rungs[-1][1]
                entry.told = last * gain if ratios or not math.isfinite(last) else entry.loss
