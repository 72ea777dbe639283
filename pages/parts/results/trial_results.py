"""The results of a job that has trials: the table of them, and the best validation score so far."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import plotly.graph_objects as go
import streamlit as st

from core import results
from core.queue import jobs
from core.scoring import METRICS
from pages import links, reads, words
from pages.parts import charts, trial_table

BOARD = links.LEADERBOARD


def tabs(
    job: jobs.Job, waiting: str = "No trial has finished yet.", unit: str = "step"
) -> dict[str, Callable[[jobs.Job], None]]:
    """Return the tabs; `waiting` says when the first trial can be expected, `unit` what the best score is drawn by."""
    return {"Trials": partial(trials, waiting=waiting), "Progress": partial(progress, unit=unit)}


def figures(job: jobs.Job) -> dict[str, str]:
    """Return the job's numbers: how many trials it has."""
    return {"Trials": f"{reads.read(results.count_trials, job.id):,}"}


def trials(job: jobs.Job, waiting: str) -> None:
    """Draw the trials so far, best first by the job's own metric."""
    frame = reads.read(results.trials_of, job.id)
    if frame.empty:
        text = "The job ended before it finished a trial." if job.status in jobs.ENDED else waiting
        st.info(text, icon=":material/hourglass_empty:")
        return
    st.caption(f"Ranked by {words.metric_label(frame['metric'].iloc[0])} on the validation set.")
    frame.insert(0, "rank", range(1, len(frame) + 1))
    trial_table.table(frame.head(trial_table.BEST_N), key="trials")


def progress(job: jobs.Job, unit: str) -> None:
    """Draw the best validation score after each model or candidate."""
    curve = reads.read(results.curve, job.id, "best_valid")
    if len(curve) < 1:
        st.info(f"The curve starts with the first {unit}.", icon=":material/show_chart:")
        return
    name = _metric_name(job)
    figure = go.Figure()
    few = len(curve) <= charts.FEW_POINTS
    figure.add_scatter(
        x=curve["step"], y=curve["value"], mode="lines+markers+text" if few else "lines+markers", line={"shape": "hv"},
        marker={"size": 10 if few else 6}, text=[words.number(value) for value in curve["value"]] if few else None,
        textposition="top center", name="Best so far",
    )  # fmt: skip
    figure.update_xaxes(title=f"{unit.capitalize()}s finished")
    figure.update_yaxes(title=f"Best validation {name}")
    if few:
        last = curve["step"].max()
        figure.update_xaxes(range=[0, 1.1 * last], dtick=1 if last < 5 else None)
        figure.update_yaxes(range=charts.padded_range(curve["value"]))
    figure.update_layout(showlegend=False)
    charts.draw(figure, f"Best {name} on the validation set after each {unit}", key="curve")


def _metric_name(job: jobs.Job) -> str:
    metric = json.loads(job.spec_text).get("metric")
    if metric is None:
        frame = reads.read(results.trials_of, job.id)
        metric = frame["metric"].iloc[0] if len(frame) else None
    return METRICS[metric].label if metric else "score"
