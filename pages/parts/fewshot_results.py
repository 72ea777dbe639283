"""What a few-shot job has found, as its page shows it: an initialisation's worth and progress, or what was adapted."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, BinaryIO

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core import results
from core.errors import InputError
from core.queue import jobs
from core.results import initialisations
from core.results.initialisations import Initialisation
from pages import shared
from pages.parts import adaptation

METRICS = {"accuracy": "Accuracy ↑", "mse": "Mean squared error ↓"}
_BAND = "rgba(59, 125, 216, 0.18)"  # shared.ACCENT, thin


def worth(job: dict[str, Any]) -> None:
    """What the initialisation is worth on classes that it has never seen, and what can be done with it."""
    frame = shared.read(initialisations.evaluations_of, job["id"])
    if frame.empty:
        ended = "The job has left no result; its log says why."
        told = "The results appear here once the training has ended; Progress shows it live."
        st.info(ended if job["status"] in jobs.ENDED else told, icon=":material/hourglass_empty:")
    else:
        first = frame.iloc[0]
        what = "tasks" if first["metric"] == "mse" else f"{first['ways']}-way {first['shots']}-shot tasks"
        unseen = "groups" if first["metric"] == "mse" else "classes"
        st.caption(f"Means over {what} of {unseen} that no training has seen, with 95% intervals.")
        table(frame, first["metric"])
    initialised(job)


def table(frame: pd.DataFrame, metric: str) -> None:
    """A row a protocol."""
    bounds = zip(frame["lower"], frame["upper"], strict=True)
    shown = pd.DataFrame(
        {
            "Batch norm": frame["protocol"].str.capitalize(),
            f"{METRICS.get(metric, metric)} on test": frame["test"],
            "95% interval of test": [shared.between(low, high) for low, high in bounds],
            "On valid": frame["valid"],
            "Test tasks": frame["n_episodes"],
            "Learns a task in": [shared.duration(seconds) for seconds in frame["adapt_s"]],
            "Algorithm": frame["algorithm"],
            "Network": frame["network"],
        }
    )
    digits = st.column_config.NumberColumn(format=shared.decimals(frame["test"]))
    st.dataframe(
        shown, hide_index=True, height="content", key="worth", alt="What the initialisation is worth",
        column_config={f"{METRICS.get(metric, metric)} on test": digits, "On valid": digits},
    )  # fmt: skip
    if set(frame["protocol"]) == set(initialisations.PROTOCOLS):
        st.caption("Inductive: each query is predicted by itself. Transductive: batch norm sees all queries at once.")


def initialised(job: dict[str, Any]) -> None:
    """Where to go with the initialisation, and its file."""
    try:
        found = shared.read(initialisations.get, job["id"])
    except InputError:  # there is none yet
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Try it in the playground", type="primary", icon=":material/draw:", key="try"):
            st.switch_page(shared.PLAYGROUND, query_params={"initialisation": str(job["id"])})
        st.download_button(
            f"Download the initialisation ({shared.size(found.size_bytes)})", partial(opened, found),
            f"initialisation_{job['id']}.safetensors", "application/octet-stream", icon=":material/download:",
            on_click="ignore", key="initialisation",
        )  # fmt: skip
        shared.link(
            shared.FEWSHOT_BOARD, "Few-shot leaderboard", icon=":material/filter_5:", dataset=job["dataset"],
            ways=found.ways, shots=found.shots,
        )  # fmt: skip
    n_classes = len(found.about.get("classes") or ())
    seen = f", trained on {n_classes:,} classes" if n_classes else ""
    st.caption(shared.plain(f"{found.algorithm}, {found.network}, {found.n_parameters:,} parameters{seen}"))


def opened(found: Initialisation) -> BinaryIO:
    """The file of the store of artifacts."""
    return found.path.open("rb")


def progress(job: dict[str, Any]) -> None:
    """The value on the valid classes with its interval, and the loss of training."""
    name = next((n for n in ("valid_accuracy", "valid_error") if len(shared.read(results.curve, job["id"], n))), None)
    if name is None:
        st.info("The curve starts with the first look at the valid classes.", icon=":material/show_chart:")
        return
    ways = json.loads(job["spec"]).get("ways")
    label = (
        "Mean squared error on tasks of valid" if name == "valid_error" else "Accuracy on tasks of the valid classes"
    )
    figure = banded(*(shared.read(results.curve, job["id"], name + part) for part in ("", "_lower", "_upper")))
    figure.update_xaxes(title="Iteration")
    figure.update_yaxes(title=label)
    if name == "valid_accuracy" and ways:
        figure.add_hline(1 / ways, line={"color": shared.FAINT, "dash": "dot"}, annotation_text="Chance")
        figure.update_yaxes(tickformat=".0%")
    shared.chart(figure, f"{label} by iteration, with its 95% interval", key="valid_curve")
    loss = shared.read(results.curve, job["id"], "train_loss")
    if len(loss) > 1:
        small = go.Figure()
        small.add_scatter(x=loss["step"], y=loss["value"], mode="lines", line={"color": shared.SECOND}, name="Loss")
        small.update_xaxes(title="Iteration")
        small.update_yaxes(title="Loss in training", rangemode="tozero")
        shared.chart(small, "Loss in training by iteration", height=220, key="train_loss")


def banded(value: pd.DataFrame, lower: pd.DataFrame, upper: pd.DataFrame) -> go.Figure:
    """A curve over the band of its interval."""
    figure, none = go.Figure(), {"width": 0}
    if len(lower) == len(upper) == len(value):
        figure.add_scatter(
            x=upper["step"], y=upper["value"], mode="lines", line=none, showlegend=False, hoverinfo="skip"
        )
        figure.add_scatter(
            x=lower["step"], y=lower["value"], mode="lines", line=none, fill="tonexty", fillcolor=_BAND,
            name="95% interval", hoverinfo="skip",
        )  # fmt: skip
    figure.add_scatter(
        x=value["step"], y=value["value"], mode="lines+markers", line={"color": shared.ACCENT}, marker={"size": 6},
        name="Mean over tasks", hovertemplate="iteration %{x:,}<br>%{y:.4f}<extra></extra>",
    )  # fmt: skip
    return figure


def adapted(job: dict[str, Any]) -> None:
    """What a fine-tuning has found."""
    body = shared.read(initialisations.adaptation, job["id"])
    if body is None:
        ended = "The job has left no result; its log says why."
        told = "The result appears here within seconds of the start."
        st.info(ended if job["status"] in jobs.ENDED else told, icon=":material/hourglass_empty:")
        return
    shared.link(shared.PLAYGROUND, "Open it in the playground", icon=":material/draw:", job=job["id"])
    adaptation.draw(job["id"], json.loads(job["spec"]), body)
