"""A fitted selector as tables, which the Meta-model page draws."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from core.advice import fits
from core.advice.fits import Fit
from core.scoring import METRICS

OWN, SHIPPED = "Yours", "Shipped"
ORIGINS = {"own": OWN, "shipped": SHIPPED}


@dataclass(frozen=True)
class SelectorView:
    """A fitted selector; every table but `importance` and `predictions` has the known datasets as index."""

    about: pd.DataFrame  # origin (as people read it), mark, metric (as an error's name)
    errors: pd.DataFrame  # columns candidates, NaN where not run
    past: pd.DataFrame  # see `core.advice.trust.Trust`
    predictions: pd.DataFrame  # see `core.advice.fits.held_out_predictions`
    importance: pd.Series  # of the meta-features
    plane: pd.DataFrame  # x, y
    coverage: float | None
    reason: str
    falls_back: bool
    safe_default: str


def of(fit: Fit) -> SelectorView:
    """Return the view of a fit, computed once for each process and fit."""
    return _of(fit.file, _fit=fit)


@st.cache_data(max_entries=4, show_spinner="Reading the selector")
def _of(file: str, *, _fit: Fit) -> SelectorView:
    selector, predictions = fits.load_selector(_fit), fits.held_out_predictions(_fit)
    about = pd.DataFrame.from_dict(_fit.marks, orient="index", columns=["origin", "mark"])
    metric = predictions["metric"].groupby(level="dataset").first().map(error_name)
    about = about.assign(origin=about["origin"].map(lambda name: ORIGINS.get(name, name)), metric=metric)
    # Yours first, then imported ones, then what ships.
    order = {OWN: "0", SHIPPED: "2"}
    names = sorted(about.index, key=lambda name: (order.get(about["origin"][name], "1" + about["origin"][name]), name))
    about = about.loc[names].fillna({"metric": "error"})
    return SelectorView(
        about, selector.model.errors.loc[names], selector.trust.past.loc[names], predictions, selector.importance,
        selector.map().loc[names], selector.trust.coverage, selector.reason, selector.falls_back, selector.sbs,
    )  # fmt: skip


def error_name(metric: str) -> str:
    """Return what an error by a metric is."""
    kind = METRICS.get(metric)
    if kind is None:
        return metric
    return f"1 - {kind.label}" if kind.higher_is_better else kind.label
