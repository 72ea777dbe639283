"""What can be done with a job: the buttons of its page, and the question for more time."""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from core import kinds
from core.errors import MetascoutError
from core.queue import jobs
from pages import shared


def buttons(job: dict[str, Any]) -> None:
    """What can be done with the job now."""
    ended, resumable = job["status"] in jobs.ENDED, kinds.of(job["kind"]).resumable
    continuable = kinds.of(job["kind"]).continuable
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if resumable and not ended:
            pause_or_resume(job)
        if (continuable and ended) or (resumable and job["status"] == "paused"):
            more(job)
        if not ended:
            st.button(
                "Cancel", icon=":material/cancel:", key="cancel", on_click=act,
                args=("Cancel", job["id"]), disabled=bool(job["cancel_requested"]),
                help="A waiting job is cancelled at once. A running one stops soon and keeps its finished trials.",
            )  # fmt: skip
        elif st.button("Retry", icon=":material/replay:", key="retry", help="Queue the same spec again as a new job"):
            retry(job["id"])
        if st.button(
            "Clone and edit", icon=":material/content_copy:", key="clone", help="Open the form with these values"
        ):
            shared.clone(job["id"], job["kind"])
        if job["status"] == "queued":
            key = f"priority_of_{job['id']}"
            st.number_input("Priority", value=int(job["priority"]), key=key, width=140, on_change=move,
                            args=(job["id"], key), help="From -100 to 100; higher goes first")  # fmt: skip


def pause_or_resume(job: dict[str, Any]) -> None:
    """Pause what waits or runs, resume what is paused."""
    paused = job["status"] == "paused"
    word, icon = ("Resume", ":material/play_arrow:") if paused else ("Pause", ":material/pause:")
    told = "Go on from the checkpoint" if paused else "Stop after a checkpoint, from which the job can go on later"
    asked = bool(job["pause_requested"] or job["cancel_requested"]) and not paused
    st.button(
        word, icon=icon, key=word.lower(), type="primary" if paused else "secondary", disabled=asked, help=told,
        on_click=act, args=(word, job["id"]),
    )  # fmt: skip


def more(job: dict[str, Any]) -> None:
    """Ask how much more a paused or ended search may have; the link's ?more= opens the question."""
    key = f"more_of_{job['id']}_{job['attempt']}"  # the next attempt's question is closed again
    if "more" in st.query_params:
        del st.query_params["more"]
        st.session_state[key] = True
    panel = st.popover("More time", icon=":material/more_time:", key=key, on_change="rerun")
    if not panel.open:
        return
    with panel, st.form(f"form_{key}", border=False, enter_to_submit=False):
        given = asked(job, json.loads(job["spec"]))
        if st.form_submit_button("Go on", type="primary", icon=":material/play_arrow:", key="go_on"):
            go_on(job, given)


def asked(job: dict[str, Any], body: dict[str, Any]) -> dict[str, int | None]:
    """How much more: for a paused search it is added to what it had, for an ended one a new job gets it."""
    paused = job["status"] == "paused"
    st.caption(
        "Added to the job's budget; leave empty what should stay as it is."
        if paused else "A new job goes on from where this one stopped and trains new finalists; this one's trials stay."
    )  # fmt: skip
    fields = {"more_s": ("Seconds more", "budget_s")}
    if "max_candidates" in body:
        fields["more_candidates"] = ("Candidates more", "max_candidates")
    if body.get("max_candidate_epochs"):
        fields["more_candidate_epochs"] = ("Candidate-epochs more", "max_candidate_epochs")
    return {
        name: st.number_input(label, value=None if paused else int(body[field]), step=1, key=f"{name}_{job['id']}")
        for name, (label, field) in fields.items()
    }


def go_on(job: dict[str, Any], given: dict[str, int | None]) -> None:
    """Resume the paused job, or queue the one that continues the ended one and open it; else say why not."""
    try:
        if job["status"] == "paused":
            jobs.resume(job["id"], **given)
            made, text = job["id"], f"Job {job['id']} is queued again and goes on where it paused."
        else:
            made = jobs.extend(job["id"], **given, user=shared.user())
            text = f"Job {made} is queued and goes on where job {job['id']} stopped."
    except MetascoutError as error:
        shared.say(error)
        return
    st.session_state["told"] = "success", text
    if made != job["id"]:
        st.switch_page(shared.JOB, query_params={"job": str(made)})
    st.rerun()


def act(action: str, job_id: int) -> None:
    """Do what a button says."""
    shared.act_on_job(action, job_id)


def retry(job_id: int) -> None:
    """Queue the job again and go to the new one."""
    made = shared.act_on_job("Retry", job_id)
    if made is not None:
        st.switch_page(shared.JOB, query_params={"job": str(made)})
    st.rerun()


def move(job_id: int, key: str) -> None:
    """Set the priority that was typed."""
    shared.act_on_job("Move", job_id, int(st.session_state[key] or 0))
