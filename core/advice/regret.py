"""How good a choice of candidates is: SBS, VBS, regret, closed gap, fixed portfolio, coverage.

A table of errors has one row a dataset, one column a candidate, lower is better; NaN where a candidate was not run.
Weights [datasets] say how much each dataset counts; without them all count alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.errors import InputError

Array = NDArray[Any]

_SWEEPS = 20  # alternations of the additive model; ten suffice for half the table missing
_EVERYONE = 0.1  # the weight of all datasets together beside those that are like one
_EQUAL = 1e-12  # a gap below this share of the errors is rounding


def sbs(errors: pd.DataFrame) -> str:
    """The single best solver: the candidate of the lowest mean error, the first of equals.

    Where runs are missing, datasets are first made comparable: see `deviations`. Raises InputError without any error.
    """
    return str(errors.columns[safe_order(errors)[0]])


def vbs(errors: pd.DataFrame) -> pd.Series:
    """The virtual best solver: each dataset's lowest error; NaN where nothing was run."""
    return errors.min(axis=1)


def chosen(errors: pd.DataFrame, orders: pd.DataFrame, k: int = 1) -> pd.Series:
    """The error of the best of the first k candidates of each dataset's row in `orders` [datasets, places].

    A candidate without a result on a dataset is passed over for the next one, as a recommendation is judged on what is
    known; NaN where no candidate of the row has a result.
    """
    column = {name: place for place, name in enumerate(errors.columns)}
    places = orders.map(column.get).to_numpy(float)
    return pd.Series(first_known(errors.to_numpy(float), places, k), errors.index)


def first_known(errors: Array, places: Array, k: int = 1) -> Array:
    """As `chosen`, of arrays: `places` are column numbers, NaN for a column that does not exist."""
    known = np.isfinite(places)
    picked = np.take_along_axis(errors, np.where(known, places, 0).astype(int), axis=1)
    picked = np.where(known & np.isfinite(picked), picked, np.inf)
    first = np.where(np.cumsum(np.isfinite(picked), axis=1) <= k, picked, np.inf).min(axis=1)
    return np.where(np.isfinite(first), first, np.nan)


def regret(errors: pd.DataFrame, choice: pd.Series) -> pd.Series:
    """Error of the chosen candidate minus that of the VBS, for each dataset; NaN where either is unknown.

    `choice` names one candidate for each dataset of `errors`. Raises InputError for an unknown candidate.
    """
    unknown = set(choice) - set(errors.columns)
    if unknown:
        raise InputError(f"candidate: {sorted(unknown)[0]!r} is not in the table; choose one of its columns.")
    orders = choice.reindex(errors.index).to_frame()
    return chosen(errors, orders) - vbs(errors)


def closed_gap(selected: float, single_best: float, virtual_best: float) -> float | None:
    """(SBS - selected) / (SBS - VBS) of mean errors: 1 is a perfect choice, 0 the safe default, below 0 is harm.

    None where the SBS is as good as the VBS, for then there is no gap to close.
    """
    gap = single_best - virtual_best
    if not gap > _EQUAL * max(abs(single_best), abs(virtual_best)):
        return None
    return float((single_best - selected) / gap)


def coverage(actual: Array, lower: Array, upper: Array) -> float | None:
    """Share of the actual values that lie within their interval, ends included; None where no triple is known."""
    actual, lower, upper = (np.asarray(values, float).ravel() for values in (actual, lower, upper))
    known = np.isfinite(actual) & ~np.isnan(lower) & ~np.isnan(upper)
    if not known.any():
        return None
    return float(((lower <= actual) & (actual <= upper))[known].mean())


def portfolio(errors: pd.DataFrame, k: int, weights: Array | None = None) -> list[str]:
    """The greedy fixed portfolio: each next candidate lowers the mean of the best error most (Nemhauser et al. 1978).

    Missing runs are filled by the additive model. Fewer than k where there are fewer candidates with a result.
    """
    return [str(errors.columns[place]) for place in portfolio_places(errors, k, weights)]


