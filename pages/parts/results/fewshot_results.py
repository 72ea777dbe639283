"""The results of few-shot meta-training: how good the initialisation is, its file, and the course of the training."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import BinaryIO

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core import datasets, results
from core.errors import InputError
from core.queue import jobs
from core.results import initialisations
from core.results.initialisations import Initialisation
from pages import links, reads, words
from pages.parts import charts

BOARD = links.FEWSHOT_BOARD
METRICS = {"accuracy": "Accuracy ↑", "mse": "Mean squared error ↓"}
PROTOCOL_HELP = (
    "Inductive: each query is predicted alone, as a single new image is. Transductive: batch norm sees all queries of"
    " a task at once."
)
_BAND = "rgba(59, 125, 216, 0.18)"  # charts.ACCENT, thin


def tabs(job: jobs.Job) -> dict[str, Callable[[jobs.Job], None]]:
    """Return the tabs of a meta-training."""
    return {"Results": evaluations, "Progress": progress}


def figures(job: jobs.Job) -> dict[str, str]:
    """Return the job's own numbers: there is none beside those of the results."""
    return {}


def evaluations(job: jobs.Job) -> None:
    """Draw how good the initialisation is on classes that no training has seen, and what can be done with it."""
    frame = reads.read(initialisations.evaluations_of, job.id)
    if frame.empty:
        ended = "The job ended without a result; see its log."
        waiting = "The results appear here when the training ends; Progress shows it live."
        st.info(ended if job.status in jobs.ENDED else waiting, icon=":material/hourglass_empty:")
    else:
        first = frame.iloc[0]
        regression = first["metric"] == "mse"
        tasks = "tasks" if regression else f"{first['ways']}-way {first['shots']}-shot tasks"
        st.caption(
            f"Mean over {tasks} of {'groups' if regression else 'classes'} not seen in training, with 95% intervals."
        )
        table(frame, first["metric"])
    initialisation(job)


def table(frame: pd.DataFrame, metric: str) -> None:
    """Draw the evaluations, one a protocol."""
    name = METRICS.get(metric, metric)
    bounds = zip(frame["lower"], frame["upper"], strict=True)
    rows = pd.DataFrame(
        {
            "Batch norm": frame["protocol"].str.capitalize(),
            f"Test {name}": frame["test"],
            "Test 95% interval": [words.between(low, high) for low, high in bounds],
            "Validation": frame["valid"],
            "Test tasks": frame["n_episodes"],
            "Time per task": [words.duration(seconds) for seconds in frame["adapt_s"]],
            "Algorithm": frame["algorithm"],
            "Network": frame["network"],
        }
    )
    digits = words.decimals(frame["test"])
    config = {
        f"Test {name}": st.column_config.NumberColumn(format=digits),
        "Validation": st.column_config.NumberColumn(format=digits),
        "Batch norm": st.column_config.TextColumn(help=PROTOCOL_HELP),
        "Time per task": st.column_config.TextColumn(help="How long it takes to learn one task"),
    }
    st.dataframe(
        rows, hide_index=True, height="content", key="worth", alt="Evaluations of the initialisation",
        column_config=config,
    )  # fmt: skip


def initialisation(job: jobs.Job) -> None:
    """Draw where to go with the initialisation, and its file."""
    try:
        start = reads.read(initialisations.get, job.id)
    except InputError:  # there is none yet
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Try it in the playground", type="primary", icon=":material/draw:", key="try"):
            st.switch_page(links.PLAYGROUND, query_params={"initialisation": str(job.id)})
        st.download_button(
            f"Download the initialisation ({words.size(start.size_bytes)})", partial(open_file, start),
            f"initialisation_{job.id}.safetensors", "application/octet-stream", icon=":material/download:",
            on_click="ignore", key="initialisation",
        )  # fmt: skip
        name = reads.read(datasets.get, job.dataset_id).name
        links.link(BOARD, "Few-shot leaderboard", dataset=name, ways=start.ways, shots=start.shots)
    n_classes = len(start.about.get("classes") or ())
    classes = f", trained on {n_classes:,} classes" if n_classes else ""
    st.caption(words.plain(f"{start.algorithm}, {start.network}, {start.n_parameters:,} parameters{classes}"))


def open_file(start: Initialisation) -> BinaryIO:
    """Open the initialisation's file."""
    return start.path.open("rb")


def progress(job: jobs.Job) -> None:
    """Draw the score on the validation classes with its interval, and the training loss."""
    name = next((n for n in ("valid_accuracy", "valid_error") if len(reads.read(results.curve, job.id, n))), None)
    if name is None:
        st.info("The curve starts with the first validation.", icon=":material/show_chart:")
        return
    label = "Mean squared error, validation tasks" if name == "valid_error" else "Accuracy, validation classes"
    figure = curve_with_interval(*(reads.read(results.curve, job.id, name + part) for part in ("", "_lower", "_upper")))
    figure.update_xaxes(title="Iteration")
    figure.update_yaxes(title=label)
    ways = json.loads(job.spec_text).get("ways")
    if name == "valid_accuracy" and ways:
        figure.add_hline(1 / ways, line={"color": charts.FAINT, "dash": "dot"}, annotation_text="Chance")
        figure.update_yaxes(tickformat=".0%")
    charts.draw(figure, f"{label} by iteration, with its 95% interval", key="valid_curve")
    training_loss(job)


def training_loss(job: jobs.Job) -> None:
    """Draw the training loss by iteration."""
    loss = reads.read(results.curve, job.id, "train_loss")
    if len(loss) < 2:
        return
    figure = go.Figure()
    figure.add_scatter(x=loss["step"], y=loss["value"], mode="lines", line={"color": charts.SECOND}, name="Loss")
    figure.update_xaxes(title="Iteration")
    figure.update_yaxes(title="Training loss", rangemode="tozero")
    charts.draw(figure, "Training loss by iteration", height=220, key="train_loss")


def curve_with_interval(value: pd.DataFrame, lower: pd.DataFrame, upper: pd.DataFrame) -> go.Figure:
    """Return a curve over the band of its interval."""
    figure, no_line = go.Figure(), {"width": 0}
    if len(lower) == len(upper) == len(value):
        figure.add_scatter(
            x=upper["step"], y=upper["value"], mode="lines", line=no_line, showlegend=False, hoverinfo="skip"
        )
        figure.add_scatter(
            x=lower["step"], y=lower["value"], mode="lines", line=no_line, fill="tonexty", fillcolor=_BAND,
            name="95% interval", hoverinfo="skip",
        )  # fmt: skip
    figure.add_scatter(
        x=value["step"], y=value["value"], mode="lines+markers", line={"color": charts.ACCENT}, marker={"size": 6},
        name="Mean over tasks", hovertemplate="iteration %{x:,}<br>%{y:.4f}<extra></extra>",
    )  # fmt: skip
    return figure
