"""Successive halving (Jamieson and Talwalkar 2016): a generation trains together; at each rung a third continues."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch

from runner.nas.search.search_state import CandidateRecord, Generation, Group
from runner.nas.search.training_regime import TrainingRegime
from runner.nas.space.spaces import Genotype
from runner.nas.training.batches import EVALUATION_ROWS, batches
from runner.nas.training.training_loop import Batch, Population, outputs, train
from runner.nas.training.training_plan import TrainingPlan, build_populations

RUNGS = (1, 3, 9)  # total epochs by the end of each rung; more where an epoch has only a few steps
REDUCTION = 3  # one of so many candidates continues to the next rung
_SHORT_RUNGS = (2, 4, 9)  # where the first epoch is too short to compare candidates: see docs/benchmarks.md
_SHORT_STEPS = 64  # an epoch with fewer steps is too short
_MINIMUM_STEPS = 32  # an epoch with fewer steps counts as a part of one
_STEPS = 16  # maximum between two looks at the clock; fewer where they take longer than this
_LOOK_S = 0.5
_SLICE_ROWS = 4 * EVALUATION_ROWS  # evaluated between two looks at the clock


def rung_epochs(rows: int, batch: int) -> tuple[int, ...]:
    """Return the total epochs by the end of each rung, for epochs of `rows` rows in batches of `batch`."""
    steps = math.ceil(rows / batch)
    factor = math.ceil(_MINIMUM_STEPS / steps)
    return tuple(factor * epochs for epochs in (RUNGS if factor * steps >= _SHORT_STEPS else _SHORT_RUNGS))


def total_epochs(candidates: int, rungs: Sequence[int]) -> int:
    """Return the epochs that so many candidates train on these rungs, if none fails."""
    total = 0
    for low, high in pairwise((0, *rungs)):
        total, candidates = total + candidates * (high - low), math.ceil(candidates / REDUCTION)
    return total


def survivors(losses: Sequence[Sequence[float]]) -> list[list[int]]:
    """Return, for the losses of each population, the places of those that continue: a third of all that are finite."""
    ranking = sorted(
        (loss, number, place)
        for number, population in enumerate(losses)
        for place, loss in enumerate(population)
        if math.isfinite(loss)
    )
    best = ranking[: math.ceil(len(ranking) / REDUCTION)]
    return [sorted(place for _, owner, place in best if owner == number) for number in range(len(losses))]


class GenerationTraining:
    """The training of a generation, from its last rung on. `generation` is what a checkpoint holds of it."""

    def __init__(
        self, regime: TrainingRegime, generation: Generation, plans: dict[Group, TrainingPlan], rungs: Sequence[int]
    ) -> None:
        self.regime, self.generation, self.plans, self.rungs = regime, generation, plans, rungs
        states = generation.states
        self.populations = [self._restore(state) for state in states] if generation.rungs else self._start()
        self.furthest = list(self.populations) if generation.rungs else []  # the candidates on the highest rung
        self.is_over = generation.rungs >= len(rungs) or not self.populations
        self._by_genotype = {record.genotype: record for record in generation.records}

    def train_rung(self) -> Iterator[list[CandidateRecord]]:
        """Train to the next rung, and yield the candidates of each population that reach it.

        Where the time runs out first, `is_over` is set, and the populations that reached the rung count.
        """
        low, high = (0, *self.rungs)[self.generation.rungs : self.generation.rungs + 2]
        reached: list[Population] = []
        for population in self.populations:
            pieces = _train_epochs(self.regime, population, range(low, high))
            for piece in pieces or ():
                records = self._evaluate(piece, high)
                if records is None:
                    pieces = None
                    break
                reached.append(piece)
                yield records
            if pieces is None:
                break
        self.populations = self._reduce(reached)
        self.furthest = self.populations or self.furthest
        self.generation.rungs += 1
        self.is_over = not self.populations or self.generation.rungs == len(self.rungs) or self.regime.must_stop()

    def store_states(self) -> None:
        """Put the states of the populations into the generation, for a checkpoint."""
        self.generation.states = [population.state_dict() for population in self.populations]

    def set_errors(self) -> None:
        """Set the errors: the strategy's for all that reached a rung, the metric's for those on the highest rung."""
        _set_strategy_errors(self.generation.records)
        for population in self.furthest:
            predictions = outputs(population, self.regime.valid[0])
            for genotype, values in zip(population.genotypes, predictions, strict=True):
                self._by_genotype[genotype].metric_error = self.regime.metric_error(values)

    def _start(self) -> list[Population]:
        """Return new populations. Candidates that train one by one get one each: the clock is read between them."""
        populations: list[Population] = []
        for group, members in self.regime.groups([record.genotype for record in self.generation.records]).items():
            alone = self.plans[group].size == 1
            for some in [[member] for member in members] if alone else [members]:
                populations += self._build(some)
        return populations

    def _restore(self, state: dict[str, Any]) -> Population:
        population = self._build([tuple(genotype) for genotype in state["genotypes"]])[0]
        population.load_state_dict(state)
        return population

    def _build(self, genotypes: list[Genotype]) -> list[Population]:
        regime, plan = self.regime, self.plans[self.regime.group(genotypes[0])]
        return build_populations(regime.space, genotypes, plan, seed=regime.seed, device=regime.device)

    def _evaluate(self, population: Population, epochs: int) -> list[CandidateRecord] | None:
        """Return the population's records with their new rung; None where the time ran out."""
        values = _valid_loss_and_error(self.regime, population)
        if values is None:
            return None
        records = [self._by_genotype[genotype] for genotype in population.genotypes]
        for record, loss, error in zip(records, *values, strict=True):
            record.rungs.append((epochs, loss, error))
        return records

    def _reduce(self, populations: Sequence[Population]) -> list[Population]:
        """Keep the best of all candidates by validation loss; return the populations that have some."""
        losses = [[self._by_genotype[genotype].rungs[-1][1] for genotype in one.genotypes] for one in populations]
        rest = []
        for population, places in zip(populations, survivors(losses), strict=True):
            if places:
                population.keep(places)
                rest.append(population)
        return rest


