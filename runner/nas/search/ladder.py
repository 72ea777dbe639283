"""Successive halving: a generation trains together, and at each rung a third of it goes on."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from runner.nas.search.trace import Climb, Entry, Group
from runner.nas.space.spaces import AnySpace, Genotype
from runner.nas.training.batches import EVALUATION_ROWS, Pair, batches
from runner.nas.training.planner import Plan, start
from runner.nas.training.train import Batch, Part, outputs, train

RUNGS = (1, 3, 9)  # epochs in all that a candidate is trained by the end of each; more where one is but few steps
KEPT = 3  # one of so many goes on to the next rung
_SHORT_RUNGS = (2, 4, 9)  # where the first epoch is too short to tell candidates apart: see docs/benchmarks.md
_SHORT_STEPS = 64  # of an epoch, below which it is
_FEWEST_STEPS = 32  # of an epoch, which is else counted several times
_FEWEST_ROWS = 16  # of a batch
_STEPS = 16  # between two looks at the clock, or fewer where they take longer than this
_LOOK_S = 0.5
_SLICE = 4 * EVALUATION_ROWS  # rows that are judged between two looks


@dataclass(frozen=True, slots=True)
class Course:
    """What a generation is trained on. `rows` of the train rows are one epoch; `stopped` asks whether time is up.

    `batch` rows are one step, but for candidates that have their own. `judge` makes outputs on the valid rows an
    error by the job's metric.
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

    def batch_of(self, genotype: Genotype) -> int:
        """Rows of one step of this candidate."""
        return self.space.decode(genotype).recipe.batch or self.batch

    def group(self, genotype: Genotype) -> Group:
        """Candidates of one group may train together."""
        return self.space.bucket(genotype), self.batch_of(genotype)

    def groups(self, genotypes: Sequence[Genotype]) -> dict[Group, list[Genotype]]:
        """The candidates by group, each group in their order."""
        found: dict[Group, list[Genotype]] = {}
        for genotype in genotypes:
            found.setdefault(self.group(genotype), []).append(genotype)
        return dict(sorted(found.items()))


def rungs(rows: int, size: int) -> tuple[int, ...]:
    """Epochs in all by the end of each rung, where an epoch has `rows` rows in batches of `size`."""
    steps = math.ceil(rows / size)
    factor = math.ceil(_FEWEST_STEPS / steps)
    return tuple(factor * rung for rung in (RUNGS if factor * steps >= _SHORT_STEPS else _SHORT_RUNGS))


def cost(entries: int, ladder: Sequence[int]) -> int:
    """Epochs that so many candidates train on this ladder, if none fails."""
    total = 0
    for low, high in pairwise((0, *ladder)):
        total, entries = total + entries * (high - low), math.ceil(entries / KEPT)
    return total


