"""Jobs: the queue and what has ended, with filters that the link keeps."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import streamlit as st

from core import datasets, kinds
from core.queue import jobs
from pages import shared

LIMIT = 200
# Each label ends in the job's id: rows move while the table lives, and a click must not hit another job.
PAUSE, RESUME = ":material/pause: Pause job {}", ":material/play_arrow: Resume job {}"
MORE = ":material/more_time: More time for job {}"
CANCEL, RETRY = ":material/cancel: Cancel job {}", ":material/replay: Retry job {}"
CLONE = ":material/content_copy: Clone and edit job {}"
RAISE, LOWER = ":material/arrow_upward: Raise priority of job {}", ":material/arrow_downward: Lower priority of job {}"
ACTIONS = {
    "queued": [RAISE, LOWER, PAUSE, CANCEL, CLONE],
    "running": [PAUSE, CANCEL, CLONE],
    "paused": [RESUME, MORE, CANCEL, CLONE],
}
ENDED = [MORE, RETRY, CLONE]
SHOWN = [
    "job",
    "state",
    "kind",
    "progress",
    "actions",
    "dataset",
    "n_trials",
    "elapsed",
    "remaining",
    "stage",
    "priority",
]
SHOWN += ["note", "owner", "created"]


def filters() -> tuple[list[str], int | None]:
    """The states and the dataset to keep."""
    known = shared.read(datasets.all_datasets)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        states = st.pills(
            "State", list(shared.STATUSES), selection_mode="multi", key="state", bind="query-params",
            format_func=str.capitalize,
        )  # fmt: skip
        dataset = shared.pick_dataset(known, key="jobs_dataset", placeholder="All datasets", width=280)
    return list(states), dataset.id if dataset else None


def table(frame: pd.DataFrame) -> None:
    """The jobs, one a row, each with what can be done with it."""
    st.dataframe(
        shown(frame),
        column_order=SHOWN,
        column_config=config(),
        hide_index=True,
        height="content" if len(frame) <= 18 else 680,
        key="jobs",
        placeholder="",
        alt="Jobs, running ones first, then the queue in its order, then those paused or ended",
    )


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """The overview as people read it."""
    elapsed = frame["elapsed_s"].where(frame["status"] != "running", shared.now() - frame["started_at"].astype(float))
    return frame.assign(
        job=":material/deployed_code: Job " + frame["id"].astype(str),
        state=[[status] for status in frame["status"]],
        progress=frame["fraction"].fillna(0.0),
        stage=frame["stage"].where(frame["status"] == "running").fillna(""),
        elapsed=pd.to_timedelta(elapsed.astype(float).round(), unit="s"),
        remaining=pd.to_timedelta(frame["remaining_s"].astype(float).round(), unit="s"),
        created=shared.times(frame["created_at"]),
        kind=[engine(kind, spec) for kind, spec in zip(frame["kind"], frame["spec"], strict=True)],
        actions=[actions(*row) for row in zip(frame["status"], frame["id"], frame["kind"], strict=True)],
    )


def engine(kind: str, spec: str) -> str:
    """The engine of a job, with the algorithm where it has one."""
    algorithm = json.loads(spec).get("algorithm")
    return shared.ENGINES.get(kind, kind) + (f": {algorithm}" if algorithm else "")


def actions(status: str, job_id: int, kind: str) -> list[str]:
    """What can be done with a job, as its row's menu says it."""
    offered = ACTIONS.get(status, ENDED)
    missing = set() if kinds.of(kind).resumable else {PAUSE, RESUME, MORE}
    if status in jobs.ENDED and not kinds.of(kind).continuable:
        missing.add(MORE)
    return [label.format(job_id) for label in offered if label not in missing]


def config() -> dict[str, Any]:
    """How the table is drawn, and what its buttons do."""
    column = st.column_config
    return {
        "job": column.ButtonColumn("Job", type="tertiary", alignment="left", pinned=True, key="open_job", on_click=go),
        "state": column.MultiselectColumn(
            "State", options=list(shared.STATUSES), color=shared.STATUS_COLORS, format_func=str.capitalize
        ),
        "kind": "Engine",
        "progress": column.ProgressColumn("Progress", format="percent", min_value=0, max_value=1),
        "dataset": "Dataset",
        "stage": "Doing",
        "n_trials": column.NumberColumn("Trials", format="localized"),
        "elapsed": column.NumberColumn("Elapsed", format="compact"),
        "remaining": column.NumberColumn("Remaining", format="compact", help="The job's own estimate"),
        "priority": "Priority",
        "note": column.TextColumn("Note", width="medium"),
        "owner": "Owner",
        "created": column.DatetimeColumn("Submitted", format="calendar"),
        "actions": column.ButtonColumn("Actions", type="tertiary", key="act_on_job", on_click=act),
    }


def go() -> None:
    """Open the clicked job."""
    st.switch_page(shared.JOB, query_params={"job": st.session_state.open_job.label.rpartition(" ")[2]})


def act() -> None:
    """Do what was chosen in a row's menu."""
    action, _, job_id = st.session_state.act_on_job.label.partition(": ")[2].rpartition(" job ")
    if action == "Clone and edit":
        shared.clone(int(job_id), jobs.get(int(job_id)).kind)
    if action == "More time for":
        st.switch_page(shared.JOB, query_params={"job": job_id, "more": "1"})
    shared.act_on_job(action, int(job_id))


def live(states: list[str], dataset_id: int | None, everything: int) -> None:
    """The part that changes while something is queued or running."""
    with shared.sentences():
        shared.told()
        frame = shared.read(jobs.overview, statuses=tuple(states), dataset_id=dataset_id, limit=LIMIT)
        if frame.empty:
            st.info("No job fits these filters.", icon=":material/filter_alt_off:")
            return
        if len(frame) == LIMIT:
            st.caption(f"The first {LIMIT} of {everything:,} jobs. Filter to see others.")
        table(frame)


st.title("Jobs")
with shared.sentences():
    counts = shared.read(jobs.counts)
    if not counts:
        shared.empty("No job has been submitted yet.", shared.NEW_JOB, "Start a new job")
    else:
        chosen = filters()
        moving = counts.get("queued", 0) + counts.get("running", 0)
        st.fragment(live, run_every=shared.LIVE_S if moving else None)(*chosen, sum(counts.values()))
