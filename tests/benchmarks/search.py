"""Search strategies on the NAS-Bench-201 and NAS-Bench-Macro tables: the regret after 150 unique evaluations.

The signal of a search is the validation accuracy after 12 epochs (201) or the accuracy of one of the three training
seeds (Macro); regret is the best test accuracy of the table minus that of the incumbent chosen by the signal: test
after 12 epochs of the same training (201) or the mean over the three seeds (Macro), in points.
`python -m tests.benchmarks.search --table cifar10 --strategies gp random --seeds 200` runs a part of it.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from runner.nas.search import strategies
from tests.benchmarks import DATA

_OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
_DATASETS = ("cifar10", "cifar100", "imagenet16")
TUNING, REPORTING = ("cifar10", "imagenet16"), ("cifar100", "macro")
BUDGET = 150
_BATCHES = {"reinforce": 4}  # every other strategy is asked for ten at a time, Optuna for one
_BATCH = 10
_TPE, _TPE_SEEDS = "optuna-tpe", 40
_NAMES = (*(name for name in strategies.STRATEGIES if name != "gradient"), _TPE)  # a table has no supernet


@dataclass(frozen=True)
class Table:
    """A table of finished trainings as a search space: rows are found by the genotype read as a number."""

    choices: tuple[int, ...]
    names: list[str]
    sizes: np.ndarray
    signals: np.ndarray  # validation accuracy, one column a repetition
    tests: np.ndarray
    final: np.ndarray  # test accuracy after full training

    def row(self, genotype: tuple[int, ...]) -> int:
        """Return the row of an architecture."""
        row = 0
        for options, option in zip(self.choices, genotype, strict=True):
            row = row * options + option
        return row

    def canonical_name(self, genotype: tuple[int, ...]) -> str:
        """Return the architecture's canonical name."""
        return self.names[self.row(genotype)]

    @property
    def decisions(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The decisions by their numbers."""
        return tuple((f"decision {place}", tuple(map(str, range(n)))) for place, n in enumerate(self.choices))

    def size(self, genotype: tuple[int, ...]) -> float:
        """Return the number of parameters."""
        return float(self.sizes[self.row(genotype)])


def load(name: str) -> Table:
    """Return the table of a dataset of NAS-Bench-201 (cifar10, cifar100, imagenet16), or "macro"."""
    if name == "macro":
        macro = pd.read_parquet(DATA / "nasbench_macro.parquet").sort_values("arch")
        signals = macro[[f"test_acc_{seed}" for seed in range(3)]].to_numpy()
        mean = signals.mean(1)
        return Table((3,) * 8, list(macro.arch), macro.params.to_numpy(), signals, mean, mean)
    cells = pd.read_parquet(DATA / "nasbench201.parquet")
    edges = [cells[f"edge{edge}"].map(_OPERATIONS.index) for edge in range(6)]
    cells = cells.iloc[np.lexsort(edges[::-1])]
    return Table(
        (5,) * 6,
        list(cells.unique_str),
        cells.params_cifar10.to_numpy(),
        cells[[f"{name}_valid_e12"]].to_numpy(),
        cells[f"{name}_test_e12"].to_numpy(),
        cells[f"{name}_test_e200"].to_numpy(),
    )


@dataclass(frozen=True)
class Run:
    """One search: for each evaluation the row of the incumbent; how far the last is from the best signal; seconds."""

    incumbents: np.ndarray
    missed: float
    seconds: float


def search(table: Table, name: str, seed: int, *, budget: int = BUDGET, **options: object) -> Run:
    """Run a strategy once, in batches."""
    signal = table.signals[:, seed % table.signals.shape[1]]
    begin = time.perf_counter()
    strategy = strategies.make(name, table, seed, **options)
    rows: list[int] = []
    while len(rows) < budget:
        for candidate in strategy.ask(min(_BATCHES.get(name, _BATCH), budget - len(rows))):
            rows.append(table.row(candidate.genotype))
            strategy.tell(candidate, 100 - signal[rows[-1]])
    return _run(rows, signal, time.perf_counter() - begin)


def _run(rows: list[int], signal: np.ndarray, seconds: float) -> Run:
    """Return the run that evaluated these rows."""
    best = np.maximum.accumulate(signal[rows])
    new = np.concatenate([[True], best[1:] > best[:-1]])
    incumbents = np.array(rows)[np.maximum.accumulate(np.where(new, np.arange(len(rows)), 0))]
    return Run(incumbents, float(signal.max() - best[-1]), seconds)


def optuna_search(table: Table, seed: int, *, budget: int = BUDGET) -> Run:
    """Run Optuna's TPE, one candidate at a time; a repeated network gets its error again and does not count."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    signal = table.signals[:, seed % table.signals.shape[1]]
    begin = time.perf_counter()
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed), direction="minimize")
    rows: dict[str, int] = {}
    for _ in range(20 * budget):
        trial = study.ask()
        genotype = tuple(
            trial.suggest_categorical(f"d{d}", list(range(options))) for d, options in enumerate(table.choices)
        )
        row = rows.setdefault(table.canonical_name(genotype), table.row(genotype))
        study.tell(trial, 100 - signal[row])
        if len(rows) == budget:
            break
    return _run(list(rows.values()), signal, time.perf_counter() - begin)


def summary(table: Table, runs: list[Run]) -> str:
    """Return the mean regret with its standard error, and details."""
    last = np.array([run.incumbents[-1] for run in runs])
    regrets = table.tests.max() - table.tests[last]
    final = table.final.max() - table.final[last]
    middle = table.tests.max() - table.tests[[run.incumbents[len(run.incumbents) // 3 - 1] for run in runs]].mean()
    return (
        f"{regrets.mean():.3f} +-{regrets.std() / len(runs) ** 0.5:.3f}, median {np.median(regrets):.2f}, "
        f"{100 * (regrets > 1).mean():.1f}% above 1, at 50: {middle:.2f}, "
        f"signal {np.mean([run.missed for run in runs]):.3f}, after full training {final.mean():.2f}, "
        f"{1000 * np.mean([run.seconds for run in runs]):.0f} ms a search"
    )


def figures(
    tables: tuple[str, ...] = REPORTING,
    names: tuple[str, ...] = _NAMES,
    seeds: int = 200,
    first: int = 10_000,
    **options: object,
) -> Iterator[tuple[str, str]]:
    """Yield the figures of this part as they are measured; none of these seeds was used in tuning."""
    for table_name, name in itertools.product(tables, names):
        table, count = load(table_name), min(seeds, _TPE_SEEDS) if name == _TPE else seeds
        figure = f"{table_name}, {name}, {count} seeds: regret at {BUDGET}"
        if name == _TPE and importlib.util.find_spec("optuna") is None:
            yield figure, "not installed"
            continue
        one = optuna_search if name == _TPE else functools.partial(search, name=name, **options)
        with threadpool_limits(1):
            yield figure, summary(table, [one(table, seed=seed) for seed in range(first, first + count)])


def main() -> None:
    """Print a part of the figures, with options for the strategy: for tuning on the tuning tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", nargs="+", default=list(TUNING), choices=[*_DATASETS, "macro"])
    parser.add_argument("--strategies", nargs="+", default=list(_NAMES))
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--options", type=json.loads, default={}, help="options of the strategy, as JSON")
    given = parser.parse_args()
    for figure, value in figures(
        tuple(given.table), tuple(given.strategies), given.seeds, given.first, **given.options
    ):
        print(f"{figure:<74} {value}", flush=True)


if __name__ == "__main__":
    main()
