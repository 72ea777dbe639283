"""Job (/job?job=12): its state, its results, its log, spec, environment and history, and its buttons."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from typing import Any

import streamlit as st

from core import datasets, kinds
from core.errors import InputError
from core.queue import jobs, log, runners
from pages import links, reads, words
from pages.parts import job_buttons, job_facts, messages
from pages.parts.results import trial_results

MOVING = ("queued", "running")
WARNINGS = 3  # that the top of an ended job shows


def live(job_id: int, was_moving: bool) -> None:
    """Draw everything below the title; again every two seconds while the job moves."""
    with messages.show_errors():
        job = reads.read(jobs.get, job_id)
        if was_moving != (job.status in MOVING):
            st.rerun()  # the page is still from now on, or moves again
        results = results_of(job)
        messages.show_outcome()
        header(job, results)
        job_buttons.buttons(job)
        draw_tabs(job, results)


def results_of(job: jobs.Job) -> Any:
    """Return the part that draws the results of jobs of this kind (see pages/parts/results)."""
    kind = kinds.find(job.kind)
    return kinds.load(kind.results) if kind else trial_results


def draw_tabs(job: jobs.Job, results: Any) -> None:
    """Draw the tabs: those of the job's kind, then those that every job has."""
    tabs: dict[str, Callable[[jobs.Job], None]] = {
        **results.tabs(job), "Log": job_facts.log_lines, "Spec": job_facts.spec, "Environment": job_facts.environment,
        "History": job_facts.history,
    }  # fmt: skip
    for tab, draw in zip(
        st.tabs(list(tabs), key="tab", bind="query-params", on_change="rerun"), tabs.values(), strict=True
    ):
        if tab.open:
            with tab:
                draw(job)


def header(job: jobs.Job, results: Any) -> None:
    """Draw the state, the error with its remedy, the progress and the times."""
    with st.container(horizontal=True, vertical_alignment="center"):
        messages.badge(job.status)
        if job.cancel_requested and job.status == "running":
            st.badge("Stopping", icon=":material/hourglass_bottom:", color="orange")
        elif job.pause_requested and job.status == "running":
            st.badge("Pausing", icon=":material/hourglass_bottom:", color="violet")
        name = reads.read(datasets.get, job.dataset_id).name
        links.link(links.DATASET, words.plain(name), dataset=name)
        links.link(results.BOARD, dataset=name)
        relatives(job)
    if job.note:
        st.text(job.note)
    problems(job)
    if job.status in MOVING and not reads.read(runners.alive):
        st.warning("No runner is running, so this job waits. Home says how to start one.", icon=":material/power_off:")
    if job.status not in jobs.ENDED:
        waiting = {"queued": f"Waiting in the queue with priority {job.priority}", "paused": "Paused at a checkpoint"}
        stage = waiting.get(job.status) or job.stage or "Starting"
        st.progress(min(1.0, job.fraction or 0.0), text=words.plain(stage))
    figures(job, results)


def relatives(job: jobs.Job) -> None:
    """Draw links to the job that this one continues, and to those that continue it."""
    if job.continues is not None:
        links.link(links.JOB, f"Continues job {job.continues}", icon=":material/undo:", job=job.continues)
    kind = kinds.find(job.kind)
    for later in reads.read(jobs.continuations, job.id) if kind and kind.continuable else ():
        links.link(links.JOB, f"Continued by job {later}", icon=":material/redo:", job=later)


def problems(job: jobs.Job) -> None:
    """Draw the job's error, and the newest warnings in the log of an ended one."""
    if job.error:
        title = {"failed": "The job failed", "cancelled": "The job was cancelled"}.get(job.status, "Note")
        (st.error if job.status == "failed" else st.warning)(
            words.plain(job.error), title=title, icon=":material/error:"
        )
    texts = reads.read(log.warnings, job.id) if job.status in jobs.ENDED else []
    lines = [words.plain(textwrap.shorten(text, 400, placeholder=" …")) for text in texts[:WARNINGS]]
    if len(texts) > WARNINGS:
        lines.append(f"{len(texts) - WARNINGS:,} more in the log")
    if lines:
        st.warning(lines[0] if len(lines) == 1 else "\n".join(f"- {line}" for line in lines), icon=":material/warning:")


def figures(job: jobs.Job, results: Any) -> None:
    """Draw the numbers of the job."""
    with st.grid(5, min_column_width=140):
        st.metric("Done", f"{job.fraction or 0:.0%}", border=True)
        st.metric("Elapsed", words.duration(job.elapsed_s), border=True)
        if job.status in jobs.ENDED:
            ended = words.moment(job.finished_at) if job.finished_at else None
            st.metric("Ended", ended.rpartition(", ")[2] if ended else words.NONE, border=True, help=ended)
        else:
            st.metric("Remaining", words.duration(job.remaining_s), border=True, help="The job's own estimate")
        for name, value in results.figures(job).items():
            st.metric(name, value, border=True)
        if job.attempt > 1:
            st.metric("Attempt", job.attempt, border=True, help="An interrupted or paused job starts a new attempt")


def show() -> None:
    """Draw the page."""
    job_id = links.id_of("job")
    if job_id is None:
        raise InputError("The link names no job. Choose one in the list.")
    job = reads.read(jobs.get, job_id)
    links.name_tab(f"Job {job_id}")
    st.title(f"Job {job_id}")
    algorithm = json.loads(job.spec_text).get("algorithm")
    kind = kinds.label(job.kind) + (f", {algorithm}," if algorithm else "")
    st.caption(words.plain(f"{kind} submitted by {job.owner}, {words.moment(job.created_at)}"))
    moving = job.status in MOVING
    st.fragment(live, run_every=reads.LIVE_S if moving else None)(job_id, moving)


with messages.show_errors():
    try:
        show()
    except InputError as error:
        messages.dead_end("Job", error, links.JOBS, "All jobs")
