"""How good a choice of candidates is: SBS, VBS, regret, closed gap, fixed portfolio, coverage.

A table of errors has one row per dataset and one column per candidate; lower is better, NaN where a candidate was not
run. Weights [datasets] say how much each dataset counts; without them all count equally.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.errors import InputError

Array = NDArray[Any]

_SWEEPS = 20  # alternations of the additive model; ten suffice when half of the table is missing
_GENERAL_WEIGHT = 0.1  # of all datasets together, beside the similar ones
_EQUAL = 1e-12  # a gap below this share of the errors is rounding


def sbs(errors: pd.DataFrame) -> str:
    """Return the single best solver: the candidate with the lowest mean error, the first of equals.

    Missing runs are handled by `deviations`. Raises InputError when there is no error at all.
    """
    return str(errors.columns[safe_order(errors)[0]])


def vbs(errors: pd.DataFrame) -> pd.Series:
    """Return the virtual best solver: the lowest error of each dataset, NaN where nothing was run."""
    return errors.min(axis=1)


def best_of_first(errors: pd.DataFrame, orders: pd.DataFrame, k: int = 1) -> pd.Series:
    """Return the error of the best of the first k candidates in each row of `orders` [datasets, places].

    A candidate without a result on a dataset is skipped, because a recommendation is evaluated on existing results.
    NaN where no candidate of the row has a result.
    """
    column = {name: place for place, name in enumerate(errors.columns)}
    places = orders.map(column.get).to_numpy(float)
    return pd.Series(first_results(errors.to_numpy(float), places, k), errors.index)


def first_results(errors: Array, places: Array, k: int = 1) -> Array:
    """Do the same as `best_of_first` for arrays: `places` are column numbers, NaN for a column that does not exist."""
    exists = np.isfinite(places)
    values = np.take_along_axis(errors, np.where(exists, places, 0).astype(int), axis=1)
    values = np.where(exists & np.isfinite(values), values, np.inf)
    best = np.where(np.cumsum(np.isfinite(values), axis=1) <= k, values, np.inf).min(axis=1)
    return np.where(np.isfinite(best), best, np.nan)


def regret(errors: pd.DataFrame, choice: pd.Series) -> pd.Series:
    """Return the error of the chosen candidate minus that of the VBS on each dataset; NaN where either is missing.

    `choice` names one candidate for each dataset of `errors`. Raises InputError for an unknown candidate.
    """
    unknown = set(choice) - set(errors.columns)
    if unknown:
        name = sorted(unknown)[0]
        raise InputError(
            f"{name!r} is not in the table.", field="candidate", value=name, remedy="Choose one of its columns."
        )
    orders = choice.reindex(errors.index).to_frame()
    return best_of_first(errors, orders) - vbs(errors)


def closed_gap(selected: float, single_best: float, virtual_best: float) -> float | None:
    """Return (SBS - selected) / (SBS - VBS) of mean errors: 1 is perfect, 0 the safe default, below 0 is harm.

    None if the SBS is as good as the VBS, because there is no gap to close.
    """
    gap = single_best - virtual_best
    if not gap > _EQUAL * max(abs(single_best), abs(virtual_best)):
        return None
    return float((single_best - selected) / gap)


def coverage(actual: Array, lower: Array, upper: Array) -> float | None:
    """Return the share of actual values that lie within their interval, ends included; None if there is no triple."""
    actual, lower, upper = (np.asarray(values, float).ravel() for values in (actual, lower, upper))
    complete = np.isfinite(actual) & ~np.isnan(lower) & ~np.isnan(upper)
    if not complete.any():
        return None
    return float(((lower <= actual) & (actual <= upper))[complete].mean())


def portfolio(errors: pd.DataFrame, k: int, weights: Array | None = None) -> list[str]:
    """Return the greedy fixed portfolio: each next candidate lowers the mean of the best error most.

    Missing runs are filled by the additive model. Fewer than k if fewer candidates have a result. Source: Nemhauser
    et al. 1978.
    """
    return [str(errors.columns[place]) for place in portfolio_places(errors, k, weights)]


def portfolio_places(errors: pd.DataFrame, k: int, weights: Array | None = None) -> list[int]:
    """Do the same as `portfolio` in column numbers; candidates without a result come last."""
    weights = _weights_or_ones(weights, len(errors))
    table = fill(errors.to_numpy(float), weights)
    usable = np.isfinite(errors.to_numpy(float)).any(axis=0)
    table = np.where(usable, table, np.inf)
    return greedy(table - table.min(axis=1, keepdims=True), weights, min(k, errors.shape[1]))


def greedy(regrets: Array, weights: Array, k: int) -> list[int]:
    """Return the k columns whose rowwise minimum has the lowest weighted mean, added one by one, the first of equals.

    Rows of weight 0 do not count, whatever their regrets.
    """
    regrets, weights = regrets[weights > 0], weights[weights > 0]
    best, used = np.full(len(regrets), np.inf), np.zeros(regrets.shape[1], bool)
    places: list[int] = []
    for _ in range(k):
        mean = weights @ np.minimum(best[:, None], regrets)
        place = int(np.lexsort((mean, used))[0])
        places.append(place)
        used[place] = True
        best = np.minimum(best, regrets[:, place])
    return places


def safe_order(errors: pd.DataFrame, weights: Array | None = None) -> Array:
    """Return column numbers from the SBS to the worst candidate, those without results last.

    Raises InputError when there is no result.
    """
    values = errors.to_numpy(float)
    usable = np.isfinite(values).any(axis=0) if len(values) else np.zeros(values.shape[1], bool)
    if not usable.any():
        raise no_results()
    return np.argsort(np.where(usable, deviations(values, weights)[1], np.inf), kind="stable")


def no_results() -> InputError:
    """Return the error for a table without any result."""
    return InputError(
        "There is no result yet.", remedy="Run the candidates on at least one dataset, or import past runs."
    )


def deviations(errors: Array, weights: Array | None = None) -> tuple[Array, Array]:
    """Fit the additive model of a table with gaps: a level for each dataset, a deviation for each candidate.

    A missing run counts as the dataset's typical error, so a candidate with one lucky result does not lead. In a
    complete table the deviations order the candidates exactly as their weighted means do. A dataset without a result
    gets the mean level of the others.
    """
    known = np.isfinite(errors)
    runs, counts = np.maximum(known.sum(axis=1), 1), _weights_or_ones(weights, len(errors))
    shares = counts[:, None] / max(counts.sum(), 1e-300)
    column = np.zeros(errors.shape[1])
    for _ in range(1 if known.all() else _SWEEPS):
        level = np.where(known, errors - column, 0.0).sum(axis=1) / runs
        column = (shares * np.where(known, errors - level[:, None], 0.0)).sum(axis=0)
    has_run = known.any(axis=1)
    return np.where(has_run, level, level[has_run].mean() if has_run.any() else 0.0), column


def _weights_or_ones(weights: Array | None, count: int) -> Array:
    return np.ones(count) if weights is None else weights


def fill(errors: Array, weights: Array | None = None) -> Array:
    """Return the table with the additive model's value in place of each missing run."""
    level, column = deviations(errors, weights)
    return np.where(np.isfinite(errors), errors, level[:, None] + column)


