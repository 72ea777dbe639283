"""The columns of a file of runs: their meaning as recognised, which the reader can correct."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st

from core.datasets.files import findings, uploads
from core.knowledge.imports import Inspection
from core.knowledge.recognition import Reading

FORMATS = {"aslib": "an ASlib scenario", "tidy": "a table of runs", "mlflow": "the runs of MLflow"}
DIRECTIONS = {None: "Automatic", True: "Higher is better", False: "Lower is better"}
REQUIRED = "Choose a column"


def draw(first: Inspection, encoding: str, key: str) -> tuple[Reading, Any]:
    """Draw the meaning of the columns; returns how to read the file, and the upload of meta-features."""
    st.subheader("Columns")
    st.caption(f"Recognised as {FORMATS[first.format]} with {findings.plural(first.n_read, 'row', 'rows')}")
    if first.format == "aslib":
        metric = st.selectbox(
            "Metric", [None, *first.metrics], key=f"metric_{key}",
            format_func=lambda name: f"Automatic: {first.metric}" if name is None else name,
        )  # fmt: skip
        return Reading(metric=metric, encoding=encoding, average=average_repeats(first, key)), None
    roles = first.roles
    with st.grid(3, min_column_width=220):
        dataset = choose(first, "Dataset", roles.dataset, f"dataset_{key}", REQUIRED)
        text = "The model, algorithm or pipeline."
        candidate = choose(first, "Candidate", roles.candidate, f"candidate_{key}", REQUIRED, text)
        metric = choose_metric(first, key)
        better = st.selectbox(
            "Direction", list(DIRECTIONS), format_func=DIRECTIONS.__getitem__, key=f"better_{key}",
            help="Whether a higher or a lower value is better. Lower errors are always better.",
        )  # fmt: skip
        fold = choose(first, "Fold or repeat", roles.fold, f"fold_{key}", text="Errors are averaged over its values.")
        fit_s = choose(first, "Fit time (seconds)", roles.fit_s, f"fit_s_{key}")
    average = average_repeats(first, key)
    with st.expander("Meta-features from a second file", icon=":material/add:"):
        features = st.file_uploader(
            "CSV or Parquet with one row per dataset", type=["csv", "tsv", "txt", "parquet"], key=f"features_{key}",
            help="Its numeric columns describe the datasets. The column of datasets has the same name as above.",
        )  # fmt: skip
    reading = Reading(dataset, candidate, metric, better, fold, fit_s, None, average, encoding)
    return reading if features is None else replace(reading, features=uploads.receive(features)), features


def choose(
    first: Inspection, label: str, column: str | None, key: str, none: str = "None", text: str | None = None
) -> str | None:
    """Draw the choice of the column of one meaning; None leaves the one that was recognised."""
    automatic = none if column is None else f"Automatic: {column}"
    return st.selectbox(
        label, [None, *first.columns], format_func=lambda name: automatic if name is None else name, key=key, help=text
    )


def choose_metric(first: Inspection, key: str) -> str | None:
    """Draw the choice of metric: a recognised one, another column, or the reader's name for a column of values."""
    roles = first.roles
    if roles.metric is None and (roles.value or "").casefold() in ("value", "score"):
        name = st.text_input(
            "Metric", key=f"metric_{key}", placeholder=f"What {roles.value} is, such as accuracy",
            help="What the column holds, or the name of the column to use instead.",
        )  # fmt: skip
        return name.strip() or None
    automatic = "Choose one" if first.metric is None else f"Automatic: {first.metric}"
    others = [name for name in first.columns if name not in (*first.metrics, *roles.columns())]
    return st.selectbox(
        "Metric", [None, *first.metrics, *others], format_func=lambda name: automatic if name is None else name,
        key=f"metric_{key}",
    )  # fmt: skip


def average_repeats(first: Inspection, key: str) -> bool:
    """Draw whether rows with different values for one dataset and candidate are repeats."""
    always = first.format == "mlflow"
    return st.toggle(
        "Average repeats", always, key=f"average_{key}", disabled=always,
        help="Rows with different values for one dataset and candidate are averaged; otherwise they are an error."
        " MLflow's runs are always averaged.",
    )  # fmt: skip
