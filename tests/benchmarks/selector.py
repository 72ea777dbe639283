"""The selector on the meta-learning tables: ten folds over the datasets, three seeds, everything fitted in the fold.

`python -m tests.benchmarks.selector --table pmlb openml2017 --seeds 1` runs a part of it. The selector's few constants
were chosen on the seeds 0 to 4 of TABLES; `--first 10 --seeds 3` and UNSEEN show what that is worth elsewhere.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from core.advice import regret
from core.advice.learning_curve import evaluate, regret_by_size
from core.advice.selector import Selector
from tests.benchmarks import DATA, summary, times_ms

_FOLDS = 10
_CURVE = (10, 20, 40, 80)


@dataclass(frozen=True)
class Table:
    """Meta-features and errors, one row a dataset; official folds, or groups that folds keep together."""

    features: pd.DataFrame
    errors: pd.DataFrame
    groups: pd.Series | None = None
    folds: pd.Series | None = None

    def parts(self, seed: int) -> Iterator[np.ndarray]:
        """Yield for each fold whether a dataset is held out."""
        if self.folds is not None:
            labels = self.folds.to_numpy()
        else:
            numbers = np.arange(len(self.errors)) if self.groups is None else pd.factorize(self.groups)[0]
            labels = (np.random.default_rng(seed).permutation(numbers.max() + 1) % _FOLDS)[numbers]
        for label in np.unique(labels):
            yield labels == label


def _table(name: str, runs: pd.DataFrame, key: str = "dataset") -> Table:
    features = pd.read_parquet(DATA / f"meta_{name}_features.parquet").drop_duplicates(key).set_index(key)
    features = features.rename(index=str.lower if key == "name" else str).select_dtypes("number")
    errors = runs.pivot(index="dataset", columns="algorithm", values="error")
    shared = features.index.intersection(errors.index)
    return Table(features.loc[shared], errors.loc[shared])


def _runs(name: str) -> pd.DataFrame:
    return pd.read_parquet(DATA / f"meta_{name}_runs.parquet")


def weka() -> Table:
    """Return 30 Weka classifiers on 105 datasets, 1 - accuracy, with the official folds."""
    runs = _runs("openml_weka2017")
    table = _table("openml_weka2017", runs.assign(error=1 - runs["value"]))
    folds = pd.read_parquet(DATA / "meta_openml_weka2017_cv.parquet").set_index("dataset")["fold"]
    return Table(table.features, table.errors, folds=folds.loc[table.errors.index])


def autosklearn(metric: str) -> Table:
    """Return 96 configurations of auto-sklearn on 140 datasets."""
    runs = _runs("autosklearn2016")
    return _table("autosklearn2016", runs[runs["metric"] == metric].rename(columns={"value": "error"}))


def openml2017() -> Table:
    """Return 94 candidates on 441 datasets, 1 - accuracy; failed runs are missing; versions are a group."""
    runs = _runs("openml2017")
    table = _table("openml2017", runs[runs["status"] != "zero_failed"].assign(error=lambda rows: 1 - rows["value"]))
    names = table.errors.index.str.replace(r"^X\d+_", "", regex=True)
    return Table(table.features, table.errors, groups=pd.Series(names, table.errors.index))


def pmlb(metric: str) -> Table:
    """Return 6 algorithms on 164 datasets, 1 - the metric of the best of each grid."""
    runs = _runs("pmlb_sklearn")
    runs = runs[runs["metric"] == metric].groupby(["dataset", "algorithm"], as_index=False)["value"].max()
    return _table("pmlb_sklearn", runs.assign(error=1 - runs["value"]))


def amlb() -> Table:
    """Return 6 AutoML systems with four hours on 37 datasets, 1 - mean accuracy over the folds; four meta-features."""
    runs = _runs("amlb2019")
    runs = runs[(runs["budget"] == "4h") & (runs["algorithm"] != "constantpredictor")]
    means = runs.groupby(["dataset", "algorithm"], as_index=False)["acc"].mean()
    return _table("amlb2019", means.assign(error=1 - means["acc"]), key="name")


def noise() -> Table:
    """Return errors that have nothing to do with the meta-features."""
    random = np.random.default_rng(0)
    features = pd.DataFrame(random.normal(size=(120, 20)), columns=[f"f{place}" for place in range(20)])
    return Table(features, pd.DataFrame(random.random((120, 8)), columns=[f"c{place}" for place in range(8)]))


TABLES = {
    "openml_weka2017 accuracy": weka,
    "autosklearn2016 balanced accuracy": lambda: autosklearn("bac_error"),
    "autosklearn2016 accuracy": lambda: autosklearn("acc_error"),
    "openml2017 accuracy": openml2017,
    "pmlb_sklearn balanced accuracy": lambda: pmlb("bal_accuracy"),
    "random numbers": noise,
}
UNSEEN = {
    "amlb2019 accuracy": amlb,
    "autosklearn2016 1 - AUC": lambda: autosklearn("auc_error"),
    "pmlb_sklearn macro F1": lambda: pmlb("macrof1"),
}


@dataclass(frozen=True)
class Evaluation:
    """One run over the folds: the errors of the choices, the coverage, the share of folds that fell back."""

    past: pd.DataFrame
    coverage: float
    width: float
    falls_back: float
    plan_falls_back: float

    def gap(self) -> float | None:
        """Return the closed gap of the first of the advice."""
        return regret.closed_gap(*(self.past[name].mean() for name in ("advice", "sbs", "best")))

    def better(self) -> float:
        """Return how much less regret the plan of three has than the fixed portfolio of three."""
        regrets = self.past.sub(self.past["best"], axis=0).mean()
        return float(1 - regrets["advice_3"] / regrets["portfolio_3"])


def cross_validate(table: Table, seed: int) -> Evaluation:
    """Fit on nine folds and evaluate on the tenth, each in turn."""
    pasts, backs, coverages, widths = [], [], [], []
    for held_out in table.parts(seed):
        selector = Selector(seed=seed)
        selector.fit(table.features[~held_out], table.errors[~held_out], groups=table.groups)
        features, errors = table.features[held_out], table.errors[held_out]
        pasts.append(evaluate(selector, features, errors))
        backs.append((selector.falls_back, selector.trust.plan_falls_back))
        predictions = selector.predict(features).join(
            errors.stack().rename("actual").rename_axis(["dataset", "candidate"])
        )
        actual = predictions["actual"].to_numpy()
        coverages.append(
            (regret.coverage(actual, predictions["lower"], predictions["upper"]), np.isfinite(actual).sum())
        )
        widths.append((predictions["upper"] - predictions["lower"]).mean())
    shares, counts = zip(*coverages, strict=True)
    return Evaluation(
        pd.concat(pasts), float(np.average(shares, weights=counts)), float(np.mean(widths)), *np.mean(backs, 0)
    )


def _figures(name: str, seeds: range) -> Iterator[tuple[str, str]]:
    runs = [cross_validate((TABLES | UNSEEN)[name](), seed) for seed in seeds]
    gaps = [100 * (run.gap() or 0.0) for run in runs]
    betters = [100 * run.better() for run in runs]
    yield (
        f"{name}: closed gap, top 1",
        f"{np.mean(gaps):+.1f}% ({', '.join(f'{gap:+.1f}' for gap in gaps)}), falls back in"
        f" {np.mean([run.falls_back for run in runs]):.0%} of the folds",
    )
    yield (
        f"{name}: best of 3 against the fixed portfolio of 3",
        f"{np.mean(betters):+.1f}% regret saved ({', '.join(f'{better:+.1f}' for better in betters)}), falls back in"
        f" {np.mean([run.plan_falls_back for run in runs]):.0%}",
    )
    yield (
        f"{name}: coverage of the 90% intervals",
        f"{np.mean([run.coverage for run in runs]):.1%}, mean width {np.mean([run.width for run in runs]):.3f}",
    )


def _costs() -> Iterator[tuple[str, str]]:
    """Yield what a refit and advice cost on one thread."""
    table = openml2017()
    begin = time.thread_time()
    selector = Selector().fit(table.features, table.errors, groups=table.groups)
    yield "refit on 441 x 94, thread time", f"{time.thread_time() - begin:.1f} s"
    one = table.features.iloc[[0]]
    for name, times in zip(
        ("ranking with intervals", "plan of 3", "drivers"),
        times_ms(lambda: selector.predict(one), lambda: selector.plan(one), lambda: selector.drivers(one), rounds=20),
        strict=True,
    ):
        yield f"{name} for one dataset, 441 known", summary(times)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "selector.npz"
        selector.save(path)
        yield "the saved selector", f"{path.stat().st_size / 2**20:.1f} MB"
        yield "loading it", summary(times_ms(lambda: Selector.load(path), rounds=10)[0])


def _curve() -> Iterator[tuple[str, str]]:
    table = autosklearn("bac_error")
    for size, row in regret_by_size(table.features, table.errors, _CURVE).iterrows():
        yield (
            f"autosklearn2016 balanced accuracy, {size} datasets known: mean regret",
            f"advice {row['advice']:.4f}, SBS {row['sbs']:.4f}, best of 3 {row['advice_3']:.4f},"
            f" portfolio of 3 {row['portfolio_3']:.4f}",
        )


def figures(names: tuple[str, ...] = tuple(TABLES), seeds: range = range(3)) -> Iterator[tuple[str, str]]:
    """Yield the figures of this part as they are measured."""
    with threadpool_limits(1):
        for name in names:
            yield from _figures(name, seeds)
        yield from _costs()
        yield from _curve()


def main() -> None:
    """Print a part of the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", nargs="+", default=list(TABLES), help="part of a table's name")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--costs", action="store_true", help="only the costs and the learning curve")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    chosen = [name for name in TABLES | UNSEEN if any(part in name for part in options.table)]
    parts = [_costs(), _curve()] if options.costs else [_figures(name, seeds) for name in chosen]
    for figure, value in itertools.chain(*parts):
        print(f"{figure:<74} {value}", flush=True)


if __name__ == "__main__":
    main()
