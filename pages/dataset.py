"""Dataset (/dataset?dataset=NAME or id): its split, columns, classes and warnings."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core import advice, datasets
from core.advice import fits
from core.datasets import SPLITS, Dataset
from core.errors import InputError
from core.scoring import METRICS
from pages import links, reads, words
from pages.parts import charts, column_table, image_grid, messages

CLASSES = 30  # that the chart shows
SPLIT_WORDS = {
    "train": ("Training rows", "Models are fitted on these rows"),
    "valid": ("Validation rows", "Models are compared and chosen on these rows"),
    "test": ("Test rows", "Each finished model is scored on these rows once"),
}


def dataset_of_link() -> Dataset:
    """Return the dataset that the link names. Raises InputError if it names none, or an unknown one."""
    name = st.query_params.get("dataset")
    if name is None:
        raise InputError("The link names no dataset. Choose one in the list.")
    return reads.read(datasets.get, name)


def show(dataset: Dataset) -> None:
    """Draw everything about one dataset."""
    links.name_tab(dataset.name, "Dataset")
    st.title(words.plain(dataset.name))
    origin = f"added {words.moment(dataset.created_at)} by {dataset.owner} from {dataset.source}"
    st.caption(words.plain(f"Predict {dataset.target}: {words.TASKS[dataset.task].lower()}, {origin}"))
    with st.container(horizontal=True):
        for page in (links.ADVICE, links.NEW_JOB, links.LEADERBOARD):
            links.link(page, dataset=dataset.name)
        links.link(links.JOBS, jobs_dataset=dataset.name)
    recommendation(dataset)
    split(dataset)
    column_table.findings(dataset.findings)
    columns(dataset)
    if dataset.labels:
        classes(dataset)
    st.caption(f"Fingerprint {dataset.fingerprint[:16]}, split with seed {dataset.seed}")


def recommendation(dataset: Dataset) -> None:
    """Draw what to run first, in a line; nothing if no selector can say."""
    if fits.last_fit(advice.task_type(dataset)) is None:
        return
    with suppress(InputError):
        latest = advice.advise(dataset.id)
        best = next(item for item in latest.ranking if item.candidate == latest.plan[0])
        plan, metric = ", ".join(latest.plan), METRICS[latest.metric].label
        text = f"Recommended: {plan}. {best.candidate} is predicted to reach {metric} {1 - best.error:.3f}."
        st.info(words.plain(text), icon=":material/lightbulb:")


def split(dataset: Dataset) -> None:
    """Draw how many rows each part of the split has."""
    total = sum(dataset.n_rows.values())
    with st.grid(4, min_column_width=150):
        for name in SPLITS:
            label, text = SPLIT_WORDS[name]
            n = dataset.n_rows[name]
            figure(label, f"{n:,}", f"{n / total:.0%} of rows", text)
        if shape := dataset.features[0].shape:
            figure("Image", f"{shape[1]} x {shape[0]}", "grey" if shape[2] == 1 else "RGB")
        else:
            figure("Features", f"{len(dataset.features):,}", f"of {len(dataset.columns):,} columns")


def figure(label: str, value: str, note: str, text: str | None = None) -> None:
    """Draw a number with a note below it."""
    st.metric(label, value, note, delta_color="off", delta_arrow="off", border=True, help=text)


def columns(dataset: Dataset) -> None:
    """Draw the columns of a table, or examples of the images."""
    if shape := dataset.features[0].shape:
        st.subheader("Images")
        counts = class_counts(dataset.table, dataset.target_column.key).sum(axis=1).to_dict()
        image_grid.grid(dataset.table, shape, counts)
        return
    st.subheader("Columns")
    st.dataframe(
        column_table.frame(dataset.columns), column_config=column_table.config(editable=False), hide_index=True,
        height="content" if len(dataset.columns) <= 15 else 560, key="columns", alt="Columns of the dataset",
    )  # fmt: skip


@st.cache_data(ttl=3600, max_entries=32, show_spinner=False)
def class_counts(table: Path, key: str) -> pd.DataFrame:
    """Return the rows of each class in each part of the split; a registered table never changes."""
    frame = pd.read_parquet(table, columns=[key, "split"])
    counts = pd.crosstab(frame[key], frame["split"]).reindex(columns=list(SPLITS), fill_value=0)
    return counts.sort_values("train", ascending=False)


def classes(dataset: Dataset) -> None:
    """Draw how many rows each class has."""
    st.subheader("Classes")
    counts = class_counts(dataset.table, dataset.target_column.key)
    top = counts.head(CLASSES)
    if len(counts) > len(top):
        st.caption(f"The {CLASSES} most common of {len(counts):,} classes")
    labels = [charts.label(str(label)) for label in top.index]
    chart = go.Figure()
    for name in SPLITS:
        chart.add_bar(y=labels, x=top[name], name=SPLIT_WORDS[name][0], orientation="h")
    chart.update_layout(barmode="stack", yaxis={"autorange": "reversed", "type": "category"}, xaxis_title="Rows")
    alt = "Rows of each class in the training, validation and test sets"
    charts.draw(chart, alt, height=110 + 24 * len(top), key="classes")


with messages.show_errors():
    try:
        show(dataset_of_link())
    except InputError as error:
        messages.dead_end("Dataset", error, links.DATASETS, "All datasets")