def fill_locally(errors: Array, similarity: Array, weights: Array | None = None) -> Array:
    """Fill missing runs by one additive model per dataset, in which the others count by `similarity`.

    `similarity` is [datasets, datasets]. Similar datasets say best how a candidate compares with the others there; all
    datasets together still count a little, for candidates that no similar dataset has run.
    """
    known = np.isfinite(errors)
    if known.all():
        return errors
    runs, values, mask = np.maximum(known.sum(axis=1), 1), np.where(known, errors, 0.0), known.astype(float)
    similarity = (similarity + _GENERAL_WEIGHT / len(errors)) * _weights_or_ones(weights, len(errors))
    similarity = similarity / similarity.sum(axis=1, keepdims=True)
    column = np.zeros(errors.shape)
    for _ in range(_SWEEPS):
        level = (values.sum(axis=1) - column @ mask.T) / runs  # [model of a dataset, level of a dataset]
        column = similarity @ values - (similarity * level) @ mask
    own = np.where(known, errors - column, 0.0).sum(axis=1) / runs
    return np.where(known, errors, own[:, None] + column)


def standardise(table: Array) -> Array:
    """Return each row with mean 0 and deviation 1; a constant row becomes 0."""
    spread = table.std(axis=1, keepdims=True)
    small = spread <= _EQUAL * np.abs(table).max(axis=1, keepdims=True, initial=0.0)
    return np.where(small, 0.0, (table - table.mean(axis=1, keepdims=True)) / np.where(small, 1.0, spread))