def portfolio_places(errors: pd.DataFrame, k: int, weights: Array | None = None) -> list[int]:
    """As `portfolio`, column numbers; candidates without a result come last, where k asks for them."""
    weights = _counted(weights, len(errors))
    full = filled(errors.to_numpy(float), weights)
    usable = np.isfinite(errors.to_numpy(float)).any(axis=0)
    full = np.where(usable, full, np.inf)
    return greedy(full - full.min(axis=1, keepdims=True), weights, min(k, errors.shape[1]))


def greedy(regrets: Array, weights: Array, k: int) -> list[int]:
    """The k columns whose rowwise minimum has the lowest weighted mean, one after the other, the first of equals.

    Rows without weight do not count, whatever their regrets.
    """
    regrets, weights = regrets[weights > 0], weights[weights > 0]
    best, taken = np.full(len(regrets), np.inf), np.zeros(regrets.shape[1], bool)
    places: list[int] = []
    for _ in range(k):
        mean = weights @ np.minimum(best[:, None], regrets)
        place = int(np.lexsort((mean, taken))[0])
        places.append(place)
        taken[place] = True
        best = np.minimum(best, regrets[:, place])
    return places


def safe_order(errors: pd.DataFrame, weights: Array | None = None) -> Array:
    """Column numbers from the SBS to the worst candidate; without results last. Raises InputError without any."""
    values = errors.to_numpy(float)
    usable = np.isfinite(values).any(axis=0) if len(values) else np.zeros(values.shape[1], bool)
    if not usable.any():
        raise InputError("there is no result yet: run the candidates on at least one dataset, or import past runs.")
    return np.argsort(np.where(usable, deviations(values, weights)[1], np.inf), kind="stable")


def deviations(errors: Array, weights: Array | None = None) -> tuple[Array, Array]:
    """The additive model of a table with gaps: a level for each dataset, a deviation for each candidate.

    A missing run counts as the dataset's typical error, so that a candidate with one lucky result does not lead; in a
    complete table the deviations order the candidates exactly as their weighted means do. A dataset without any result
    has the mean level of the others.
    """
    known = np.isfinite(errors)
    runs, counts = np.maximum(known.sum(axis=1), 1), _counted(weights, len(errors))
    shares = counts[:, None] / max(counts.sum(), 1e-300)
    column = np.zeros(errors.shape[1])
    for _ in range(1 if known.all() else _SWEEPS):
        level = np.where(known, errors - column, 0.0).sum(axis=1) / runs
        column = (shares * np.where(known, errors - level[:, None], 0.0)).sum(axis=0)
    ran = known.any(axis=1)
    return np.where(ran, level, level[ran].mean() if ran.any() else 0.0), column


def _counted(weights: Array | None, count: int) -> Array:
    """The weights of `count` datasets."""
    return np.ones(count) if weights is None else weights


def filled(errors: Array, weights: Array | None = None) -> Array:
    """The table with the additive model's value where a run is missing."""
    level, column = deviations(errors, weights)
    return np.where(np.isfinite(errors), errors, level[:, None] + column)


def filled_locally(errors: Array, alike: Array, weights: Array | None = None) -> Array:
    """As `filled`, by an additive model for each dataset in which the others count by `alike` [datasets, datasets].

    What a candidate does relative to the others differs between kinds of datasets; datasets that are like the one with
    the gap say it better than all. All together still count a little, for what no like dataset has.
    """
    known = np.isfinite(errors)
    if known.all():
        return errors
    runs, values, counted = np.maximum(known.sum(axis=1), 1), np.where(known, errors, 0.0), known.astype(float)
    alike = (alike + _EVERYONE / len(errors)) * _counted(weights, len(errors))
    alike = alike / alike.sum(axis=1, keepdims=True)
    column = np.zeros(errors.shape)
    for _ in range(_SWEEPS):
        level = (values.sum(axis=1) - column @ counted.T) / runs  # [for this dataset, of that dataset]
        column = alike @ values - (alike * level) @ counted
    own = np.where(known, errors - column, 0.0).sum(axis=1) / runs
    return np.where(known, errors, own[:, None] + column)


def standardised(table: Array) -> Array:
    """Each row with mean 0 and deviation 1; a constant row is 0."""
    spread = table.std(axis=1, keepdims=True)
    small = spread <= _EQUAL * np.abs(table).max(axis=1, keepdims=True, initial=0.0)
    return np.where(small, 0.0, (table - table.mean(axis=1, keepdims=True)) / np.where(small, 1.0, spread))
