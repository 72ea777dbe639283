"""What a person may do with a job: which actions fit its state and kind, and what each does and says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import streamlit as st

from core import kinds
from core.errors import MetascoutError
from core.queue import jobs
from pages import links, words


@dataclass(frozen=True, slots=True)
class Action:
    """A button's icon, its help, and how a row of the list of jobs words it before the job's id."""

    icon: str
    row: str
    help: str = ""


ACTIONS = {
    "Raise": Action(":material/arrow_upward:", "Raise priority of job"),
    "Lower": Action(":material/arrow_downward:", "Lower priority of job"),
    "Pause": Action(":material/pause:", "Pause job", "Stop after the next checkpoint; the job can be resumed later"),
    "Resume": Action(":material/play_arrow:", "Resume job", "Continue from the checkpoint"),
    "More time": Action(":material/more_time:", "More time for job"),
    "Cancel": Action(
        ":material/cancel:", "Cancel job",
        "A waiting job is cancelled at once. A running one stops shortly and keeps its finished trials.",
    ),
    "Retry": Action(":material/replay:", "Retry job", "Queue the same spec again as a new job"),
    "Clone and edit": Action(":material/content_copy:", "Clone and edit job", "Open the form with these values"),
}  # fmt: skip
_BY_STATUS = {
    "queued": ("Raise", "Lower", "Pause", "Cancel", "Clone and edit"),
    "running": ("Pause", "Cancel", "Clone and edit"),
    "paused": ("Resume", "More time", "Cancel", "Clone and edit"),
}
_ENDED = ("More time", "Retry", "Clone and edit")
_OF_ANY_KIND = ("Raise", "Lower", "Cancel")  # also of one that only a newer version knows


def user() -> str:
    """Return the e-mail of who is signed in, else "local"."""
    return str(st.user.get("email") or "local") if st.user.get("is_logged_in") else "local"


def save_outcome(kind: Literal["success", "error"], text: str) -> None:
    """Save what an action led to, for the next run of the page to show."""
    st.session_state["outcome"] = kind, text


def available(status: str, kind_name: str) -> list[str]:
    """Return the names of the actions that fit a job's state and kind, in the order of menus."""
    names = _BY_STATUS.get(status, _ENDED)
    kind = kinds.find(kind_name)
    if kind is None:
        return [name for name in names if name in _OF_ANY_KIND]
    missing = set() if kind.resumable else {"Pause", "Resume", "More time"}
    if status in jobs.ENDED and not kind.continuable:
        missing.add("More time")
    if not (kind.form or kind.page):
        missing.add("Clone and edit")
    return [name for name in names if name not in missing]


def row_label(action: str, job_id: int) -> str:
    """Return an action as a row of the list of jobs words it: with the job's id, since rows move."""
    return f"{ACTIONS[action].icon} {ACTIONS[action].row} {job_id}"


def of_row_label(label: str) -> tuple[str, int]:
    """Return the action and the job's id of a `row_label`."""
    text, _, job_id = label.rpartition(" ")
    return next(name for name, action in ACTIONS.items() if text == f"{action.icon} {action.row}"), int(job_id)


def act(action: str, job_id: int, priority: int | None = None) -> int | None:
    """Do an action (or set `priority`) and save what to say of it; returns the new job's id after a retry."""
    try:
        text, new_id = _set_priority(job_id, priority) if priority is not None else _do(action, job_id)
    except MetascoutError as error:
        save_outcome("error", words.sentence(error))
        return None
    save_outcome("success", f"Job {job_id} {text}")
    return new_id


def _do(action: str, job_id: int) -> tuple[str, int | None]:
    """Do an action; returns the end of a sentence about the job, and a new job's id."""
    if action == "Pause":
        paused = jobs.request_pause(job_id) == "paused"
        return "is paused." if paused else "will pause as soon as its checkpoint is written.", None
    if action == "Resume":
        jobs.resume(job_id)
        return "is queued again and will resume where it paused.", None
    if action == "Cancel":
        cancelled = jobs.request_cancel(job_id) == "cancelled"
        return "is cancelled." if cancelled else "will stop within seconds; its results so far stay.", None
    if action == "Retry":
        new_id = jobs.retry(job_id, user=user())
        return f"is queued again as job {new_id}.", new_id
    return _set_priority(job_id, jobs.get(job_id).priority + {"Raise": 1, "Lower": -1}[action])


def _set_priority(job_id: int, priority: int) -> tuple[str, None]:
    jobs.set_priority(job_id, priority)
    return f"now has priority {priority}.", None


def give_more(job: jobs.Job, amounts: dict[str, int | None]) -> int:
    """Resume a paused job with a larger budget, or queue one that continues an ended job; returns the job's id.

    `amounts` are `jobs.resume`'s and `jobs.extend`'s. Raises InputError where they are out of bounds.
    """
    if job.status == "paused":
        jobs.resume(job.id, **amounts)
        save_outcome("success", f"Job {job.id} is queued again and will resume where it paused.")
        return job.id
    new_id = jobs.extend(job.id, **amounts, user=user())
    save_outcome("success", f"Job {new_id} is queued and will continue where job {job.id} stopped.")
    return new_id


def clone(job_id: int, kind_name: str) -> None:
    """Go to the page where such jobs are submitted, with this one's values."""
    kind = kinds.of(kind_name)
    if kind.page:
        st.switch_page(kind.page, query_params={"job": str(job_id)})
    st.switch_page(links.NEW_JOB, query_params={"clone": str(job_id)})
