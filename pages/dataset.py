"""Dataset (/dataset?dataset=NAME or id): its split, columns, classes and warnings, and where to go from here."""

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


def asked() -> Dataset:
    """The dataset that the link names. Raises InputError where there is none."""
    name = st.query_params.get("dataset")
    if name is None:
        raise InputError("The link names no dataset. Choose one in the list.")
    return reads.read(datasets.get, name)


def show(dataset: Dataset) -> None:
    """Everything about one dataset."""
    st.title(words.plain(dataset.name))
    added = f"added {words.moment(dataset.created_at)} by {dataset.owner} from {dataset.source}"
    st.caption(words.plain(f"Predict {dataset.target}: {words.TASKS[dataset.task].lower()}, {added}"))
    with st.container(horizontal=True):
        links.link(links.ADVICE, "Advice", icon=":material/lightbulb:", dataset=dataset.name)
        links.link(links.NEW_JOB, "New job", icon=":material/add_circle:", dataset=dataset.name)
        links.link(links.LEADERBOARD, "Leaderboard", icon=":material/leaderboard:", dataset=dataset.name)
        links.link(links.JOBS, "Its jobs", icon=":material/list_alt:", jobs_dataset=dataset.name)
    advised(dataset)
    split(dataset)
    column_table.findings(dataset.findings)
    if shape := dataset.features[0].shape:
        st.subheader("Images")
        counts = class_counts(dataset.table, dataset.target_column.key).sum(axis=1).to_dict()
        image_grid.grid(dataset.table, shape, counts)
    else:
        st.subheader("Columns")
        st.dataframe(
            column_table.frame(dataset.columns), column_config=column_table.config(editable=False), hide_index=True,
            height="content" if len(dataset.columns) <= 15 else 560, key="columns", alt="Columns of the dataset",
        )  # fmt: skip
    if dataset.labels:
        classes(dataset)
    st.caption(f"Fingerprint {dataset.fingerprint[:16]}, split with seed {dataset.seed}")


def advised(dataset: Dataset) -> None:
    """What will do best, in a line; nothing where no selector can say."""
    if fits.last_fit(advice.task_type(dataset)) is None:
        return
    with suppress(InputError):
        given = advice.advise(dataset.id)
        best = next(item for item in given.ranking if item.candidate == given.plan[0])
        name, metric = ", ".join(given.plan), METRICS[given.metric].label
        st.info(
            words.plain(f"Worth running first: {name}. {best.candidate} is expected at {metric} {1 - best.error:.3f}."),
            icon=":material/lightbulb:",
        )


def split(dataset: Dataset) -> None:
    """How many rows are for what."""
    told = {"train": "Models are fitted on these", "valid": "Models are chosen on these", "test": "Scored once a model"}
    total = sum(dataset.n_rows.values())
    with st.grid(4, min_column_width=150):
        for name in SPLITS:
            n = dataset.n_rows[name]
            share = f"{n / total:.0%} of rows"
            st.metric(f"{name.capitalize()} rows", f"{n:,}", share, delta_color="off", delta_arrow="off", border=True,
                      help=told[name])  # fmt: skip
        if shape := dataset.features[0].shape:
            title, value, note = "Image", f"{shape[1]} x {shape[0]}", "grey" if shape[2] == 1 else "RGB"
        else:
            title, value, note = "Features", f"{len(dataset.features):,}", f"of {len(dataset.columns):,} columns"
        st.metric(title, value, note, delta_color="off", delta_arrow="off", border=True)


@st.cache_data(ttl=3600, max_entries=32, show_spinner=False)
def class_counts(table: Path, key: str) -> pd.DataFrame:
    """Rows of each class in each split; a registered table never changes."""
    frame = pd.read_parquet(table, columns=[key, "split"])
    counts = pd.crosstab(frame[key], frame["split"]).reindex(columns=list(SPLITS), fill_value=0)
    return counts.sort_values("train", ascending=False)


def classes(dataset: Dataset) -> None:
    """The balance of the classes."""
    st.subheader("Classes")
    counts = class_counts(dataset.table, dataset.target_column.key)
    shown = counts.head(30)
    if len(counts) > len(shown):
        st.caption(f"The 30 commonest of {len(counts)} classes")
    figure = go.Figure()
    for name in SPLITS:
        figure.add_bar(y=[charts.label(str(label)) for label in shown.index], x=shown[name], name=name, orientation="h")
    figure.update_layout(barmode="stack", yaxis={"autorange": "reversed", "type": "category"}, xaxis_title="Rows")
    charts.draw(figure, "Rows of each class in train, valid and test", height=110 + 24 * len(shown), key="classes")


with messages.show_errors():
    try:
        show(asked())
    except InputError as error:
        messages.dead_end("Dataset", error, links.DATASETS, "All datasets")