class Ascent:
    """A generation on its way up: `climb` is what a checkpoint holds of it, with the parts that go on.

    It goes on from the last rung where the climb has one behind it.
    """

    def __init__(self, course: Course, climb: Climb, plans: dict[Group, Plan], ladder: Sequence[int]) -> None:
        self.course, self.climb, self.plans, self.ladder = course, climb, plans, ladder
        self.parts = [self._restored(state) for state in climb.parts] if climb.rungs else self._started()
        self.last = list(self.parts) if climb.rungs else []  # the candidates that came furthest
        self.over = climb.rungs >= len(ladder) or not self.parts
        self._by_genotype = {entry.genotype: entry for entry in climb.entries}

    def rise(self) -> Iterator[list[Entry]]:
        """Train to the next rung, and yield those of each part that have reached it.

        Time may run out before: then `over` is set, and those parts that came to the rung have reached it.
        """
        done, epochs = (0, *self.ladder)[self.climb.rungs : self.climb.rungs + 2]
        climbed: list[Part] = []
        for part in self.parts:
            pieces = _epochs(self.course, part, range(done, epochs))
            for piece in pieces or ():
                reached = self._reached(piece, epochs)
                if reached is None:
                    pieces = None
                    break
                climbed.append(piece)
                yield reached
            if pieces is None:
                break
        self.parts = self._kept(climbed)
        self.last = self.parts or self.last
        self.climb.rungs += 1
        self.over = not self.parts or self.climb.rungs == len(self.ladder) or self.course.stopped()

    def save(self) -> None:
        """Put the states of the parts into the climb, for a checkpoint."""
        self.climb.parts = [part.state_dict() for part in self.parts]

    def settle(self) -> None:
        """Give the entries that reached a rung what the strategy is to be told, and judge those that came furthest."""
        _settle(self.climb.entries)
        for part in self.last:
            for genotype, predicted in zip(part.genotypes, outputs(part, self.course.valid[0]), strict=True):
                self._by_genotype[genotype].judged = self.course.judge(predicted)

    def _started(self) -> list[Part]:
        """New parts; those trained one by one are parts of one candidate, so that the clock is looked at between."""
        parts: list[Part] = []
        for group, members in self.course.groups([entry.genotype for entry in self.climb.entries]).items():
            alone = self.plans[group].size == 1
            for some in [[member] for member in members] if alone else [members]:
                parts += self._begun(some)
        return parts

    def _restored(self, state: dict[str, Any]) -> Part:
        part = self._begun([tuple(genotype) for genotype in state["genotypes"]])[0]
        part.load_state_dict(state)
        return part

    def _begun(self, genotypes: list[Genotype]) -> list[Part]:
        course, plan = self.course, self.plans[self.course.group(genotypes[0])]
        return start(course.space, genotypes, plan, seed=course.seed, device=course.device)

    def _reached(self, part: Part, epochs: int) -> list[Entry] | None:
        """The part's entries with their new rung; None where time ran out."""
        found = _evaluated(self.course, part)
        if found is None:
            return None
        reached = [self._by_genotype[genotype] for genotype in part.genotypes]
        for entry, loss, error in zip(reached, *found, strict=True):
            entry.rungs.append((epochs, loss, error))
        return reached

    def _kept(self, parts: Sequence[Part]) -> list[Part]:
        """The best of all parts by valid loss, each part compacted to its own."""
        losses = [[self._by_genotype[genotype].rungs[-1][1] for genotype in part.genotypes] for part in parts]
        kept = []
        for part, places in zip(parts, survivors(losses), strict=True):
            if places:
                part.keep(places)
                kept.append(part)
        return kept


def survivors(losses: Sequence[Sequence[float]]) -> list[list[int]]:
    """Of the losses of each part the places of those that go on: a third of all that have not failed."""
    ranked = sorted(
        (loss, number, place)
        for number, part in enumerate(losses)
        for place, loss in enumerate(part)
        if math.isfinite(loss)
    )
    chosen = ranked[: math.ceil(len(ranked) / KEPT)]
    return [sorted(place for _, its, place in chosen if its == number) for number in range(len(losses))]


def _epochs(course: Course, part: Part, epochs: range) -> list[Part] | None:
    """The part (or its pieces, where memory ran out) after some epochs; None where time ran out."""
    pieces, steps = [part], 1
    for epoch in epochs:
        pairs = batches(*course.train, course.batch_of(part.genotypes[0]), course.rows, course.seed, epoch)
        whole: list[Batch] = [(x, y, 1.0) for x, y in pairs]
        while whole:
            if course.stopped():
                return None
            began = time.monotonic()
            pieces = [piece for old in pieces for piece in train(old, whole[:steps])[0]]
            whole = whole[steps:]
            took_s = time.monotonic() - began
            steps = max(1, min(_STEPS, 4 * steps, int(steps * _LOOK_S / max(took_s, 1e-9))))
    return pieces


def _evaluated(course: Course, part: Part) -> tuple[list[float], list[float]] | None:
    """Loss and error on the valid rows of each candidate; None where time ran out."""
    x, y = course.valid
    loss, missed = torch.zeros(2, len(part), dtype=torch.float64)
    for piece, target in zip(x.split(_SLICE), y.split(_SLICE), strict=True):
        if course.stopped():
            return None
        its_loss, its_error = (found.double().cpu() for found in part.evaluate(piece, target))
        loss += its_loss * len(target)
        missed += (its_error.square() if y.is_floating_point() else its_error) * len(target)
    error = missed / len(y)
    return (loss / len(y)).tolist(), (error.sqrt() if y.is_floating_point() else error).tolist()


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
