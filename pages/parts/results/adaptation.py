"""What a fine-tuning has found, drawn: before and after each step, confusion, predictions, and why it began there."""

from __future__ import annotations

from functools import partial
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core import datasets, results
from core.datasets import Dataset
from core.datasets.images import examples
from core.errors import MetascoutError
from core.queue import jobs
from core.results import downloads, initialisations
from pages import reads, words
from pages.parts import charts, confusion, gallery, messages, sample_episodes

_FEATURES = 4  # of a table's row, beside what was predicted of it


def draw(job_id: int, spec: dict[str, Any], body: dict[str, Any]) -> None:
    """Everything that the body of an adaptation has; `spec` is what was asked for."""
    body = short(body)
    figures(job_id, body)
    regression = body.get("kind") == "waves" or bool(body.get("curves"))
    if body.get("curves"):
        waves(body["curves"])
    left, right = st.columns(2, gap="medium")
    with left:
        if body.get("steps"):
            steps(body["steps"])
    with right:
        if body.get("confusion") and np.sum(body["confusion"]["counts"]) > 0:
            st.subheader("Confusion")
            confusion.draw(body["confusion"], key=f"confusion_{job_id}")
    if body.get("predictions") and not regression:
        predictions(spec, body)
    left, right = st.columns(2, gap="medium")
    with left:
        proposal(body)
    with right:
        download(job_id)


def short(body: dict[str, Any]) -> dict[str, Any]:
    """The body with classes of one outer folder ("Greek/character03") named by the inner one alone."""
    labels = [str(label) for label in body.get("labels") or ()]
    outer = {label.rpartition("/")[0] for label in labels}
    if len(labels) < 2 or len(outer) != 1 or outer == {""}:
        return body
    cut = {label: label.rpartition("/")[2] for label in labels}
    rows = [
        row | {key: cut.get(row[key], row[key]) for key in ("actual", "predicted")} for row in body["predictions"] or ()
    ]
    confused = body.get("confusion") and body["confusion"] | {"labels": [cut[label] for label in labels]}
    return body | {"labels": list(cut.values()), "predictions": rows, "confusion": confused, "outer": outer.pop()}


def figures(job_id: int, body: dict[str, Any]) -> None:
    """The numbers: before and after, and how long it took."""
    judged = [step for step in body.get("steps") or () if step.get("accuracy") is not None]
    losses = [step for step in body.get("steps") or () if step.get("loss") is not None]
    answered = reads.read(initialisations.response_time_s, job_id)
    with st.grid(4, min_column_width=140):
        if judged:
            before, after = judged[0]["accuracy"], judged[-1]["accuracy"]
            gained = f"{100 * (after - before):+.1f} points" if len(judged) > 1 else None
            st.metric("Accuracy", f"{after:.1%}", gained, border=True, help=f"Before the first step: {before:.1%}")
        elif losses:
            name = "Mean squared error" if body.get("kind") == "waves" else "Loss on the examples"
            st.metric(name, words.number(losses[-1]["loss"]), border=True, height="stretch",
                      help=f"Before the first step: {words.number(losses[0]['loss'])}")  # fmt: skip
        st.metric("Adapted in", words.duration(body.get("adapt_s")), border=True, height="stretch")
        st.metric("From click to answer", words.duration(answered), border=True, height="stretch",
                  help="From the submission to the answer, the wait in the queue included")  # fmt: skip
        if body.get("initialisation") is not None:
            st.metric("Initialisation", f"Job {body['initialisation']}", border=True, height="stretch")


