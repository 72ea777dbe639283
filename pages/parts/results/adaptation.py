"""An adapted model: its accuracy after each step, confusion, predictions, initialisation and download."""

from __future__ import annotations

from functools import partial
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import streamlit as st

from core import results
from core.queue import jobs
from core.results import downloads, initialisations
from pages import reads, words
from pages.parts import confusion
from pages.parts.results import adaptation_charts, adaptation_predictions

READMES = {"readme", "nas_readme"}  # kinds of artifact; the second one of jobs of earlier versions


def draw(job_id: int, spec: dict[str, Any], body: dict[str, Any]) -> None:
    """Draw everything that the body of an adaptation has; `spec` are the fields that were submitted."""
    body = short(body)
    figures(job_id, body)
    regression = body.get("kind") == "waves" or bool(body.get("curves"))
    if body.get("curves"):
        adaptation_charts.waves(body["curves"])
    left, right = st.columns(2, gap="medium")
    with left:
        if body.get("steps"):
            adaptation_charts.steps(body["steps"])
    with right:
        if body.get("confusion") and np.sum(body["confusion"]["counts"]) > 0:
            st.subheader("Confusion matrix")
            confusion.draw(body["confusion"], key=f"confusion_{job_id}")
    if body.get("predictions") and not regression:
        adaptation_predictions.draw(spec, body)
    left, right = st.columns(2, gap="medium")
    with left:
        similar_initialisations(body)
    with right:
        download(job_id)


def short(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body with classes of one outer folder ("Greek/character03") named by the inner one alone."""
    labels = [str(label) for label in body.get("labels") or ()]
    outer = {label.rpartition("/")[0] for label in labels}
    if len(labels) < 2 or len(outer) != 1 or outer == {""}:
        return body
    names = {label: label.rpartition("/")[2] for label in labels}
    rows = [
        row | {key: names.get(row[key], row[key]) for key in ("actual", "predicted")}
        for row in body["predictions"] or ()
    ]
    counts = body.get("confusion") and body["confusion"] | {"labels": [names[label] for label in labels]}
    return body | {"labels": list(names.values()), "predictions": rows, "confusion": counts, "outer": outer.pop()}


def figures(job_id: int, body: dict[str, Any]) -> None:
    """Draw the accuracy or loss before and after, and how long it took."""
    accuracies = [step["accuracy"] for step in body.get("steps") or () if step.get("accuracy") is not None]
    losses = [step["loss"] for step in body.get("steps") or () if step.get("loss") is not None]
    response_time_s = reads.read(initialisations.response_time_s, job_id)
    with st.grid(4, min_column_width=140):
        if accuracies:
            before, after = accuracies[0], accuracies[-1]
            gain = f"{100 * (after - before):+.1f} points" if len(accuracies) > 1 else None
            st.metric("Accuracy", f"{after:.1%}", gain, border=True, help=f"Before the first step: {before:.1%}")
        elif losses:
            name = "Mean squared error" if body.get("kind") == "waves" else "Loss on the examples"
            st.metric(name, words.number(losses[-1]), border=True, height="stretch",
                      help=f"Before the first step: {words.number(losses[0])}")  # fmt: skip
        st.metric("Adapted in", words.duration(body.get("adapt_s")), border=True, height="stretch")
        st.metric("Response time", words.duration(response_time_s), border=True, height="stretch",
                  help="From the submission to the result, including the wait in the queue")  # fmt: skip
        if body.get("initialisation") is not None:
            st.metric("Initialisation", f"Job {body['initialisation']}", border=True, height="stretch")


def similar_initialisations(body: dict[str, Any]) -> None:
    """Draw the stored initialisations, the most similar to these examples first, and which was used and why."""
    rows, job_id = body.get("proposed") or [], body.get("initialisation")
    if not rows:
        return
    st.subheader("Similar initialisations")
    why = next((row["why"] for row in rows if row["job_id"] == job_id), "")
    how = "as chosen" if body.get("asked") else "as the most similar one"
    st.caption(words.plain(f"Job {job_id} was used, {how}. {why}".strip()))
    frame = pd.DataFrame(
        {
            "Job": [f"{row['job_id']}{' (used)' if row['job_id'] == job_id else ''}" for row in rows],
            "Distance": [row["distance"] for row in rows],
            "Similar classes": [
                ", ".join(f"{mine}: {theirs}" for mine, theirs in (row.get("like") or {}).items()) for row in rows
            ],
        }
    )
    config = {
        "Distance": st.column_config.NumberColumn(format="%.3f", help="0: the same classes"),
        "Similar classes": st.column_config.TextColumn(help="Your class: the most similar training class"),
    }
    st.dataframe(
        frame, hide_index=True, height="content" if len(frame) <= 6 else 240, column_config=config, key="proposed",
        alt="Initialisations by the distance of their training classes",
    )  # fmt: skip


def download(job_id: int) -> None:
    """Draw the download of the adapted model with its script."""
    files = reads.read(results.artifacts_of, job_id)
    kinds = set(files["kind"]) if len(files) else set()
    if not kinds & {"onnx", "adapted_weights"}:
        return
    st.subheader("Download the model")
    name = f"adapted_{job_id}.zip"
    st.download_button(
        "Download the adapted model", partial(bundle, files), name, "application/zip", type="primary",
        icon=":material/download:", on_click="ignore", key="bundle",
    )  # fmt: skip
    if downloads.script(files):
        st.caption("Includes a script that predicts these classes without Metascout; see its README.")
    elif reads.read(jobs.get, job_id).status in jobs.ENDED:
        st.caption("The adapted weights as safetensors. This network cannot be exported to ONNX.")
    else:
        st.caption("The adapted weights as safetensors. More files are being written.")
    if kinds & READMES:
        st.code(f"unzip {name} -d model\ncat model/README.txt", language="bash")


def bundle(files: pd.DataFrame) -> BinaryIO:
    """Open the ZIP with everything, made on the first download."""
    return downloads.bundle_files(files).open("rb")
