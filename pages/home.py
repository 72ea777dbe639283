"""Home: the runners, the queue, the machine, recent results, and the first steps on an empty store."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core import datasets, machine, results
from core.queue import jobs, runners
from pages import actions, links, reads, words
from pages.parts import messages


@st.fragment(run_every=reads.LIVE_S * 2)
def live() -> None:
    """Draw the part that changes by itself."""
    with messages.show_errors():
        alive = reads.read(runners.alive)
        counts = reads.read(jobs.counts)
        runner_state(alive, counts.get("queued", 0))
        queue(counts, len(alive))
        usage(alive[0].machine if alive else machine.usage(), alive[0].host if alive else "this machine")
        running()


def runner_state(alive: list[runners.Runner], n_queued: int) -> None:
    """Draw how to start a runner where none is running."""
    if alive:
        return
    waiting = f" {n_queued:,} {'job is' if n_queued == 1 else 'jobs are'} waiting." if n_queued else ""
    st.warning(
        f"Jobs need a runner.{waiting} Start one in the project's folder with the command below,"
        " or start the dashboard with make run, which starts both.",
        title="No runner is running",
        icon=":material/power_off:",
    )
    st.code(words.START_RUNNER, language="bash")


def queue(counts: dict[str, int], n_runners: int) -> None:
    """Draw the numbers of the queue."""
    n_paused = counts.get("paused", 0)
    with st.grid(5 if n_paused else 4, min_column_width=150):
        st.metric("Runners online", n_runners, icon=":material/memory:", border=True)
        st.metric("Queued jobs", counts.get("queued", 0), icon=":material/schedule:", border=True)
        st.metric("Running jobs", counts.get("running", 0), icon=":material/play_circle:", border=True)
        if n_paused:
            st.metric("Paused jobs", n_paused, icon=":material/pause_circle:", border=True)
        ended = {state: counts.get(state, 0) for state in jobs.ENDED}
        detail = ", ".join(f"{n:,} {state}" for state, n in ended.items() if n)
        st.metric("Ended jobs", sum(ended.values()), icon=":material/check_circle:", border=True, help=detail or None)


def usage(used: dict[str, Any], where: str) -> None:
    """Draw how busy the machine is."""
    st.subheader("Machine")
    with st.grid(3, min_column_width=220):
        meter("CPU", used.get("cpu_frac", 0.0), f"{used.get('cores') or '?'} cores of {where}")
        memory = used.get("memory_bytes") or 1
        detail = f"{words.size(used.get('memory_used_bytes'))} of {words.size(memory)}"
        meter("Memory", used.get("memory_used_bytes", 0) / memory, detail)
        for gpu in used.get("gpus", ()):
            meter(words.plain(gpu["name"]), gpu["use_frac"] or 0.0, f"{words.size(gpu['memory_used_bytes'])} in use")


def meter(name: str, fraction: float, detail: str) -> None:
    """Draw one bar of use."""
    with st.container(border=True, gap="xsmall"):
        st.progress(min(1.0, max(0.0, fraction)), text=f"**{name}** {fraction:.0%}")
        st.caption(words.plain(detail))


def running() -> None:
    """Draw the running jobs."""
    frame = reads.read(jobs.overview, statuses=("running",), limit=5)
    if frame.empty:
        return
    st.subheader("Running now")
    for row in frame.to_dict("records"):
        with st.container(horizontal=True, vertical_alignment="center"):
            links.link(links.JOB, f"Job {row['id']}", icon=words.STATUSES["running"][1], job=row["id"])
            text = words.plain(f"{row['dataset']}: {row['stage'] or 'starting'}")
            st.progress(float(row["fraction"] or 0), text=text)


def recent() -> None:
    """Draw the best trial of each of the last jobs."""
    frame = reads.read(results.recent_results)
    st.subheader("Recent results")
    if frame.empty:
        messages.empty("No job has finished a trial yet.", links.NEW_JOB, "Start a new job")
        return
    rows = frame.assign(
        metric=frame["metric"].map(words.metric_label),
        result=[words.interval(*row) for row in frame[["test", "lower", "upper"]].itertuples(index=False)],
        finished_at=words.times(frame["finished_at"]),
        open=":material/deployed_code: Job " + frame["job_id"].astype(str),
    )
    config = recent_columns(list(frame["job_id"]))
    st.dataframe(
        rows, column_order=list(config), column_config=config, hide_index=True, key="recent",
        alt="Best trial of each of the last finished jobs",
    )  # fmt: skip


def recent_columns(job_ids: list[int]) -> dict[str, Any]:
    """Return how the table of recent results is drawn."""
    column = st.column_config
    return {
        "open": column.ButtonColumn(
            "Job", type="tertiary", alignment="left", key="open_recent", on_click=open_recent, args=(job_ids,)
        ),
        "dataset": "Dataset",
        "algorithm": column.TextColumn("Best algorithm", help="By validation score"),
        "metric": "Metric",
        "result": column.TextColumn("Test score", help="With its 95% interval"),
        "finished_at": column.DatetimeColumn("Finished", format="calendar"),
    }


def open_recent(job_ids: list[int]) -> None:
    """Go to the clicked row's job."""
    st.switch_page(links.JOB, query_params={"job": str(job_ids[st.session_state.open_recent.row])})


def first_steps() -> None:
    """Draw three steps to the first leaderboard, for a store without data."""
    st.subheader("First steps")
    with st.grid(3, min_column_width=260):
        with st.container(border=True, height="stretch"):
            st.markdown("**1. Add a dataset**")
            st.caption("A built-in sample needs no file.")
            st.space("stretch")
            if st.button("Add the breast cancer sample", type="primary", icon=":material/add:"):
                dataset = datasets.add_sample("breast_cancer", owner=actions.user())
                st.switch_page(links.ADVICE, query_params={"dataset": dataset.name})
            links.link(links.ADD_DATASET, "Add your own data")
        with st.container(border=True, height="stretch"):
            st.markdown("**2. Follow the advice**")
            st.caption("See which models should do best, learned from past runs, and start them with one button.")
        with st.container(border=True, height="stretch"):
            st.markdown("**3. Read the leaderboard**")
            st.caption("Every model is scored on the same test rows, with an interval, its cost and a download.")


st.title("Metascout")
st.caption("Find the model that works for your data, and how confident you can be in it.")
if not reads.read(datasets.all_datasets):
    with messages.show_errors():
        first_steps()
live()
recent()