def steps(rows: list[dict[str, Any]]) -> None:
    """Accuracy and loss before and after each inner step."""
    st.subheader("Step by step")
    if len(rows) == 1:
        st.caption("This initialisation takes no inner steps: it compares with the mean of each class's examples.")
        return
    x, few = [row["step"] for row in rows], len(rows) <= 12
    for name, label, color, height in (
        ("accuracy", "Accuracy", charts.ACCENT, 240), ("loss", "Loss", charts.SECOND, 220),
    ):  # fmt: skip
        y = [row.get(name) for row in rows]
        if all(value is None for value in y):
            continue
        figure = go.Figure()
        told = [f"{value:.0%}" if name == "accuracy" else f"{value:.2g}" for value in y if value is not None]
        figure.add_scatter(
            x=x, y=y, mode="lines+markers+text" if few else "lines+markers", line={"color": color}, name=label,
            text=told if few and len(told) == len(y) else None, textposition="top center",
            hovertemplate=f"after step %{{x}}<br>{label} %{{y:.4g}}<extra></extra>",
        )  # fmt: skip
        figure.update_xaxes(title="Inner steps taken (0: before)", dtick=1 if few else None)
        highest = 1.0 if name == "accuracy" else max(value for value in y if value is not None)
        figure.update_yaxes(title=label, range=[0, 1.2 * highest], tickformat=".0%" if name == "accuracy" else None)
        charts.draw(figure, f"{label} before and after each inner step", height=height, key=f"steps_{name}")


def waves(curves: dict[str, Any]) -> None:
    """The true points, those learned from, and the curve after each step."""
    st.subheader("The curve after each step")
    figure, count = go.Figure(), max(1, len(curves["steps"]) - 1)
    query = curves.get("query") or {"x": [], "y": []}
    figure.add_scatter(
        x=query["x"], y=query["y"], mode="markers", name="True points", marker={"color": charts.FAINT, "size": 6}
    )
    for number, step in enumerate(curves["steps"]):
        last = number == count
        name = "Before" if step["step"] == 0 else f"After step {step['step']}"
        figure.add_scatter(
            x=curves["x"], y=step["y"], mode="lines", name=name, opacity=0.35 + 0.65 * number / count,
            line={
                "color": charts.FAINT if step["step"] == 0 else charts.ACCENT, "width": 3 if last else 1.5,
                "dash": "dot" if step["step"] == 0 else "solid",
            },
        )  # fmt: skip
    support = curves["support"]
    figure.update_xaxes(title=charts.label(str(curves.get("x_label", ""))))
    figure.update_yaxes(title=charts.label(str(curves.get("y_label", ""))))
    figure.add_scatter(
        x=support["x"], y=support["y"], mode="markers", name="Learned from",
        marker={"color": charts.SECOND, "size": 12, "symbol": "diamond", "line": {"width": 1, "color": "#1B2030"}},
    )  # fmt: skip
    charts.draw(figure, "True points, examples, and the learned curve after each inner step", height=440, key="waves")


def predictions(spec: dict[str, Any], body: dict[str, Any]) -> None:
    """What was predicted of each further example, and what was learned from."""
    rows, support = body["predictions"], (body.get("support") or [])[: gallery.MOST]
    unknown = sum(row["actual"] is None for row in rows)
    right = sum(row["actual"] == row["predicted"] for row in rows)
    judged = f"{right:,} of {len(rows) - unknown:,} are right" if len(rows) > unknown else ""
    st.subheader("Predictions")
    outer = f"classes of {words.plain(body['outer'])}" if body.get("outer") else ""
    st.caption(", ".join(filter(None, (judged, f"{unknown:,} to be predicted" if unknown else "", outer))))
    shown = sorted(rows, key=gallery.order)[: gallery.MOST]
    try:
        wanted = tuple(row["row"] for row in (*shown, *support))
        found = pictures(spec["examples"], spec["dataset_id"], wanted)
    except MetascoutError as error:
        messages.show(error)
        found = {}
    if found:
        gallery.draw(rows, found)
        st.caption("Learned from:")
        gallery.plain([found[row["row"]] for row in support if row["row"] in found])
    else:
        table(spec, shown)


