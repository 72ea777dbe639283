"""Charts of an adaptation: accuracy and loss by inner step, and the curves of a regression."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import streamlit as st

from pages.parts import charts

FEW_STEPS = 12  # that are labelled with their values


def steps(rows: list[dict[str, Any]]) -> None:
    """Draw accuracy and loss before and after each inner step."""
    st.subheader("Inner steps")
    if len(rows) == 1:
        st.caption("This initialisation takes no inner steps. It compares with the mean of each class's examples.")
        return
    if any(row.get("accuracy") is not None for row in rows):
        _by_step(rows, "accuracy", charts.ACCENT, 240)
    if any(row.get("loss") is not None for row in rows):
        _by_step(rows, "loss", charts.SECOND, 220)


def _by_step(rows: list[dict[str, Any]], name: str, color: str, height: int) -> None:
    """Draw one figure by inner step."""
    x, y, label = [row["step"] for row in rows], [row.get(name) for row in rows], name.capitalize()
    values = [value for value in y if value is not None]
    few = len(rows) <= FEW_STEPS
    texts = [f"{value:.0%}" if name == "accuracy" else f"{value:.2g}" for value in values]
    figure = go.Figure()
    figure.add_scatter(
        x=x, y=y, mode="lines+markers+text" if few else "lines+markers", line={"color": color}, name=label,
        text=texts if few and len(texts) == len(y) else None, textposition="top center",
        hovertemplate=f"after step %{{x}}<br>{label} %{{y:.4g}}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="Inner steps (0: before)", dtick=1 if few else None)
    highest = 1.0 if name == "accuracy" else max(values)
    figure.update_yaxes(title=label, range=[0, 1.2 * highest], tickformat=".0%" if name == "accuracy" else None)
    charts.draw(figure, f"{label} before and after each inner step", height=height, key=f"steps_{name}")


def waves(curves: dict[str, Any]) -> None:
    """Draw the true points, the examples, and the learned curve after each step."""
    st.subheader("Learned curve by step")
    figure, last = go.Figure(), max(1, len(curves["steps"]) - 1)
    query, support = curves.get("query") or {"x": [], "y": []}, curves["support"]
    figure.add_scatter(
        x=query["x"], y=query["y"], mode="markers", name="True points", marker={"color": charts.FAINT, "size": 6}
    )
    for number, step in enumerate(curves["steps"]):
        first = step["step"] == 0
        figure.add_scatter(
            x=curves["x"], y=step["y"], mode="lines", name="Before" if first else f"After step {step['step']}",
            opacity=0.35 + 0.65 * number / last,
            line={
                "color": charts.FAINT if first else charts.ACCENT, "width": 3 if number == last else 1.5,
                "dash": "dot" if first else "solid",
            },
        )  # fmt: skip
    figure.update_xaxes(title=charts.label(str(curves.get("x_label", ""))))
    figure.update_yaxes(title=charts.label(str(curves.get("y_label", ""))))
    figure.add_scatter(
        x=support["x"], y=support["y"], mode="markers", name="Examples",
        marker={"color": charts.SECOND, "size": 12, "symbol": "diamond", "line": {"width": 1, "color": "#1B2030"}},
    )  # fmt: skip
    charts.draw(figure, "True points, examples, and the learned curve after each inner step", height=440, key="waves")
