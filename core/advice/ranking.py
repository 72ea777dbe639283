"""From weights of known datasets to rankings, plans and predicted errors.

`table` is [known datasets, candidates], the errors with gaps filled; `weights` is [datasets, known datasets] and each
row sums to 1. Results hold column numbers of the table.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.advice import regret

Array = NDArray[Any]

_GENERAL = 0.15  # the part of all known datasets beside the similar ones in a cautious expectation
_FLOOR = 0.1  # of a candidate's deviation over all datasets: what similar datasets agree on is not certain


def normalise(shares: Array, counts: Array) -> Array:
    """Return weights in which each known dataset counts by `counts`; rows sum to 1."""
    product = shares * counts
    return np.asarray(product / np.maximum(product.sum(axis=1, keepdims=True), 1e-300))


def standard_ranks(table: Array) -> Array:
    """Return standardised ranks by row: every dataset counts equally, however large its errors are."""
    return regret.standardise(pd.DataFrame(table).rank(axis=1).to_numpy())


def loss(table: Array) -> Array:
    """Return what a candidate costs on each known dataset: standardised rank plus regret in the regrets' deviations.

    Ranks are steady and regret is what counts; either alone did worse on some of the benchmark's tables.
    """
    regrets = table - table.min(axis=1, keepdims=True)
    return standard_ranks(table) + regrets / max(regrets.std(), 1e-12)


def bold(weights: Array, table: Array) -> Array:
    """Return the ranking [datasets, candidates] by expected loss."""
    return np.argsort(_expected_loss(weights, table), axis=1, kind="stable")


def cautious(weights: Array, everyone: Array, table: Array, safe: Array) -> Array:
    """Return the ranking by expected loss in which candidates not expected to beat the SBS come last.

    That expectation counts the known datasets at large (`everyone`: weights for each row, or one row for all) a little
    beside the similar ones, so a rare disaster that no similar dataset had is not forgotten. `safe` [datasets] is the
    SBS's column, or one for all.
    """
    expected = ((1 - _GENERAL) * weights + _GENERAL * everyone) @ table
    barred = expected > np.take_along_axis(expected, np.broadcast_to(safe, len(weights))[:, None], axis=1)
    return np.lexsort((_expected_loss(weights, table), barred), axis=1)


def _expected_loss(weights: Array, table: Array) -> Array:
    """Return expected rank plus expected regret, each standardised over a dataset's candidates."""
    regrets = table - table.min(axis=1, keepdims=True)
    return regret.standardise(weights @ standard_ranks(table)) + regret.standardise(weights @ regrets)


def plans(weights: Array, table: Array, k: int) -> Array:
    """Return the k columns with the least expected regret of their best, chosen greedily for each row of weights."""
    regrets = table - table.min(axis=1, keepdims=True)
    return np.array([regret.greedy(regrets, row, min(k, table.shape[1])) for row in weights], int)


def moments(weights: Array, table: Array) -> tuple[Array, Array]:
    """Return expected errors [datasets, candidates] and their spread under the weights."""
    mean = weights @ table
    variance = np.maximum(weights @ table**2 - mean**2, 0.0) + (_FLOOR * table.std(axis=0)) ** 2
    return mean, np.sqrt(variance)
