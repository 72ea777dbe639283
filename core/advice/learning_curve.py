"""Does advice get better as results accumulate? Selectors that know ever more datasets, evaluated on held-out ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.advice import trust
from core.advice.selector import Selector
from core.errors import InputError

Array = NDArray[Any]

_TREES = 200  # fewer than usual: many selectors are fitted and averaged


def evaluate(selector: Selector, features: pd.DataFrame, errors: pd.DataFrame) -> pd.DataFrame:
    """Return what following the selector gets on datasets with known errors; columns as in `Trust.past`.

    The best is among all candidates of `errors`, including those that the selector does not know.
    """
    features, model = features.reindex(errors.index), selector.model
    safe = np.tile(model.safe, (len(errors), 1))
    fixed = np.tile(selector.portfolio_places(trust.PLAN_SIZE), (len(errors), 1))
    actual = errors.reindex(columns=model.errors.columns).to_numpy(float)
    columns = trust.evaluate(actual, selector.ranking_places(features), selector.plan_places(features), safe, fixed)
    return pd.DataFrame({**columns, "best": errors.min(axis=1)}, errors.index)


def regret_by_size(
    features: pd.DataFrame,
    errors: pd.DataFrame,
    sizes: Sequence[int],
    *,
    shipped: Collection[Any] = (),
    groups: pd.Series | None = None,
    weights: pd.Series | None = None,
    repeats: int = 5,
    held_out_frac: float = 0.3,
    seed: int = 0,
) -> pd.DataFrame:
    """Return mean regret on held-out datasets: index number of own datasets known, columns of `Trust.past` but best.

    In each repeat a share of the datasets is held out, whole groups together; the first so many of the others are
    known, and always the `shipped` ones. Raises InputError if a size exceeds the number of datasets.
    """
    own = errors.index.difference(list(shipped), sort=False)
    labels = pd.Series(own, own) if groups is None else groups.reindex(own)
    rows: dict[int, list[pd.Series]] = {size: [] for size in sizes}
    for repeat in range(repeats):
        test, others = _split(labels, held_out_frac, np.random.default_rng([seed, repeat]))
        for size in sizes:
            if size > len(others):
                raise InputError(
                    f"{size} is more than the {len(others)} datasets that are not held out.", field="size", value=size,
                    remedy="Choose fewer.",
                )  # fmt: skip
            known = [*(name for name in errors.index if name in set(shipped)), *others[:size]]
            selector = Selector(trees=_TREES, plan_trees=_TREES, seed=repeat)
            selector.fit(features.reindex(known), errors.loc[known], groups=groups, weights=weights)
            past = evaluate(selector, features, errors.loc[test])
            rows[size].append(past.drop(columns="best").sub(past["best"], axis=0).mean())
    return pd.DataFrame({size: pd.concat(regrets, axis=1).mean(axis=1) for size, regrets in rows.items()}).T


def _split(labels: pd.Series, held_out_frac: float, random: np.random.Generator) -> tuple[pd.Index, pd.Index]:
    """Return held-out datasets and the others in random order; `labels` (index dataset) gives each one's group."""
    order = random.permutation(labels.unique())
    n_held_out = max(1, round(held_out_frac * len(order)))
    held_out = labels.isin(order[:n_held_out])
    others = labels[~held_out]
    return labels.index[held_out], others.index[np.argsort(pd.Categorical(others, order).codes, kind="stable")]
