"""A confusion matrix: actual against predicted classes."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from pages.parts import charts

CLASSES = 30


def draw(body: dict[str, Any], *, key: str) -> None:
    """Draw counts by actual (rows) and predicted class; `body` has `labels` and `counts`[actual][predicted]."""
    labels = [charts.label(str(name), 24) for name in body["labels"][:CLASSES]]
    counts = pd.DataFrame(body["counts"]).iloc[:CLASSES, :CLASSES]
    shares = counts.div(counts.sum(axis=1).replace(0, 1), axis=0)
    few = len(labels) <= 12
    figure = go.Figure()
    figure.add_heatmap(
        z=shares, x=labels, y=labels, zmin=0, zmax=1, xgap=2, ygap=2, customdata=counts,
        text=counts if few else None, texttemplate="%{text:,}" if few else None,
        colorbar={"title": "Share", "tickformat": ".0%"},
        hovertemplate="actual %{y}<br>predicted %{x}<br>%{customdata:,} rows, %{z:.1%} of the class<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="Predicted", type="category", side="bottom")
    figure.update_yaxes(title="Actual", type="category", autorange="reversed")
    charts.draw(figure, "Rows of each actual class by predicted class", height=280 + 22 * len(labels), key=key)
    if len(body["labels"]) > CLASSES:
        st.caption(f"The first {CLASSES} of {len(body['labels']):,} classes")
