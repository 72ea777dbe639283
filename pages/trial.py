"""Trial (/trial?trial=45): its scores, parameters, curves and errors, and its model to take away."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core import datasets, results
from core.datasets import Dataset
from core.errors import InputError
from core.results import Trial, downloads
from core.store import artifacts
from pages import links, reads, words
from pages.parts import charts, confusion, messages, network_drawing

FEATURES = 20


def header(trial: Trial, dataset: Dataset) -> None:
    """What it is, and the way back."""
    st.title(words.plain(trial.algorithm))
    st.caption(words.plain(f"Trial {trial.id} on {dataset.name}, {words.moment(trial.happened_at)}: {trial.candidate}"))
    with st.container(horizontal=True):
        if trial.yardstick:
            st.badge("Yardstick", icon=":material/straighten:", color="orange")
        links.link(links.LEADERBOARD, "Leaderboard", icon=":material/leaderboard:", dataset=dataset.name)
        links.link(links.JOB, f"Job {trial.job_id}", icon=":material/deployed_code:", job=trial.job_id)
        links.link(links.DATASET, words.plain(dataset.name), icon=":material/table:", dataset=dataset.name)
        links.link(links.COMPARE, "Compare", icon=":material/compare_arrows:", dataset=dataset.name, left=trial.id)


def figures(trial: Trial) -> None:
    """Its main score and its cost."""
    main = trial.scores[trial.scores["metric"] == trial.metric]
    cost = flops(trial)
    with st.grid(5 if cost is None else 6, min_column_width=140):
        if len(main):
            row = main.iloc[0]
            told = words.between(row["lower"], row["upper"])
            st.metric(f"{words.metric_label(trial.metric)} on test", words.number(row["test"]), told, border=True,
                      delta_color="off", delta_arrow="off", help="With its 95% bootstrap interval")  # fmt: skip
        st.metric("Fit", words.duration(trial.fit_s), border=True, height="stretch")
        st.metric("Predict, a row", words.duration(trial.predict_row_s), border=True, height="stretch")
        st.metric("Size", words.size(trial.size_bytes), border=True, height="stretch")
        if trial.n_parameters:
            st.metric("Parameters", f"{trial.n_parameters:,}", border=True, height="stretch")
        if cost is not None:
            st.metric("FLOPs, a row", words.count(cost), border=True, height="stretch", help=f"{cost:,.0f}")


def flops(trial: Trial) -> float | None:
    """What a prediction of one row computes, where a search has counted it."""
    if not trial.details.get("architecture"):
        return None
    tried = reads.read(results.candidates, trial.job_id)
    # A long name has lost its recipe, on which the count does not depend.
    counted = tried[tried["candidate"].str.startswith(trial.candidate)]["flops"].dropna()
    return float(counted.iloc[0]) if len(counted) else None


def scores(trial: Trial) -> None:
    """Every metric on valid and test."""
    st.subheader("Scores")
    frame = trial.scores
    bounds = zip(frame["lower"], frame["upper"], strict=True)
    shown = {
        "Metric": [words.metric_label(name) for name in frame["metric"]],
        "Valid": [words.number(value) for value in frame["valid"]],
        "Test": [words.number(value) for value in frame["test"]],
        "95% interval of test": [words.between(low, high) for low, high in bounds],
    }
    st.dataframe(pd.DataFrame(shown), hide_index=True, height="content", key="scores", alt="Scores of the trial")
    st.caption("↑ higher is better, ↓ lower is better")


def model(trial: Trial, dataset: Dataset) -> None:
    """What can be taken away, and how to use it."""
    st.subheader("Take the model away")
    if not downloads.has_model(trial):
        kind = "A yardstick is kept for comparison only." if trial.yardstick else "The job kept no file of this model."
        st.info(kind, icon=":material/folder_off:")
        return
    name = f"{file_name(dataset.name)}_trial_{trial.id}"
    st.download_button(
        "Download the model", partial(bundle, trial), f"{name}.zip", "application/zip", type="primary",
        icon=":material/download:", on_click="ignore", key="bundle",
    )  # fmt: skip
    needs, command = usage(trial, dataset)
    st.caption(needs)
    st.code(f"unzip {name}.zip -d model\ncd model\n{command}", language="bash")
    with st.expander("Single files", icon=":material/folder_open:"):
        files(trial.artifacts)


def usage(trial: Trial, dataset: Dataset) -> tuple[str, str]:
    """What the download holds and needs, and the command that predicts with it."""
    if "mojo" in set(trial.artifacts["kind"]):
        told = "With its scoring library, a script and an example; it needs Python and Java 8 or later, nothing else."
        return told, f"python {downloads.script(trial.artifacts)} example.csv predictions.csv"
    if dataset.modality == "image":
        more, given, example = ", Pillow", "an image or a folder of them", "images/"
    else:
        more, given, example = "", "a CSV file with the columns of the training table", "rows.csv"
    if "skops" in set(trial.artifacts["kind"]):
        told = "A scikit-learn pipeline in the skops format, which holds no program. The script needs Python 3.11+,"
        told += f" scikit-learn, skops and pandas{more}; its input is {given}."
        return told, f"python predict.py {example} predictions.csv"
    told = f"As ONNX and plain PyTorch. The script needs Python 3.11+, numpy{more} and onnxruntime (--torch: torch)"
    return f"{told}; its input is {given}.", f"python predict.py {example} predictions.csv"


def files(frame: pd.DataFrame) -> None:
    """Each file that the job left for this trial, without the parts of its script."""
    frame = frame[~frame["kind"].isin(("predict_module", "predict_schema"))]
    with st.container(horizontal=True):
        for number, row in enumerate(frame.to_dict("records")):
            st.download_button(
                words.plain(f"{row['name']} ({words.size(row['size_bytes'])})"), partial(opened, row["sha256"]),
                file_name(row["name"]), icon=":material/description:", on_click="ignore",
                key=f"file_{row['sha256'][:12]}_{number}",
            )  # fmt: skip


def bundle(trial: Trial) -> BinaryIO:
    """The zip with everything, made when it is first asked for."""
    path = downloads.bundle_trial(trial)
    if path is None:
        raise InputError("The model's file is no longer there.")
    return path.open("rb")


def opened(sha256: str) -> BinaryIO:
    """One file of the store of artifacts."""
    return artifacts.locate(sha256).open("rb")


def file_name(name: str) -> str:
    """The name without folders."""
    return Path(name.replace("\\", "/")).name or "file"


def importance(rows: list[dict[str, Any]]) -> None:
    """Which features count."""
    st.subheader("Importance of features")
    shown = sorted(rows, key=lambda row: -(row["value"] or 0))[:FEATURES]
    figure = go.Figure()
    names = [charts.label(str(row["feature"])) for row in shown]
    figure.add_bar(y=names, x=[row["value"] for row in shown], orientation="h", marker={"color": charts.ACCENT})
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(title="Relative importance", rangemode="tozero")
    told = f"The {len(shown)} most important of {len(rows)} features"
    charts.draw(figure, told, height=110 + 24 * len(shown), key="importance")
    if len(rows) > len(shown):
        st.caption(told)


def curve(body: dict[str, Any]) -> None:
    """The learning curve."""
    st.subheader("Learning curve")
    figure = go.Figure()
    for name, values in body["series"].items():
        figure.add_scatter(x=body["x"], y=values, mode="lines", name=charts.label(name))
    figure.update_xaxes(title=str(body.get("x_label", "Step")).capitalize())
    charts.draw(figure, "Learning curve of the model", key="learning")


def errors(body: dict[str, Any]) -> None:
    """Actual against predicted classes on the test rows."""
    st.subheader("Confusion on test")
    confusion.draw(body, key="confusion")


def residuals(body: dict[str, Any]) -> None:
    """Actual against predicted numbers on the test rows."""
    st.subheader("Predicted against actual on test")
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
    charts.draw(figure, "Predicted against actual values on test rows", height=420, key="residuals")
    if len(actual) >= 500:
        st.caption("A sample of 500 rows")


def architecture(layers: list[dict[str, Any]]) -> None:
    """The network that it is."""
    st.subheader("Architecture")
    network_drawing.draw(layers, key="architecture")


def parameters(trial: Trial) -> None:
    """Its parameters."""
    st.subheader("Parameters")
    if not trial.params:
        st.caption("None were reported.")
        return
    frame = pd.DataFrame({"Parameter": list(trial.params), "Value": [str(value) for value in trial.params.values()]})
    st.dataframe(frame, hide_index=True, height="content" if len(frame) <= 12 else 420, key="params",
                 alt="Parameters of the model")  # fmt: skip


def show() -> None:
    """The page."""
    trial_id = links.id_of("trial")
    if trial_id is None:
        raise InputError("The link names no trial. Choose one on the leaderboard.")
    trial = reads.read(results.trial, trial_id)
    dataset = reads.read(datasets.get, trial.dataset_id)
    header(trial, dataset)
    figures(trial)
    details = trial.details
    left, right = st.columns(2, gap="medium")
    with left:
        scores(trial)
        model(trial, dataset)
        parameters(trial)
        drawn(details, {"curve": curve})
    with right:
        drawn(details, {"confusion": errors, "residuals": residuals, "importance": importance})
        drawn(details, {"architecture": architecture})


def drawn(details: dict[str, Any], drawings: dict[str, Callable[[Any], None]]) -> None:
    """Those drawings that the trial has data for."""
    for name, draw in drawings.items():
        if details.get(name):
            draw(details[name])


with messages.show_errors():
    try:
        show()
    except InputError as error:
        messages.dead_end("Trial", error, links.LEADERBOARD, "Leaderboard")
