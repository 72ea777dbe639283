"""Jobs: the queue and the ended jobs, with filters that the link keeps."""

from __future__ import annotations

import json
import time
from typing import Any

import pandas as pd
import streamlit as st

from core import datasets, kinds
from core.queue import jobs
from pages import actions, links, reads, words
from pages.parts import messages

LIMIT = 200
COLUMNS = ["job", "state", "kind", "progress", "actions", "dataset", "n_trials", "elapsed", "remaining", "stage"]
COLUMNS += ["priority", "note", "owner", "created"]
STATUS_COLORS = ["#8A8F98", "#3B7DD8", "#CC79A7", "#009E73", "#D55E00", "#E69F00"]  # in the order of words.STATUSES


def filters() -> tuple[list[str], int | None]:
    """Draw the filters; returns the states and the dataset's id to show."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        states = st.pills(
            "State", list(words.STATUSES), selection_mode="multi", key="state", bind="query-params",
            format_func=str.capitalize,
        )  # fmt: skip
        dataset = links.choose_dataset(
            reads.read(datasets.all_datasets), key="jobs_dataset", placeholder="All datasets", width=280
        )
    return list(states), dataset.id if dataset else None


def table(frame: pd.DataFrame) -> None:
    """Draw the jobs, one a row, each with a menu of what can be done with it."""
    st.dataframe(
        rows(frame), column_order=COLUMNS, column_config=config(), hide_index=True,
        height="content" if len(frame) <= 18 else 680, key="jobs", placeholder="",
        alt="Jobs: running ones first, then the queue in its order, then paused and ended ones",
    )  # fmt: skip


def rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the overview as people read it."""
    elapsed = frame["elapsed_s"].where(frame["status"] != "running", time.time() - frame["started_at"].astype(float))
    pairs = list(zip(frame["status"], frame["kind"], strict=True))
    names = {pair: actions.available(*pair) for pair in set(pairs)}
    menus = [
        [actions.row_label(name, job_id) for name in names[pair]]
        for job_id, pair in zip(frame["id"], pairs, strict=True)
    ]
    return frame.assign(
        job=":material/deployed_code: Job " + frame["id"].astype(str),
        state=[[status] for status in frame["status"]],
        progress=frame["fraction"].fillna(0.0),
        stage=frame["stage"].where(frame["status"] == "running").fillna(""),
        elapsed=pd.to_timedelta(elapsed.astype(float).round(), unit="s"),
        remaining=pd.to_timedelta(frame["remaining_s"].astype(float).round(), unit="s"),
        created=words.times(frame["created_at"]),
        kind=[engine(kind, spec) for kind, spec in zip(frame["kind"], frame["spec"], strict=True)],
        actions=menus,
    )


def engine(kind: str, spec: str) -> str:
    """Return the engine of a job, with the algorithm where it has one."""
    algorithm = json.loads(spec).get("algorithm")
    return kinds.label(kind) + (f": {algorithm}" if algorithm else "")


def config() -> dict[str, Any]:
    """Return how the table is drawn, and what its buttons do."""
    column = st.column_config
    return {
        "job": column.ButtonColumn(
            "Job", type="tertiary", alignment="left", pinned=True, key="open_job", on_click=open_job
        ),
        "state": column.MultiselectColumn(
            "State", options=list(words.STATUSES), color=STATUS_COLORS, format_func=str.capitalize
        ),
        "kind": "Engine",
        "progress": column.ProgressColumn("Progress", format="percent", min_value=0, max_value=1),
        "dataset": "Dataset",
        "stage": "Stage",
        "n_trials": column.NumberColumn("Trials", format="localized"),
        "elapsed": column.NumberColumn("Elapsed", format="compact"),
        "remaining": column.NumberColumn("Remaining", format="compact", help="The job's own estimate"),
        "priority": "Priority",
        "note": column.TextColumn("Note", width="medium"),
        "owner": "Owner",
        "created": column.DatetimeColumn("Submitted", format="calendar"),
        "actions": column.ButtonColumn("Actions", type="tertiary", key="act_on_job", on_click=act),
    }  # fmt: skip


def open_job() -> None:
    """Open the clicked job."""
    st.switch_page(links.JOB, query_params={"job": st.session_state.open_job.label.rpartition(" ")[2]})


def act() -> None:
    """Do what was chosen in a row's menu."""
    action, job_id = actions.of_row_label(st.session_state.act_on_job.label)
    if action == "Clone and edit":
        actions.clone(job_id, jobs.get(job_id).kind)
    elif action == "More time":
        st.switch_page(links.JOB, query_params={"job": str(job_id), "more": "1"})
    else:
        actions.act(action, job_id)


def live(states: list[str], dataset_id: int | None, n_jobs: int) -> None:
    """Draw the part that changes while something is queued or running."""
    with messages.show_errors():
        messages.show_outcome()
        frame = reads.read(jobs.overview, statuses=tuple(states), dataset_id=dataset_id, limit=LIMIT)
        if frame.empty:
            st.info("No job matches these filters.", icon=":material/filter_alt_off:")
            return
        if len(frame) == LIMIT:
            st.caption(f"The first {LIMIT} of {n_jobs:,} jobs. Filter to see others.")
        table(frame)


st.title("Jobs")
with messages.show_errors():
    counts = reads.read(jobs.counts)
    if not counts:
        messages.empty("No job has been submitted yet.", links.NEW_JOB, "Start a new job")
    else:
        states, dataset_id = filters()
        moving = counts.get("queued", 0) + counts.get("running", 0)
        st.fragment(live, run_every=reads.LIVE_S if moving else None)(states, dataset_id, sum(counts.values()))
