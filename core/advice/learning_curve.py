"""Does advice get better as results accumulate? Selectors that know ever more datasets, judged on ones they do not."""

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

_TREES = 200  # fewer than usual: many selectors are fitted, and their mean is wanted


def judged(selector: Selector, features: pd.DataFrame, errors: pd.DataFrame) -> pd.DataFrame:
    """What following the selector gets on datasets with known errors, as `Trust.past` tells it.

    The best is among the candidates of `errors`, those included that the selector does not know.
    """
    features, model = features.reindex(errors.index), selector.model
    safe = np.tile(model.safe, (len(errors), 1))
    fixed = np.tile(selector.portfolio_places(trust.PLAN), (len(errors), 1))
    actual = errors.reindex(columns=model.errors.columns).to_numpy(float)
    found = trust.judge(actual, selector.ranking_places(features), selector.plan_places(features), safe, fixed)
    return pd.DataFrame({**found, "best": errors.min(axis=1)}, errors.index)


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
    """Mean regret on unseen datasets: index number of own datasets known, columns those of `Trust.past` but the best.

    In each repeat a share of the datasets is held out, whole groups together; of the others the first so many are
    known, and the `shipped` ones besides, always. Raises InputError where a size asks for more than there are.
    """
    own = errors.index.difference(list(shipped), sort=False)
    labels = pd.Series(own, own) if groups is None else groups.reindex(own)
    rows: dict[int, list[pd.Series]] = {size: [] for size in sizes}
    for repeat in range(repeats):
        order = np.random.default_rng([seed, repeat]).permutation(labels.unique())
        n_held_out = max(1, round(held_out_frac * len(order)))
        test = own[labels.isin(order[:n_held_out])]
        others = labels[~labels.isin(order[:n_held_out])]
        ordered = others.index[np.argsort(pd.Categorical(others, order).codes, kind="stable")]
        for size in sizes:
            if size > len(ordered):
                raise InputError(f"size: {size} datasets are asked for, {len(ordered)} are there; ask for fewer.")
            known = [*(name for name in errors.index if name in set(shipped)), *ordered[:size]]
            selector = Selector(trees=_TREES, plan_trees=_TREES, seed=repeat)
            selector.fit(features.reindex(known), errors.loc[known], groups=groups, weights=weights)
            past = judged(selector, features, errors.loc[test])
            rows[size].append(past.drop(columns="best").sub(past["best"], axis=0).mean())
    return pd.DataFrame({size: pd.concat(found, axis=1).mean(axis=1) for size, found in rows.items()}).T
