"""The ranking of an advice: the candidates with their predicted scores and intervals, as a chart and a table."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core import kinds
from core.advice import Advice
from core.scoring import METRICS
from pages.parts import charts

CANDIDATES = 20  # of the chart


def draw(current: Advice, errors: dict[str, float]) -> None:
    """Draw the ranking; `errors` are the test errors of the candidates that have run."""
    chart(current, errors)
    frame = pd.DataFrame(
        {
            "rank": rank,
            "candidate": item.candidate,
            "engine": kinds.label(item.engine) if item.engine else "Imported runs",
            "predicted": 1 - item.error,
            "lower": 1 - item.upper,
            "upper": 1 - item.lower,
            "actual": 1 - errors.get(item.candidate, math.nan),
            "fit_s": item.fit_s,
            "plan": item.candidate in current.plan,
        }
        for rank, item in enumerate(current.ranking, 1)
    )
    st.dataframe(
        frame, column_config=columns(METRICS[current.metric].label),
        column_order=[name for name in frame if name != "actual" or errors], hide_index=True, key="ranking",
        alt="Candidates ranked, with their predicted scores",
    )  # fmt: skip


def columns(metric: str) -> dict[str, Any]:
    """Return how the table is drawn."""
    column = st.column_config
    return {
        "rank": column.NumberColumn(
            "Rank", width="small", help="By expected loss against the best candidate, not by predicted score alone"
        ),
        "candidate": "Candidate",
        "engine": "Engine",
        "predicted": column.NumberColumn(f"{metric}, predicted", format="%.3f"),
        "lower": column.NumberColumn("From", format="%.3f", help="90% interval"),
        "upper": column.NumberColumn("To", format="%.3f", help="90% interval"),
        "actual": column.NumberColumn(f"Test {metric}", format="%.3f", help="Of candidates that have run"),
        "fit_s": column.NumberColumn("Fit, s", format="%.2f", help="Predicted, on one thread"),
        "plan": column.CheckboxColumn("Plan"),
    }


def chart(current: Advice, errors: dict[str, float]) -> None:
    """Draw the predicted scores with their intervals, and the test scores of candidates that have run."""
    items = current.ranking[:CANDIDATES]
    names = [f"{rank}. {charts.label(item.candidate, 28)}" for rank, item in enumerate(items, 1)]
    colors = [charts.ACCENT if item.candidate in current.plan else charts.FAINT for item in items]
    predicted = [1 - item.error for item in items]
    figure = go.Figure()
    figure.add_scatter(
        x=predicted, y=names, mode="markers", name="Predicted (blue: plan at that time)",
        marker={"size": 10, "color": colors},
        error_x=charts.spans([item.error - item.lower for item in items], [item.upper - item.error for item in items]),
        hovertemplate="%{y}<br>%{x:.3f}<extra></extra>",
    )  # fmt: skip
    if errors:
        figure.add_scatter(
            x=[1 - errors[item.candidate] if item.candidate in errors else None for item in items], y=names,
            mode="markers", name="Actual, test set", marker={"size": 11, "symbol": "diamond", "color": charts.SECOND},
            hovertemplate="%{y}<br>actual %{x:.3f}<extra></extra>",
        )  # fmt: skip
    figure.update_yaxes(autorange="reversed", type="category")
    low = min([1 - item.upper for item in items[:5]] + predicted + [1 - error for error in errors.values()])
    metric = METRICS[current.metric].label
    figure.update_xaxes(title=f"{metric}, 90% interval", range=[max(low, -0.2) - 0.02, 1.02])
    alt = f"Predicted {metric} of the candidates ranked first, with intervals"
    charts.draw(figure, alt, height=120 + 26 * len(items), key="drawn")
