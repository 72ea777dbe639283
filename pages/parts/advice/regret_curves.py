"""Whether advice gets better as results accumulate: simulated, and from fit to fit."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core.advice import fits
from pages import reads, words
from pages.parts import charts
from pages.parts.advice.advice_quality import LINES


def show(task_type: Any) -> None:
    """Draw both curves side by side."""
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Simulated, by number of datasets")
        simulated(reads.read(fits.learning_curve, task_type))
    with right:
        st.subheader("Recorded, from fit to fit")
        recorded(reads.read(fits.history, task_type))


def simulated(frame: pd.DataFrame) -> None:
    """Draw the mean regret on held-out datasets by the number of known ones."""
    if frame.empty:
        st.info("This curve needs results on at least 15 datasets.", icon=":material/hourglass_empty:")
        return
    own = frame.attrs.get("own", False)
    datasets = "of your datasets besides the shipped ones" if own else "of the datasets"
    st.caption(f"Selectors that know only some {datasets}, evaluated on held-out datasets; means of five draws")
    lines(frame, [int(n) for n in frame.index], "Your datasets known" if own else "Datasets known", "simulated")


def recorded(history: pd.DataFrame) -> None:
    """Draw the mean regret at each fit, on the datasets that were known then."""
    evaluated = history[history["advice"].notna()]  # neither a failed fit nor one of a single dataset
    if len(evaluated) < 2:
        st.info("There has been one fit so far. Later fits are drawn here.", icon=":material/hourglass_empty:")
        return
    st.caption(
        "Each fit was evaluated on the datasets known then, each held out. Harder datasets raise all lines, so compare"
        " the lines with each other."
    )
    lines(evaluated, list(words.times(evaluated["fitted_at"])), "Fitted", "as_it_was", evaluated["n_datasets"])


def lines(frame: pd.DataFrame, x: list[Any], title: str, key: str, n_datasets: pd.Series | None = None) -> None:
    """Draw the mean regret, a line for the advice and for each default."""
    figure = go.Figure()
    note = "" if n_datasets is None else "<br>%{customdata} datasets known"
    for name, (label, color, dash) in LINES.items():
        figure.add_scatter(
            x=x, y=frame[name], mode="lines+markers", name=label, line={"color": color, "dash": dash, "width": 2.5},
            customdata=n_datasets, hovertemplate=f"%{{x}}: %{{y:.4f}}{note}<extra>{label}</extra>",
        )  # fmt: skip
    figure.update_xaxes(title=title)
    figure.update_yaxes(title="Mean regret", rangemode="tozero")
    charts.draw(figure, f"Mean regret by {title.lower()}, of advice and defaults", height=400, key=key)
