"""What successive halving saves and what it costs: candidates are trained in full once, then halving is replayed.

Halving is compared with the full training of every candidate of a generation, to the last rung; both choose by
validation loss, as the search does. Populations are random candidates with one seed each; generations are drawn from
them many times. Points are of accuracy on the test rows.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from core import datasets
from runner.nas.search.halving import RUNGS, rung_epochs, survivors, total_epochs
from runner.nas.space.spaces import AnySpace, Genotype
from runner.nas.tensors import DatasetTensors, prepare
from runner.nas.training.batches import batch_size, batches
from runner.nas.training.training_loop import train
from runner.nas.training.training_plan import TrainingPlan, build_populations
from tests.benchmarks import DATA, own_home

SEEDS, POPULATION, GENERATION, DRAWS = 5, 48, 32, 400
_ADULT_ROWS = 6_000


@dataclass(frozen=True)
class Curves:
    """Validation loss at each rung [candidates, rungs], and test accuracy after the last."""

    losses: np.ndarray
    accuracy: np.ndarray


def train_all(tensors: DatasetTensors, seed: int) -> tuple[Curves, tuple[int, ...]]:
    """Train every candidate of a random population to the last rung; return the curves and the epochs of the rungs."""
    x, y = tensors.pair("train")
    losses, accuracy = [], []
    epochs_by_rung = rung_epochs(len(x), batch_size(len(x)))
    for group in _groups(tensors.space, seed, batch_size(len(x))):
        batch = tensors.space.decode(group[0]).recipe.batch
        [part] = build_populations(tensors.space, group, TrainingPlan(len(group), False, 1.0, (), 0.0), seed=seed)
        at_rungs, done = [], 0
        for epochs in epochs_by_rung:
            for epoch in range(done, epochs):
                train(part, [(a, b, 1.0) for a, b in batches(x, y, batch, len(x), seed, epoch)])
            done = epochs
            at_rungs.append(part.evaluate(*tensors.pair("valid"))[0].numpy())
        losses.append(np.stack(at_rungs, 1))
        accuracy.append(1 - part.evaluate(*tensors.pair("test"))[1].numpy())
    return Curves(np.concatenate(losses), np.concatenate(accuracy)), epochs_by_rung


def _groups(space: AnySpace, seed: int, batch: int) -> list[list[Genotype]]:
    """Return different random candidates, grouped by what may train together."""
    rng, candidates = random.Random(seed), {}
    while len(candidates) < POPULATION:
        genotype = tuple(rng.randrange(n) for n in space.choices)
        candidates.setdefault(space.canonical_name(genotype), genotype)
    groups: dict[tuple[int, int], list[Genotype]] = {}
    for genotype in candidates.values():
        groups.setdefault((space.bucket(genotype), space.decode(genotype).recipe.batch or batch), []).append(genotype)
    return [groups[key] for key in sorted(groups)]


def choose_by_halving(losses: np.ndarray) -> int:
    """Return the candidate that halving chooses from losses [candidates, rungs]."""
    rest, best = np.arange(len(losses)), losses[:, 0]
    for rung in range(len(RUNGS)):
        best = losses[rest, : rung + 1].min(1)
        if rung < len(RUNGS) - 1:
            [places] = survivors([losses[rest, rung].tolist()])
            rest = rest[places]
    return int(rest[np.nanargmin(best)])


def choose_by_full_training(losses: np.ndarray) -> int:
    """Return the candidate with the lowest loss where all are trained to the end."""
    return int(np.nanargmin(np.where(np.isfinite(losses), losses, math.inf).min(1)))


def replay(curves: Curves, seed: int) -> np.ndarray:
    """Return the regret in points of both choices, one row per generation."""
    rng, rows = np.random.default_rng(seed), []
    for _ in range(DRAWS):
        some = rng.choice(len(curves.losses), GENERATION, replace=False)
        losses, accuracy = curves.losses[some], curves.accuracy[some]
        best = np.nanmax(accuracy)
        rows.append(
            [100 * (best - accuracy[choose(losses)]) for choose in (choose_by_halving, choose_by_full_training)]
        )
    return np.array(rows)


def _datasets() -> Iterator[tuple[str, datasets.Dataset]]:
    yield "digits", datasets.add_sample("digits_images")
    with own_home() as folder:
        table = pd.read_csv(DATA / "tabular" / "adult.csv").sample(_ADULT_ROWS, random_state=0)
        table.to_csv(folder / "adult.csv", index=False)
        yield "adult", datasets.register(folder / "adult.csv", name="adult", target=str(table.columns[-1]))


def figures() -> Iterator[tuple[str, str]]:
    """Yield the figures of this part as they are measured."""
    torch.set_num_threads(1)
    with own_home():
        for name, dataset in _datasets():
            tensors, regrets = prepare(dataset), []
            for seed in range(SEEDS):
                curves, epochs_by_rung = train_all(tensors, seed)
                regrets.append(replay(curves, seed).mean(0))
            by_seed = np.array(regrets)
            more = by_seed[:, 0] - by_seed[:, 1]
            halved_epochs, all_epochs = total_epochs(GENERATION, epochs_by_rung), GENERATION * epochs_by_rung[-1]
            yield (
                f"{name}, {GENERATION} candidates a generation, {SEEDS} populations: candidate-epochs",
                f"{halved_epochs} against {all_epochs}, {all_epochs / halved_epochs:.1f}x fewer",
            )
            yield (
                f"{name}: regret in test accuracy, halving against full training",
                f"{by_seed[:, 0].mean():.2f} against {by_seed[:, 1].mean():.2f} points, "
                f"{more.mean():+.2f} +-{more.std() / SEEDS**0.5:.2f}",
            )
