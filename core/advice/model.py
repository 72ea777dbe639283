"""What a selector fits on past results: two forests, the defaults, and how good the advice was on held-out datasets.

The first forest ranks candidates and predicts errors; a second, smoother one chooses plans. Each tree is grown without
a part of the datasets, so the same forests also tell how good the advice would have been (`Trust`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.advice import forest, quantiles, ranking, regret, trust
from core.advice.forest import Forest
from core.advice.quantiles import Scale
from core.advice.trust import PLAN_SIZE, Trust
from core.errors import InputError

Array = NDArray[Any]

CONFIDENCE = 0.9
_FILL_TREES = 100


@dataclass(frozen=True, slots=True)
class Model:
    """The state of a fitted selector."""

    errors: pd.DataFrame  # index known dataset, columns candidate with a result; NaN where not run
    table: Array  # the errors with gaps filled
    safe: Array  # column numbers, the SBS first
    scale: Scale
    choice: Forest  # for the ranking and the predicted errors
    plan: Forest  # for the plans
    weights: Array  # [datasets] how much a known dataset counts
    trust: Trust
    cautious: bool  # whether the ranking is the cautious one
    width: float  # half of the interval in units of the spread; NaN if too few datasets are known

    @property
    def lowest(self) -> float:
        """The lowest error that is possible: 0, unless there is one below 0."""
        return _lowest(self.errors)


@dataclass(frozen=True, slots=True)
class _Data:
    """What a model is fitted on, in one order of datasets."""

    errors: pd.DataFrame
    table: Array
    scale: Scale
    groups: Array
    weights: Array


def fit(
    features: pd.DataFrame,
    errors: pd.DataFrame,
    groups: pd.Series | None,
    weights: pd.Series | None,
    *,
    trees: int,
    plan_trees: int,
    seed: int,
) -> Model:
    """Fit a model; see `Selector.fit` for the arguments and what is raised."""
    errors = _usable(errors)
    features = quantiles.numbers(features).reindex(errors.index)
    group_numbers, counts = _group_numbers(groups, errors.index), _counts(weights, errors.index)
    scale = quantiles.fit_scale(features, group_numbers)
    table = _fill(errors.to_numpy(float), scale, group_numbers, counts, seed)
    goals = ((table, 2), (ranking.loss(table), 1))
    choice = forest.grow(scale.quantiles, goals, group_numbers, trees=trees, seed=seed)
    plan_goals = ((ranking.standard_ranks(table), 2),)
    plan = forest.grow(scale.quantiles, plan_goals, group_numbers, trees=plan_trees, seed=seed)
    safe = regret.safe_order(errors, counts)
    data = _Data(errors, table, scale, group_numbers, counts)
    return Model(errors, table, safe, scale, choice, plan, counts, *_evaluation(data, choice, plan, seed))


def _usable(errors: pd.DataFrame) -> pd.DataFrame:
    """Return the datasets and candidates with a result; infinite errors are failed runs."""
    quantiles.check_unique("dataset", errors.index)
    quantiles.check_unique("candidate", errors.columns)
    errors = errors.astype(float).replace([np.inf, -np.inf], np.nan).dropna(how="all").dropna(how="all", axis=1)
    if errors.empty:
        raise regret.no_results()
    return errors


def _group_numbers(groups: pd.Series | None, index: pd.Index) -> Array:
    """Return numbers from 0 for the groups; a dataset in none is a group of its own."""
    if groups is None:
        return np.arange(len(index))
    names = [("group", groups[name]) if name in groups and pd.notna(groups[name]) else ("own", name) for name in index]
    return np.asarray(pd.factorize(pd.Series(names, dtype=object))[0])


def _counts(weights: pd.Series | None, index: pd.Index) -> Array:
    """Return how much each dataset counts. Raises InputError for a weight that is not a number above 0."""
    if weights is None:
        return np.ones(len(index))
    counts = weights.reindex(index).astype(float).fillna(1.0)
    wrong = counts[~(np.isfinite(counts) & (counts > 0))]
    if len(wrong):
        raise InputError(
            f"{wrong.iloc[0]} is not allowed.", field=f"weight of dataset {wrong.index[0]!r}", value=wrong.iloc[0],
            remedy="Give a number above 0.",
        )  # fmt: skip
    return counts.to_numpy()


def _fill(errors: Array, scale: Scale, groups: Array, counts: Array, seed: int) -> Array:
    """Return the errors with gaps filled from similar datasets, by a first forest grown on a first filling."""
    table = regret.fill(errors, counts)
    if np.isfinite(errors).all():
        return table
    goals = ((ranking.standard_ranks(table), 2), (table, 2))
    first = forest.grow(scale.quantiles, goals, groups, trees=_FILL_TREES, seed=seed)
    return regret.fill_locally(errors, first.held_out_weights(scale.quantiles), counts)


def _evaluation(data: _Data, choice: Forest, plan: Forest, seed: int) -> tuple[Trust, bool, float]:
    """Return the trust in the advice, whether it is cautious, and the width of the intervals.

    All three come from the trees grown without the dataset, and from defaults chosen without it. The advice is cautious
    unless the bold one is beyond doubt.
    """
    errors, table, groups, counts = data.errors, data.table, data.groups, data.weights
    defaults = trust.held_out_defaults(errors, groups, counts, seed)
    if defaults is None:
        return Trust(pd.DataFrame(np.nan, errors.index, list(trust.COLUMNS)), groups, None), True, np.nan
    actual, inputs = errors.to_numpy(float), data.scale.quantiles
    weights = ranking.normalise(choice.held_out_weights(inputs), counts)
    width, coverage = _interval(data, weights)
    plans = ranking.plans(ranking.normalise(plan.held_out_weights(inputs), counts), table, PLAN_SIZE)
    others = ranking.normalise((groups[:, None] != groups[None, :]).astype(float), counts)
    bold, cautious = (
        Trust(pd.DataFrame(trust.evaluate(actual, order, plans, *defaults), errors.index), groups, coverage)
        for order in (ranking.bold(weights, table), ranking.cautious(weights, others, table, defaults[0][:, 0]))
    )
    return (bold, False, width) if bold.beyond_doubt else (cautious, True, width)


def _interval(data: _Data, weights: Array) -> tuple[float, float | None]:
    """Return the width of the intervals and their coverage, by held-out weights."""
    actual = data.errors.to_numpy(float)
    mean, spread = ranking.moments(weights, data.table)
    width = _width(np.abs(actual - mean) / np.maximum(spread, 1e-12), int(data.groups.max()) + 1)
    lower = np.maximum(mean - width * spread, _lowest(data.errors))
    return width, regret.coverage(actual, lower, mean + width * spread)


def _lowest(errors: pd.DataFrame) -> float:
    return 0.0 if errors.min(axis=None) >= 0 else -np.inf


def _width(scores: Array, count: int) -> float:
    """Return the conformal quantile of held-out residuals (Barber et al. 2021) over `count` independent datasets."""
    level = np.ceil((count + 1) * CONFIDENCE) / count
    return float(np.nanquantile(scores, level, method="higher")) if level <= 1 else np.nan
