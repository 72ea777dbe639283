"""The buttons of a job's page, and the form that gives a search more time."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import streamlit as st

from core.errors import MetascoutError
from core.queue import jobs
from pages import actions, links
from pages.parts import messages


def buttons(job: jobs.Job) -> None:
    """Draw what can be done with the job now."""
    draw = {
        "Pause": pause_or_resume, "Resume": pause_or_resume, "More time": more, "Cancel": cancel, "Retry": retry,
        "Clone and edit": clone,
    }  # fmt: skip
    names = [name for name in draw if name in actions.available(job.status, job.kind)]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        for name in names:
            draw[name](job)
        if job.status == "queued":
            priority(job)


def _button(name: str, key: str, **options: Any) -> bool:
    action = actions.ACTIONS[name]
    return st.button(name, icon=action.icon, key=key, help=action.help or None, **options)


def pause_or_resume(job: jobs.Job) -> None:
    """Draw the button that pauses a queued or running job, or resumes a paused one."""
    paused = job.status == "paused"
    name = "Resume" if paused else "Pause"
    _button(
        name, name.lower(), type="primary" if paused else "secondary",
        disabled=not paused and (job.pause_requested or job.cancel_requested),
        on_click=partial(actions.act, name, job.id),
    )  # fmt: skip


def cancel(job: jobs.Job) -> None:
    """Draw the button that cancels the job."""
    _button("Cancel", "cancel", on_click=partial(actions.act, "Cancel", job.id), disabled=job.cancel_requested)


def retry(job: jobs.Job) -> None:
    """Draw the button that queues the job again, and go to the new job."""
    if _button("Retry", "retry"):
        new_id = actions.act("Retry", job.id)
        if new_id is not None:
            st.switch_page(links.JOB, query_params={"job": str(new_id)})
        st.rerun()


def clone(job: jobs.Job) -> None:
    """Draw the button that opens the form with the job's values."""
    if _button("Clone and edit", "clone"):
        actions.clone(job.id, job.kind)


def priority(job: jobs.Job) -> None:
    """Draw the priority of a queued job, which can be changed."""
    key = f"priority_of_{job.id}"
    st.number_input(
        "Priority", value=job.priority, key=key, width=140, on_change=partial(set_priority, job.id, key),
        help="From -100 to 100; higher goes first",
    )  # fmt: skip


def set_priority(job_id: int, key: str) -> None:
    """Set the priority that was typed."""
    actions.act("Raise", job_id, int(st.session_state[key] or 0))


def more(job: jobs.Job) -> None:
    """Draw the form that gives a paused or ended search more time; the link's ?more= opens it."""
    key = f"more_of_{job.id}_{job.attempt}"  # the form of the next attempt is closed again
    if "more" in st.query_params:
        del st.query_params["more"]
        st.session_state[key] = True
    panel = st.popover("More time", icon=actions.ACTIONS["More time"].icon, key=key, on_change="rerun")
    if not panel.open:
        return
    with panel, st.form(f"form_{key}", border=False, enter_to_submit=False):
        amounts = more_fields(job)
        if st.form_submit_button("Continue", type="primary", icon=":material/play_arrow:", key="go_on"):
            give_more(job, amounts)


def more_fields(job: jobs.Job) -> dict[str, int | None]:
    """Draw how much more: a paused search gets it on top of its budget, an ended one has a new job with it."""
    paused, body = job.status == "paused", json.loads(job.spec_text)
    st.caption(
        "Added to the job's budget. Empty fields add nothing."
        if paused else "A new job continues where this one stopped and trains new finalists. This job's trials stay."
    )  # fmt: skip
    fields = {"more_s": ("Additional seconds", "budget_s")}
    if "max_candidates" in body:
        fields["more_candidates"] = ("Additional candidates", "max_candidates")
    if body.get("max_candidate_epochs"):
        fields["more_candidate_epochs"] = ("Additional candidate-epochs", "max_candidate_epochs")
    return {
        name: st.number_input(label, value=None if paused else int(body[field]), step=1, key=f"{name}_{job.id}")
        for name, (label, field) in fields.items()
    }


def give_more(job: jobs.Job, amounts: dict[str, int | None]) -> None:
    """Resume or continue the job and open it, or say why that is not possible."""
    try:
        job_id = actions.give_more(job, amounts)
    except MetascoutError as error:
        messages.show(error)
        return
    if job_id != job.id:
        st.switch_page(links.JOB, query_params={"job": str(job_id)})
    st.rerun()
