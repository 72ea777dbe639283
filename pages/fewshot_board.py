"""Few-shot leaderboard (/few_shot?dataset=NAME&ways=5&shots=1&protocol=...): meta-trainings, ranked."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core import datasets, kinds
from core.datasets import Dataset
from core.results import initialisations
from core.specs import FewShotSpec
from pages import links, reads, words
from pages.parts import charts, csv_export, messages

BARS = 20
FEWSHOT = kinds.for_spec(FewShotSpec).name
LABELS = {"accuracy": "Accuracy", "mse": "Mean squared error"}
# By column: the filter's label, what it shows for no choice, and its help.
FILTERS = {
    "ways": ("Ways", "All", None),
    "shots": ("Shots", "All", None),
    "protocol": (
        "Batch norm", "Both",
        "**Inductive**: each query is predicted alone, as a single new image is. **Transductive**: batch norm sees all"
        " queries of a task at once, as in many published figures. The two are not comparable.",
    ),
}  # fmt: skip


def filters(frame: pd.DataFrame) -> pd.DataFrame:
    """Draw the filters, which the link keeps; returns the rows that match them."""
    for place, (key, (label, placeholder, text)) in zip(st.columns([1, 1, 2]), FILTERS.items(), strict=True):
        options = [str(value).capitalize() for value in sorted(frame[key].unique())]
        links.preselect(key, options, {option.lower(): option for option in options})
        value = place.selectbox(
            label, options, index=None, key=key, bind="query-params", placeholder=placeholder, help=text
        )
        if value is not None:
            frame = frame[frame[key].astype(str) == value.lower()]
    return frame


def show(dataset: Dataset) -> None:
    """Draw the filters, the table and the chart of one dataset."""
    links.name_tab(dataset.name, "Few-shot")
    board = reads.read(initialisations.leaderboard, dataset.id)
    if board.empty:
        messages.empty(
            "This dataset has no few-shot meta-training yet.", links.NEW_JOB, "Start one", dataset=dataset.name,
            engine=FEWSHOT,
        )  # fmt: skip
        return
    frame = filters(board)
    if frame.empty:
        st.info("No meta-training matches these filters.", icon=":material/filter_alt_off:")
        return
    frame = ranked(frame)
    n_jobs, metric = frame["job_id"].nunique(), frame["metric"].iloc[0]
    name = LABELS.get(metric, metric).lower()
    unit = "meta-trainings" if n_jobs > 1 else "meta-training"
    st.caption(f"{n_jobs:,} {unit}, ranked by validation {name} within each task and batch norm")
    table(frame, metric)
    with st.container(horizontal=True, vertical_alignment="center"):
        csv_export.button(lambda: frame, f"few_shot_{dataset.name}.csv")
        links.link(links.PLAYGROUND)
        links.link(links.NEW_JOB, "New meta-training", dataset=dataset.name, engine=FEWSHOT)
    st.subheader(f"Test classes: top {min(BARS, len(frame))}")
    bars(frame.head(BARS), metric)


def ranked(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with their rank among those of the same ways, shots and protocol, which come together."""
    groups = ["ways", "shots", "protocol"]
    frame = frame.assign(rank=frame.groupby(groups).cumcount() + 1)
    return frame.sort_values([*groups, "rank"], ignore_index=True)


def task(row: Any) -> str:
    """Return the task in words; a regression has no ways."""
    return f"{row.shots}-shot" if row.metric == "mse" else f"{row.ways}-way {row.shots}-shot"


def table(frame: pd.DataFrame, metric: str) -> None:
    """Draw a row for each job and protocol; its button opens the job."""
    name = LABELS.get(metric, metric)
    bounds = zip(frame["lower"], frame["upper"], strict=True)
    rows = frame.assign(
        open=f"{links.ENTRIES[links.JOB].icon} " + frame["job_id"].astype(str),
        task=[task(row) for row in frame.itertuples()],
        interval=[words.between(low, high) for low, high in bounds],
        adapt_s=[words.duration(seconds) for seconds in frame["adapt_s"]],
        protocol=frame["protocol"].str.capitalize(),
        when=words.times(frame["happened_at"]),
    )
    config = columns(name, words.decimals(frame["test"]))
    st.dataframe(
        rows, column_order=list(config), column_config=config, hide_index=True,
        height="content" if len(frame) <= 15 else 560, key="board", placeholder="",
        alt=f"Meta-trainings ranked by {name} on the validation classes",
    )  # fmt: skip


def columns(name: str, digits: str) -> dict[str, Any]:
    """Return how the table is drawn."""
    column = st.column_config
    return {
        "open": column.ButtonColumn(
            "Job", type="tertiary", alignment="left", pinned=True, key="board_open", on_click=open_job
        ),
        "rank": column.NumberColumn("Rank", help="By validation score, within each task and batch norm"),
        "task": "Task",
        "algorithm": "Algorithm",
        "network": "Network",
        "protocol": "Batch norm",
        "valid": column.NumberColumn(f"Validation {name}", format=digits),
        "test": column.NumberColumn(f"Test {name}", format=digits),
        "interval": column.TextColumn("Test 95% interval"),
        "n_episodes": column.NumberColumn("Episodes", format="localized"),
        "adapt_s": column.TextColumn("Time per task", help="How long it takes to learn one task"),
        "n_parameters": column.NumberColumn("Parameters", format="localized"),
        "owner": "Owner",
        "when": column.DatetimeColumn("When", format="calendar"),
    }


def open_job() -> None:
    """Open the clicked job; by the label, as rows move while the table lives."""
    st.switch_page(links.JOB, query_params={"job": st.session_state["board_open"].label.rpartition(" ")[2]})


def bars(frame: pd.DataFrame, metric: str) -> None:
    """Draw test scores with their intervals, a colour for each batch norm."""
    one_task = frame[["ways", "shots"]].drop_duplicates().shape[0] == 1  # which the filters or the table name
    names = [
        f"{'' if one_task else task(row) + ', '}{charts.label(row.algorithm, 18)}, job {row.job_id},"
        f" {row.protocol[:5]}."
        for row in frame.itertuples()
    ]
    figure = go.Figure()
    for protocol, color in zip(initialisations.PROTOCOLS, (charts.ACCENT, charts.SECOND), strict=True):
        rows = frame["protocol"] == protocol
        part = frame[rows]
        if part.empty:
            continue
        figure.add_scatter(
            x=part["test"], y=[name for name, here in zip(names, rows, strict=True) if here], mode="markers",
            marker={"size": 10, "color": color, "symbol": "circle" if protocol == "inductive" else "diamond"},
            name=protocol.capitalize(), hovertemplate="%{y}<br>%{x:.4g}<extra></extra>",
            error_x=charts.spans(part["upper"] - part["test"], part["test"] - part["lower"]),
        )  # fmt: skip
    figure.update_yaxes(autorange="reversed", type="category", categoryorder="array", categoryarray=names)
    name = LABELS.get(metric, metric)
    figure.update_xaxes(title=f"{name}, 95% interval")
    charts.draw(figure, f"{name} on the test classes, with intervals", height=140 + 28 * len(names), key="bars")


st.title("Few-shot")
st.caption("Meta-trainings, scored on classes not seen in training")
with messages.show_errors():
    registered = reads.read(datasets.all_datasets)
    if not registered:
        messages.empty("There is no dataset yet, so there are no results.", links.ADD_DATASET, "Add a dataset")
    elif dataset := links.choose_dataset(registered, placeholder="Choose a dataset"):
        show(dataset)
    else:
        st.info("Choose a dataset to see its meta-trainings.", icon=":material/table:")