def _train_epochs(regime: TrainingRegime, population: Population, epochs: range) -> list[Population] | None:
    """Return the population (or its pieces, where memory ran out) after these epochs; None where the time ran out."""
    pieces, steps = [population], 1
    for epoch in epochs:
        pairs = batches(*regime.train, regime.batch_of(population.genotypes[0]), regime.rows, regime.seed, epoch)
        rest: list[Batch] = [(x, y, 1.0) for x, y in pairs]
        while rest:
            if regime.must_stop():
                return None
            began = time.monotonic()
            pieces = [piece for old in pieces for piece in train(old, rest[:steps])[0]]
            rest = rest[steps:]
            duration_s = time.monotonic() - began
            steps = max(1, min(_STEPS, 4 * steps, int(steps * _LOOK_S / max(duration_s, 1e-9))))
    return pieces


def _valid_loss_and_error(regime: TrainingRegime, population: Population) -> tuple[list[float], list[float]] | None:
    """Return the loss and the error of each candidate on the validation rows; None where the time ran out."""
    x, y = regime.valid
    loss, total = torch.zeros(2, len(population), dtype=torch.float64)
    for rows, target in zip(x.split(_SLICE_ROWS), y.split(_SLICE_ROWS), strict=True):
        if regime.must_stop():
            return None
        slice_loss, slice_error = (values.double().cpu() for values in population.evaluate(rows, target))
        loss += slice_loss * len(target)
        total += (slice_error.square() if y.is_floating_point() else slice_error) * len(target)
    error = total / len(y)
    return (loss / len(y)).tolist(), (error.sqrt() if y.is_floating_point() else error).tolist()


def _set_strategy_errors(records: Sequence[CandidateRecord]) -> None:
    """Set the errors for the strategy, which make candidates of all rungs comparable.

    On the last rung it is the lowest validation loss. On a lower rung it is the last loss times the median gain of the
    candidates that continued.
    """
    reached = [record for record in records if record.rungs]
    gain = 1.0
    for rung in reversed(range(len(RUNGS))):
        above = [record for record in reached if len(record.rungs) > rung + 1 and math.isfinite(record.rungs[-1][1])]
        ratios = [r.strategy_error / r.rungs[rung][1] for r in above if r.strategy_error and r.rungs[rung][1]]
        gain = min(1.0, statistics.median(ratios)) if ratios else gain
        for record in reached:
            if len(record.rungs) == rung + 1:
                last = record.rungs[-1][1]
                record.strategy_error = last * gain if ratios or not math.isfinite(last) else record.best_loss