@st.cache_data(ttl=3600, max_entries=32, show_spinner=False)
def pictures(sha256: str | None, dataset_id: int, rows: tuple[int, ...]) -> dict[int, np.ndarray]:
    """The images of these rows of a file of examples, or of a dataset; none where that has no images."""
    if sha256:
        held = examples.load(sha256).images
        return {row: held[row] for row in rows if 0 <= row < len(held)}
    dataset = datasets.get(dataset_id)
    shape = sample_episodes.shape_of(dataset)
    if shape is None:
        return {}
    key = next(column.key for column in dataset.features if column.shape)
    values = datasets.rows(dataset, rows)[key]
    return {int(row): np.frombuffer(value, np.uint8).reshape(shape) for row, value in values.items()}


def table(spec: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Texts or rows of a table with what was predicted of them."""
    dataset = reads.read(datasets.get, spec["dataset_id"])
    values = content(dataset, tuple(row["row"] for row in rows))
    shown = pd.DataFrame(
        {
            "": [("❔", "✖", "✔")[gallery.order(row)] for row in rows],
            "Predicted": [str(row["predicted"]) for row in rows],
            "Probability": [gallery.certainty(row) for row in rows],
            "Actual": [words.NONE if row["actual"] is None else str(row["actual"]) for row in rows],
        }
    )
    shown = pd.concat([shown, values.reindex([row["row"] for row in rows]).reset_index(drop=True)], axis=1)
    config = {"Probability": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1)}
    st.dataframe(shown, hide_index=True, column_config=config, height=420, key="predictions", alt="Predictions")


@st.cache_data(ttl=3600, max_entries=32, show_spinner=False)
def content(dataset: Dataset, rows: tuple[int, ...]) -> pd.DataFrame:
    """The first features of these rows under their own names."""
    names = {column.key: column.name for column in dataset.features[:_FEATURES]}
    return datasets.rows(dataset, rows)[list(names)].rename(columns=names)


def proposal(body: dict[str, Any]) -> None:
    """Draw the stored initialisations, the most similar first, and say which one was used and why."""
    rows, taken = body.get("proposed") or [], body.get("initialisation")
    if not rows:
        return
    st.subheader("Similar initialisations")
    why = next((row["why"] for row in rows if row["job_id"] == taken), "")
    how = "It was your choice." if body.get("asked") else ""
    st.caption(words.plain(f"Job {taken} was used. {how} {why}".replace("  ", " ")))
    frame = pd.DataFrame(
        {
            "Job": [f"{row['job_id']}{' (used)' if row['job_id'] == taken else ''}" for row in rows],
            "Distance": [row["distance"] for row in rows],
            "Similar classes": [
                ", ".join(f"{mine}: {theirs}" for mine, theirs in (row.get("like") or {}).items()) for row in rows
            ],
        }
    )
    config = {"Distance": st.column_config.NumberColumn(format="%.3f", help="0: the same classes")}
    st.dataframe(
        frame, hide_index=True, height="content" if len(frame) <= 6 else 240, column_config=config, key="proposed",
        alt="Initialisations by the distance of their training classes",
    )  # fmt: skip


def download(job_id: int) -> None:
    """The adapted model with its scoring script, and each file by itself."""
    files = reads.read(results.artifacts_of, job_id)
    if files.empty or not set(files["kind"]) & {"onnx", "adapted_weights"}:
        return
    st.subheader("Take the model away")
    name = f"adapted_{job_id}.zip"
    st.download_button(
        "Download the adapted model", partial(bundle, files), name, "application/zip", type="primary",
        icon=":material/download:", on_click="ignore", key="bundle",
    )  # fmt: skip
    if downloads.script(files):
        st.caption("A script tells these classes apart without Metascout; its README says what that needs.")
    elif reads.read(jobs.get, job_id).status in jobs.ENDED:
        st.caption("The adapted weights as safetensors, to go on from; of this network there is no ONNX file.")
    else:
        st.caption("The adapted weights as safetensors; further files are being written.")
    if not {"readme", "nas_readme"}.isdisjoint(files["kind"]):
        st.code(f"unzip {name} -d model\ncat model/README.txt", language="bash")


def bundle(files: pd.DataFrame) -> BinaryIO:
    """The zip with everything, made when it is first asked for."""
    return downloads.bundle_files(files).open("rb")
