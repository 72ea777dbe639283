"""A trial's model as a download, with the command that predicts with it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import BinaryIO

import pandas as pd
import streamlit as st

from core.datasets import Dataset
from core.errors import InputError
from core.results import Trial, downloads
from core.store import artifacts
from pages import words


def draw(trial: Trial, dataset: Dataset) -> None:
    """Draw the button that downloads the model, how to use it, and its files one by one."""
    st.subheader("Download the model")
    if not downloads.has_model(trial):
        text = "A baseline is for comparison only." if trial.yardstick else "The job saved no file of this model."
        st.info(text, icon=":material/folder_off:")
        return
    name = f"{file_name(dataset.name)}_trial_{trial.id}"
    st.download_button(
        "Download the model", partial(bundle, trial), f"{name}.zip", "application/zip", type="primary",
        icon=":material/download:", on_click="ignore", key="bundle",
    )  # fmt: skip
    needs, command = usage(trial, dataset)
    st.caption(needs)
    st.code(f"unzip {name}.zip -d model\ncd model\n{command}", language="bash")
    with st.expander("Individual files", icon=":material/folder_open:"):
        files(trial.artifacts)


def usage(trial: Trial, dataset: Dataset) -> tuple[str, str]:
    """Return what the download holds and needs, and the command that predicts with it."""
    kinds, script = set(trial.artifacts["kind"]), downloads.script(trial.artifacts)
    if "mojo" in kinds:
        text = "Includes the scoring library, a script and an example. Needs Python and Java 8 or later."
        return text, f"python {script} example.csv predictions.csv"
    if dataset.modality == "image":
        pillow, rows, example = ", Pillow", "an image or a folder of images", "images/"
    else:
        pillow, rows, example = "", "a CSV file with the columns of the training data", "rows.csv"
    if "skops" in kinds:
        content, packages = "A scikit-learn pipeline in the safe skops format", f"scikit-learn, skops, pandas{pillow}"
    else:
        content, packages = "ONNX and plain PyTorch", f"numpy{pillow} and onnxruntime (with --torch: torch)"
    text = f"{content}. The script needs Python 3.11 or later, {packages}. Its input is {rows}."
    return text, f"python {script} {example} predictions.csv"


def files(frame: pd.DataFrame) -> None:
    """Draw a button for each file that the job saved for this trial, without the parts of its script."""
    frame = frame[~frame["kind"].isin(("predict_module", "predict_schema"))]
    with st.container(horizontal=True):
        for number, row in enumerate(frame.to_dict("records")):
            st.download_button(
                words.plain(f"{row['name']} ({words.size(row['size_bytes'])})"), partial(open_file, row["sha256"]),
                file_name(row["name"]), icon=":material/description:", on_click="ignore",
                key=f"file_{row['sha256'][:12]}_{number}",
            )  # fmt: skip


def bundle(trial: Trial) -> BinaryIO:
    """Open the ZIP with everything, made on the first download. Raises InputError if a file is missing."""
    path = downloads.bundle_trial(trial)
    if path is None:
        raise InputError("The model's file no longer exists.")
    return path.open("rb")


def open_file(sha256: str) -> BinaryIO:
    """Open one file of the store of artifacts."""
    return artifacts.locate(sha256).open("rb")


def file_name(name: str) -> str:
    """Return the name without folders."""
    return Path(name.replace("\\", "/")).name or "file"
