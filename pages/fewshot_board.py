"""Few-shot leaderboard (/few_shot?dataset=NAME&ways=5&shots=1&protocol=...): what meta-trainings are worth."""

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
SHOWN = ["open", "rank", "task", "algorithm", "network", "protocol", "valid", "test", "interval", "n_episodes"]
SHOWN += ["adapt_s", "n_parameters", "owner", "when"]


def filters(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the chosen way, shot and protocol, which the link keeps."""
    chosen = {}
    places = st.columns([1, 1, 2])
    for place, (key, label, everything) in zip(
        places, (("ways", "Ways", "All"), ("shots", "Shots", "All"), ("protocol", "Batch norm", "Both")), strict=True
    ):
        options = [str(value).capitalize() for value in sorted(frame[key].unique())]
        links.preselect(key, options, {option.lower(): option for option in options})
        chosen[key] = place.selectbox(
            label, options, index=None, key=key, bind="query-params", placeholder=everything, help=HELP.get(key),
        )  # fmt: skip
    for key, value in chosen.items():
        if value is not None:
            frame = frame[frame[key].astype(str) == value.lower()]
    return frame


HELP = {
    "protocol": "**Inductive**: each query is predicted by itself, as a single new image is. **Transductive**: batch "
    "norm sees all queries of a task at once, as in many published figures. The two must not be mixed.",
}


def show(dataset: Dataset) -> None:
    """Filters, table and chart of one dataset."""
    everything = reads.read(initialisations.leaderboard, dataset.id)
    if everything.empty:
        messages.empty(
            "No few-shot meta-training has been judged on this dataset yet.", links.NEW_JOB, "Start one",
            dataset=dataset.name, engine=FEWSHOT,
        )  # fmt: skip
        return
    frame = filters(everything)
    if frame.empty:
        st.info("No meta-training fits these filters.", icon=":material/filter_alt_off:")
        return
    frame = ranked(frame)
    n_jobs, metric = frame["job_id"].nunique(), frame["metric"].iloc[0]
    st.caption(
        f"{n_jobs:,} meta-training{'s' if n_jobs > 1 else ''}, ranked by the valid classes within each kind of task and"
        f" batch norm; {LABELS.get(metric, metric).lower()} on the test classes, with its 95% interval over episodes."
    )
    table(frame, metric)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Export as CSV", lambda: csv_export.csv_safe(frame), f"few_shot_{dataset.name}.csv", "text/csv",
            icon=":material/download:", on_click="ignore", key="export",
        )  # fmt: skip
        links.link(links.PLAYGROUND, "Playground", icon=":material/draw:")
        links.link(
            links.NEW_JOB, "New meta-training", icon=":material/add_circle:", dataset=dataset.name, engine=FEWSHOT
        )
    st.subheader(f"The first {min(BARS, len(frame))}, on the test classes")
    bars(frame.head(BARS), metric)


def ranked(frame: pd.DataFrame) -> pd.DataFrame:
    """With the rank of each row among those of its way, shot and protocol, which come together."""
    groups = ["ways", "shots", "protocol"]
    frame = frame.assign(rank=frame.groupby(groups).cumcount() + 1)
    return frame.sort_values([*groups, "rank"], ignore_index=True)


def task(row: Any) -> str:
    """The kind of task in words; a regression has no ways."""
    return f"{row.shots}-shot" if row.metric == "mse" else f"{row.ways}-way {row.shots}-shot"


def table(frame: pd.DataFrame, metric: str) -> None:
    """A row a job and protocol; its button opens the job."""
    name, digits = LABELS.get(metric, metric), words.decimals(frame["test"])
    column = st.column_config
    bounds = zip(frame["lower"], frame["upper"], strict=True)
    shown = frame.assign(
        open=":material/deployed_code: " + frame["job_id"].astype(str),
        task=[task(row) for row in frame.itertuples()],
        interval=[words.between(low, high) for low, high in bounds],
        adapt_s=[words.duration(seconds) for seconds in frame["adapt_s"]],
        protocol=frame["protocol"].str.capitalize(),
        when=words.times(frame["happened_at"]),
    )
    st.dataframe(
        shown,
        column_order=SHOWN,
        column_config={
            "open": column.ButtonColumn("Job", type="tertiary", alignment="left", pinned=True, key="board_open",
                                        on_click=go_to),
            "rank": column.NumberColumn("Rank", help="By the valid classes, within its kind of task and batch norm"),
            "task": "Task",
            "algorithm": "Algorithm",
            "network": "Network",
            "protocol": "Batch norm",
            "valid": column.NumberColumn(f"{name}, valid", format=digits),
            "test": column.NumberColumn(f"{name}, test", format=digits),
            "interval": column.TextColumn("95% interval of test"),
            "n_episodes": column.NumberColumn("Episodes", format="localized"),
            "adapt_s": column.TextColumn("Learns a task in", help="Seconds that one task takes to learn"),
            "n_parameters": column.NumberColumn("Parameters", format="localized"),
            "owner": "Owner",
            "when": column.DatetimeColumn("When", format="calendar"),
        },
        hide_index=True,
        height="content" if len(frame) <= 15 else 560,
        key="board",
        placeholder="",
        alt=f"Meta-trainings ranked by {name} on the valid classes",
    )  # fmt: skip


def go_to() -> None:
    """Open the clicked job; by the label, as rows move while the table lives."""
    st.switch_page(links.JOB, query_params={"job": st.session_state["board_open"].label.rpartition(" ")[2]})


def bars(frame: pd.DataFrame, metric: str) -> None:
    """Test values with their intervals, the batch norms told apart by colour."""
    figure = go.Figure()
    alone = frame[["ways", "shots"]].drop_duplicates().shape[0] == 1  # then the filters or the table say it
    names = [
        f"{'' if alone else task(row) + ', '}{charts.label(row.algorithm, 18)}, job {row.job_id}, {row.protocol[:5]}."
        for row in frame.itertuples()
    ]
    for protocol, color in zip(initialisations.PROTOCOLS, (charts.ACCENT, charts.SECOND), strict=True):
        rows = frame["protocol"] == protocol
        part = frame[rows]
        if part.empty:
            continue
        figure.add_scatter(
            x=part["test"], y=[name for name, here in zip(names, rows, strict=True) if here], mode="markers",
            marker={"size": 10, "color": color, "symbol": "circle" if protocol == "inductive" else "diamond"},
            name=protocol.capitalize(),
            error_x={
                "type": "data", "symmetric": False, "array": part["upper"] - part["test"],
                "arrayminus": part["test"] - part["lower"], "color": charts.FAINT, "thickness": 2, "width": 4,
            },
            hovertemplate="%{y}<br>%{x:.4g}<extra></extra>",
        )  # fmt: skip
    figure.update_yaxes(autorange="reversed", type="category", categoryorder="array", categoryarray=names)
    figure.update_xaxes(title=f"{LABELS.get(metric, metric)}, 95% interval")
    told = f"{LABELS.get(metric, metric)} on the test classes with intervals"
    charts.draw(figure, told, height=140 + 28 * len(names), key="bars")


st.title("Few-shot")
st.caption("What meta-trainings are worth on classes that they have never seen.")
with messages.show_errors():
    known = reads.read(datasets.all_datasets)
    if not known:
        messages.empty("There is no dataset yet, so there are no results.", links.ADD_DATASET, "Add a dataset")
    elif chosen := links.choose_dataset(known, placeholder="Choose a dataset"):
        show(chosen)
    else:
        st.info("Choose a dataset to see its meta-trainings.", icon=":material/table:")
