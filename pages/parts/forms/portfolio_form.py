"""The form of the portfolio of scikit-learn pipelines."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.datasets import Dataset
from core.specs import LABELS, PORTFOLIO_CANDIDATES, PortfolioSpec
from pages.parts.forms import common


def show(dataset: Dataset, start: PortfolioSpec | None, priority: int, mark: str) -> dict[str, Any] | None:
    """Draw the form; returns the spec's fields and the priority once it is submitted."""
    start, mark = start or PortfolioSpec(dataset_id=dataset.id), f"_portfolio{mark}"
    with st.form("portfolio_form", border=True, enter_to_submit=False):
        st.subheader("Candidates")
        fields = _candidates(dataset, start, mark)
        st.subheader("Resources and queue")
        fields |= common.resources(start, priority, mark)
        submitted = common.submit_button("Most datasets take a minute or two, and at most the time budget.")
    return fields if submitted else None


def _candidates(dataset: Dataset, start: PortfolioSpec, mark: str) -> dict[str, Any]:
    """Draw which pipelines to fit, how long each and all of them may take, and what ranks them."""
    candidates = st.pills(
        LABELS["candidates"], list(PORTFOLIO_CANDIDATES), selection_mode="multi", default=list(start.candidates),
        key=f"candidates{mark}",
        help="The scikit-learn models to fit, each with suitable preprocessing. Those that do not fit the task are"
        " skipped.",
    )  # fmt: skip
    one, two, three = st.columns(3)
    budget = one.number_input(
        LABELS["budget_s"], value=start.budget_s, step=10, key=f"budget_s{mark}",
        help="For all candidates together. Quick ones come first; those that do not fit in are left out.",
    )  # fmt: skip
    limit = two.number_input(
        LABELS["candidate_s"], value=start.candidate_s, step=10, key=f"candidate_s{mark}",
        help="A candidate that takes longer is stopped, and the next one starts.",
    )  # fmt: skip
    with three:
        metric = common.metric(dataset, start, f"{mark}_{dataset.id}", "What the candidates are ranked by.")
    return {"candidates": candidates, "budget_s": budget, "candidate_s": limit, "metric": metric}
