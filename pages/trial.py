"""Trial (/trial?trial=45): its scores, parameters, charts, and its model as a download."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core import datasets, results
from core.datasets import Dataset
from core.errors import InputError
from core.results import Trial
from pages import links, reads, words
from pages.parts import charts, confusion, messages, model_download, network_drawing

FEATURES = 20
SAMPLE_ROWS = 500  # of residuals, that a job reports at most


def header(trial: Trial, dataset: Dataset) -> None:
    """Draw what the trial is, and links to what it belongs to."""
    links.name_tab(f"Trial {trial.id}")
    st.title(words.plain(trial.algorithm))
    st.caption(
        words.plain(f"Trial {trial.id} ({trial.candidate}) on {dataset.name}, {words.moment(trial.happened_at)}")
    )
    with st.container(horizontal=True):
        if trial.yardstick:
            st.badge("Baseline", icon=":material/straighten:", color="orange")
        links.link(links.LEADERBOARD, dataset=dataset.name)
        links.link(links.JOB, f"Job {trial.job_id}", job=trial.job_id)
        links.link(links.DATASET, words.plain(dataset.name), dataset=dataset.name)
        links.link(links.COMPARE, dataset=dataset.name, left=trial.id)


def figures(trial: Trial) -> None:
    """Draw the main score and the cost."""
    main = trial.scores[trial.scores["metric"] == trial.metric]
    flops = flops_of(trial)
    with st.grid(5 if flops is None else 6, min_column_width=140):
        if len(main):
            row = main.iloc[0]
            bounds = words.between(row["lower"], row["upper"])
            st.metric(f"Test {words.metric_label(trial.metric)}", words.number(row["test"]), bounds, border=True,
                      delta_color="off", delta_arrow="off", help="With its 95% bootstrap interval")  # fmt: skip
        cost = {
            "Fit time": words.duration(trial.fit_s),
            "Prediction time per row": words.duration(trial.predict_row_s),
            "Size": words.size(trial.size_bytes),
        }
        if trial.n_parameters:
            cost["Parameters"] = f"{trial.n_parameters:,}"
        for label, value in cost.items():
            st.metric(label, value, border=True, height="stretch")
        if flops is not None:
            st.metric("FLOPs per row", words.count(flops), border=True, height="stretch", help=f"{flops:,.0f}")


def flops_of(trial: Trial) -> float | None:
    """Return the operations of a prediction of one row, if a network search has counted them."""
    if not trial.details.get("architecture"):
        return None
    candidates = reads.read(results.candidates, trial.job_id)
    # A long name has lost its recipe, on which the count does not depend.
    counts = candidates[candidates["candidate"].str.startswith(trial.candidate)]["flops"].dropna()
    return float(counts.iloc[0]) if len(counts) else None


def scores(trial: Trial) -> None:
    """Draw every metric on the validation set and the test set."""
    st.subheader("Scores")
    frame = trial.scores
    bounds = zip(frame["lower"], frame["upper"], strict=True)
    rows = {
        "Metric": [words.metric_label(name) for name in frame["metric"]],
        "Validation": [words.number(value) for value in frame["valid"]],
        "Test": [words.number(value) for value in frame["test"]],
        "Test 95% interval": [words.between(low, high) for low, high in bounds],
    }
    st.dataframe(pd.DataFrame(rows), hide_index=True, height="content", key="scores", alt="Scores of the trial")
    st.caption("↑ higher is better, ↓ lower is better")


def importance(features: list[dict[str, Any]]) -> None:
    """Draw the most important features."""
    st.subheader("Feature importance")
    top = sorted(features, key=lambda feature: -(feature["value"] or 0))[:FEATURES]
    figure = go.Figure()
    names = [charts.label(str(feature["feature"])) for feature in top]
    values = [feature["value"] for feature in top]
    figure.add_bar(y=names, x=values, orientation="h", marker={"color": charts.ACCENT})
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(title="Relative importance", rangemode="tozero")
    text = f"The {len(top)} most important of {len(features)} features"
    charts.draw(figure, text, height=110 + 24 * len(top), key="importance")
    if len(features) > len(top):
        st.caption(text)


def curve(body: dict[str, Any]) -> None:
    """Draw the learning curve."""
    st.subheader("Learning curve")
    figure = go.Figure()
    for name, values in body["series"].items():
        figure.add_scatter(x=body["x"], y=values, mode="lines", name=charts.label(name))
    figure.update_xaxes(title=str(body.get("x_label", "Step")).capitalize())
    charts.draw(figure, "Learning curve of the model", key="learning")


def errors(body: dict[str, Any]) -> None:
    """Draw actual against predicted classes on the test set."""
    st.subheader("Confusion matrix (test set)")
    confusion.draw(body, key="confusion")


def residuals(body: dict[str, Any]) -> None:
    """Draw actual against predicted numbers on the test set."""
    st.subheader("Predicted and actual, test set")
    actual, predicted = body["actual"], body["predicted"]
    low, high = min(actual + predicted), max(actual + predicted)
    figure = go.Figure()
    figure.add_scatter(
        x=[low, high], y=[low, high], mode="lines", name="Perfect", line={"color": charts.FAINT, "dash": "dot"}
    )
    figure.add_scatter(
        x=actual, y=predicted, mode="markers", name="Rows", marker={"size": 6, "opacity": 0.6, "color": charts.ACCENT}
    )
    figure.update_xaxes(title="Actual")
    figure.update_yaxes(title="Predicted")
    charts.draw(figure, "Predicted against actual values on the test set", height=420, key="residuals")
    if len(actual) >= SAMPLE_ROWS:
        st.caption(f"A sample of {SAMPLE_ROWS} rows")


def architecture(layers: list[dict[str, Any]]) -> None:
    """Draw the layers of a network."""
    st.subheader("Architecture")
    network_drawing.draw(layers, key="architecture")


def parameters(trial: Trial) -> None:
    """Draw the parameters."""
    st.subheader("Parameters")
    if not trial.params:
        st.caption("The job reported no parameters.")
        return
    frame = pd.DataFrame({"Parameter": list(trial.params), "Value": [str(value) for value in trial.params.values()]})
    st.dataframe(frame, hide_index=True, height="content" if len(frame) <= 12 else 420, key="params",
                 alt="Parameters of the model")  # fmt: skip


def show() -> None:
    """Draw the page."""
    trial_id = links.id_of("trial")
    if trial_id is None:
        raise InputError("The link names no trial. Choose one on the leaderboard.")
    trial = reads.read(results.trial, trial_id)
    dataset = reads.read(datasets.get, trial.dataset_id)
    header(trial, dataset)
    figures(trial)
    left, right = st.columns(2, gap="medium")
    with left:
        scores(trial)
        model_download.draw(trial, dataset)
        parameters(trial)
        draw_details(trial.details, {"curve": curve})
    with right:
        drawings: dict[str, Callable[[Any], None]] = {
            "confusion": errors, "residuals": residuals, "importance": importance, "architecture": architecture,
        }  # fmt: skip
        draw_details(trial.details, drawings)


def draw_details(details: dict[str, Any], drawings: dict[str, Callable[[Any], None]]) -> None:
    """Draw those details that the trial has."""
    for name, draw in drawings.items():
        if details.get(name):
            draw(details[name])


with messages.show_errors():
    try:
        show()
    except InputError as error:
        messages.dead_end("Trial", error, links.LEADERBOARD, "Leaderboard")
