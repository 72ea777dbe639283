"""What a search's policy prefers over time: one heat map for each decision."""

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

# By strategy with a policy: the name that it is reported under, and what its steps count.
STRATEGIES = {"reinforce": ("strategy", "candidates"), "gradient": ("supernet", "steps of the supernet")}
DECISIONS = 40
STEPS = 60


def show(job: jobs.Job) -> None:
    """Draw all decisions, in the order in which the strategy takes them."""
    reported, unit = STRATEGIES[json.loads(job.spec_text)["strategy"]]
    frame = reads.read(results.policy, job.id, reported)
    if frame.empty:
        waiting = "The policy appears here after the strategy's first steps."
        st.info(
            "The job ended before it reported a policy." if job.status in jobs.ENDED else waiting,
            icon=":material/tune:",
        )
        return
    st.caption(
        f"Probability of each option, from the first {unit} on the left to the last on the right. The search"
        " prefers dark rows."
    )
    names = list(dict.fromkeys(frame["decision"]))
    with st.grid(3, min_column_width=300):
        for name, group in frame[frame["decision"].isin(names[:DECISIONS])].groupby("decision", sort=False):
            with st.container(border=True, height="stretch"):
                decision(str(name), group, unit)
    if len(names) > DECISIONS:
        st.caption(f"The first {DECISIONS} of {len(names)} decisions")


def decision(name: str, frame: pd.DataFrame, unit: str) -> None:
    """Draw the probability of each option (row) after so many candidates or steps (column)."""
    table = grid(frame)
    last = table.iloc[:, -1]
    st.markdown(f"**{words.plain(name)}** :gray[{words.plain(str(last.idxmax()))} {last.max():.0%}]")
    figure = go.Figure()
    figure.add_heatmap(
        z=table.to_numpy(), x=[f"{step:,}" for step in table.columns],
        y=[charts.label(str(option), 22) for option in table.index],
        zmin=0, zmax=1, ygap=2, showscale=False, colorscale=[[0, "rgba(59, 125, 216, 0.06)"], [1, charts.ACCENT]],
        hovertemplate=f"%{{y}}<br>%{{z:.1%}} after %{{x}} {unit}<extra></extra>",
    )  # fmt: skip
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    figure.update_xaxes(type="category", nticks=5, tickangle=0, title=unit.capitalize(), showgrid=False)
    alt = f"Probability of each option of {name} after so many {unit}; {last.idxmax()} leads"
    charts.draw(figure, alt, height=110 + 24 * len(table), key=f"policy_{name}")


def grid(frame: pd.DataFrame) -> pd.DataFrame:
    """Return probabilities of options by steps: at most `STEPS` of these, with the first and the last."""
    wide = frame.pivot_table(index="option", columns="step", values="probability", sort=False)
    wide = wide[sorted(wide.columns)]
    if wide.shape[1] > STEPS:
        wide = wide.iloc[:, np.unique(np.linspace(0, wide.shape[1] - 1, STEPS).round().astype(int))]
    return wide
