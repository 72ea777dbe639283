"""Home: is a runner alive, what waits, what the machine does, what came out lately, and the first steps."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core import datasets, machine, results
from core.queue import jobs, runners
from pages import actions, links, reads, words
from pages.parts import messages


@st.fragment(run_every=reads.LIVE_S * 2)
def live() -> None:
    """The part that changes by itself."""
    with messages.show_errors():
        alive = reads.read(runners.alive)
        counts = reads.read(jobs.counts)
        runner_state(alive, counts.get("queued", 0))
        queue(counts, len(alive))
        usage(alive[0].machine if alive else machine.usage(), alive[0].host if alive else "this machine")
        running()


def runner_state(alive: list[runners.Runner], queued: int) -> None:
    """How to start a runner where none is alive."""
    if alive:
        return
    waiting = f" {queued:,} {'job is' if queued == 1 else 'jobs are'} waiting." if queued else ""
    st.warning(
        f"Jobs start once a runner is alive.{waiting} Start one in the project's folder as below,"
        " or stop this dashboard and let make run start both.",
        title="No runner is alive",
        icon=":material/power_off:",
    )
    st.code(words.START_RUNNER, language="bash")


def queue(counts: dict[str, int], n_runners: int) -> None:
    """The numbers of the queue."""
    paused = counts.get("paused", 0)
    with st.grid(5 if paused else 4, min_column_width=150):
        st.metric("Runners alive", n_runners, icon=":material/memory:", border=True)
        st.metric("Queued jobs", counts.get("queued", 0), icon=":material/schedule:", border=True)
        st.metric("Running jobs", counts.get("running", 0), icon=":material/play_circle:", border=True)
        if paused:
            st.metric("Paused jobs", paused, icon=":material/pause_circle:", border=True)
        ended = {state: counts.get(state, 0) for state in jobs.ENDED}
        told = ", ".join(f"{n:,} {state}" for state, n in ended.items() if n)
        st.metric("Ended jobs", sum(ended.values()), icon=":material/check_circle:", border=True, help=told or None)


def usage(used: dict[str, Any], where: str) -> None:
    """How busy the machine is."""
    st.subheader("Machine")
    with st.grid(3, min_column_width=220):
        meter("CPU", used.get("cpu_frac", 0.0), f"{used.get('cores') or '?'} cores of {where}")
        memory = used.get("memory_bytes") or 1
        told = f"{words.size(used.get('memory_used_bytes'))} of {words.size(memory)}"
        meter("Memory", used.get("memory_used_bytes", 0) / memory, told)
        for gpu in used.get("gpus", ()):
            meter(words.plain(gpu["name"]), gpu["use_frac"] or 0.0, f"{words.size(gpu['memory_used_bytes'])} in use")


def meter(name: str, fraction: float, told: str) -> None:
    """One bar of use."""
    with st.container(border=True, gap="xsmall"):
        st.progress(min(1.0, max(0.0, fraction)), text=f"**{name}** {fraction:.0%}")
        st.caption(words.plain(told))


def running() -> None:
    """What runs now."""
    frame = reads.read(jobs.overview, statuses=("running",), limit=5)
    if frame.empty:
        return
    st.subheader("Running now")
    for row in frame.to_dict("records"):
        with st.container(horizontal=True, vertical_alignment="center"):
            links.link(links.JOB, f"Job {row['id']}", icon=words.STATUSES["running"][1], job=row["id"])
            st.progress(
                float(row["fraction"] or 0), text=words.plain(f"{row['dataset']}: {row['stage'] or 'starting'}")
            )


def recent() -> None:
    """The best trial of each of the last jobs."""
    frame = reads.read(results.recent_results)
    st.subheader("Recent results")
    if frame.empty:
        messages.empty("No job has left a trial yet.", links.NEW_JOB, "Start a new job")
        return
    shown = frame.assign(
        metric=frame["metric"].map(words.metric_label),
        result=[words.interval(*row) for row in frame[["test", "lower", "upper"]].itertuples(index=False)],
        finished_at=words.times(frame["finished_at"]),
        open=":material/deployed_code: Job " + frame["job_id"].astype(str),
    )
    st.dataframe(
        shown,
        column_order=["open", "dataset", "algorithm", "metric", "result", "finished_at"],
        column_config={
            "open": st.column_config.ButtonColumn(
                "Job",
                type="tertiary",
                alignment="left",
                key="open_recent",
                on_click=open_recent,
                args=(list(frame["job_id"]),),
            ),
            "dataset": "Dataset",
            "algorithm": "Best by valid",
            "metric": "Metric",
            "result": "On test, with 95% interval",
            "finished_at": st.column_config.DatetimeColumn("Finished", format="calendar"),
        },
        hide_index=True,
        key="recent",
        alt="Best trial of each of the last finished jobs",
    )


def open_recent(job_ids: list[int]) -> None:
    """Go to the clicked row's job."""
    st.switch_page(links.JOB, query_params={"job": str(job_ids[st.session_state.open_recent.row])})


def first_steps() -> None:
    """For a store without data: three steps to the first leaderboard."""
    st.subheader("First steps")
    with st.grid(3, min_column_width=260):
        with st.container(border=True, height="stretch"):
            st.markdown("**1. Take a table**")
            st.caption("A built-in sample needs no file.")
            st.space("stretch")
            if st.button("Add the breast cancer sample", type="primary", icon=":material/add:"):
                dataset = datasets.add_sample("breast_cancer", owner=actions.user())
                st.switch_page(links.ADVICE, query_params={"dataset": dataset.name})
            links.link(links.ADD_DATASET, "Or add your own table", icon=":material/upload_file:")
        with st.container(border=True, height="stretch"):
            st.markdown("**2. Read the advice**")
            st.caption(
                "Which models will do best on it, learned from past runs, before anything runs. One button runs them."
            )
        with st.container(border=True, height="stretch"):
            st.markdown("**3. Read the leaderboard**")
            st.caption("Every model is scored on the same test rows, with its interval, its cost and its file.")


st.title("Metascout")
st.caption("Find the model that works for your table, and know how sure that is.")
if not reads.read(datasets.all_datasets):
    with messages.show_errors():
        first_steps()
live()
recent()
