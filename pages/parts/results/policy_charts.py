"""What a search's strategy prefers, as it sharpens: one heat map a decision, from the first candidates to the last."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core import results
from core.queue import jobs
from pages import reads, words
from pages.parts import charts

# What the policy of a strategy that has one is reported as, and what its steps count.
STRATEGIES = {"reinforce": ("strategy", "candidates"), "gradient": ("supernet", "steps of the supernet")}
DECISIONS = 40
STEPS = 60


def show(job: jobs.Job) -> None:
    """All decisions, in the order in which the strategy takes them."""
    reported, unit = STRATEGIES[json.loads(job.spec_text)["strategy"]]
    frame = reads.read(results.policy, job.id, reported)
    if frame.empty:
        waiting = "The policy appears here once the strategy has learned from its first steps."
        st.info("No policy was reported." if job.status in jobs.ENDED else waiting, icon=":material/tune:")
        return
    st.caption(
        f"How likely each option is to be proposed, from the first {unit} on the left to the last on the right. "
        "A row that grows dark is what the search has come to prefer."
    )
    names = list(dict.fromkeys(frame["decision"]))
    with st.grid(3, min_column_width=300):
        for name, group in frame[frame["decision"].isin(names[:DECISIONS])].groupby("decision", sort=False):
            with st.container(border=True, height="stretch"):
                decision(str(name), group, unit)
    if len(names) > DECISIONS:
        st.caption(f"The first {DECISIONS} of {len(names)} decisions")


def decision(name: str, frame: pd.DataFrame, unit: str) -> None:
    """The probability of each option (a row) after so many candidates, or steps (a column)."""
    told = grid(frame)
    last = told.iloc[:, -1]
    st.markdown(f"**{words.plain(name)}** :gray[{words.plain(str(last.idxmax()))} {last.max():.0%}]")
    figure = go.Figure()
    figure.add_heatmap(
        z=told.to_numpy(), x=[f"{step:,}" for step in told.columns], y=[charts.label(str(o), 22) for o in told.index],
        zmin=0, zmax=1, ygap=2, showscale=False, colorscale=[[0, "rgba(59, 125, 216, 0.06)"], [1, charts.ACCENT]],
        hovertemplate=f"%{{y}}<br>%{{z:.1%}} after %{{x}} {unit}<extra></extra>",
    )  # fmt: skip
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    figure.update_xaxes(type="category", nticks=5, tickangle=0, title=unit.capitalize(), showgrid=False)
    alt = f"Probability of each option of {name} after so many {unit}; {last.idxmax()} leads"
    charts.draw(figure, alt, height=110 + 24 * len(told), key=f"policy_{name}")


def grid(frame: pd.DataFrame) -> pd.DataFrame:
    """Options by steps, at most `STEPS` of these, the first and the last among them."""
    wide = frame.pivot_table(index="option", columns="step", values="probability", sort=False)
    wide = wide[sorted(wide.columns)]
    if wide.shape[1] > STEPS:
        wide = wide.iloc[:, np.unique(np.linspace(0, wide.shape[1] - 1, STEPS).round().astype(int))]
    return wide
