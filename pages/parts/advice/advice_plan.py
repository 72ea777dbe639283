"""The plan of an advice: the candidates to run, and the form that queues their jobs."""

from __future__ import annotations

import math
from typing import Any

import streamlit as st

from core import advice, kinds, machine, specs
from core.advice import Advice, RankedCandidate
from core.queue import jobs, runners
from core.scoring import METRICS
from core.specs import Spec
from pages import actions, links, reads, words
from pages.parts import messages


def draw(current: Advice, errors: dict[str, float]) -> None:
    """Draw the candidates to run and the form that queues them; `errors` are the test errors of those that have run."""
    st.subheader("Plan")
    text = "Run these and keep the best by validation score. They complement each other: one may win where another"
    text += " fails."
    if current.falls_back:
        text += f" To run a single candidate, take the safe default, {current.single_best}."
    st.caption(words.plain(text))
    by_name = {item.candidate: item for item in current.ranking}
    with st.grid(max(1, len(current.plan)), min_column_width=220):
        for name in current.plan:
            candidate(current, by_name[name], errors.get(name))
    job_ids = reads.read(advice.jobs_of, current.dataset_id)
    with st.container(horizontal=True, vertical_alignment="center"):
        panel = st.popover("Run the plan", icon=":material/play_arrow:", type="primary", key="plan")
        for job_id in job_ids[-4:]:
            status = reads.read(jobs.get, job_id).status
            links.link(links.JOB, f"Job {job_id}: {status}", icon=words.STATUSES[status][1], job=job_id)
    with panel:
        form(current, job_ids)


def candidate(current: Advice, item: RankedCandidate, error: float | None) -> None:
    """Draw one candidate with its predicted value, and its test score once it has run."""
    note = f"90%: {bounds(item)}, fits in about {words.duration(item.fit_s)}"
    if error is not None:
        note = f"actual test score: {value(error)}"
    st.metric(
        words.plain(item.candidate), f"{METRICS[current.metric].label} {value(item.error)}", note,
        delta_color="off", delta_arrow="off", border=True, help="Predicted",
    )  # fmt: skip


def form(current: Advice, job_ids: list[int]) -> None:
    """Draw the jobs of the plan, and queue those that are chosen."""
    with st.form(f"run_plan_{current.id}", border=False, enter_to_submit=False):  # newer advice has another form
        st.caption("The portfolio trains its candidates of the plan and those ranked next.")
        if job_ids:
            st.caption(f"A plan was queued before (last: job {job_ids[-1]}). This adds new jobs.")
        offered = advice.specs_of(current, cpus=min(2, machine.cpu_slots()))
        warm_starts = reads.read(advice.warm_starts, current)
        algorithms = advice.ranked_algorithms(current)
        bodies = [job_fields(number, spec, warm_starts, algorithms) for number, spec in enumerate(offered)]
        if st.form_submit_button("Queue these jobs", type="primary", icon=":material/send:", key=f"queue_{current.id}"):
            queue(current, [body for body in bodies if body is not None])


def job_fields(number: int, spec: Spec, warm_starts: list[int], algorithms: tuple[str, ...]) -> dict[str, Any] | None:
    """Draw one job of the plan; returns the fields of its spec, None if it is not to run."""
    st.markdown(f"**{kinds.label(spec.kind)}**")
    st.caption(words.plain(summary(spec)))
    left, right = st.columns([1, 1], vertical_alignment="bottom")
    runs = left.checkbox("Run", True, key=f"wanted_{number}")
    budget_s = right.number_input("Seconds", value=spec.budget_s, step=30, key=f"budget_{number}")
    body = {**spec.model_dump(mode="json"), "budget_s": budget_s}
    if warm_starts and "starts" in body and st.checkbox(
        f"Start with the best of job {', '.join(map(str, warm_starts))}", key=f"warm_{number}",
        help="From similar datasets. This finds good networks sooner, but explores less.",
    ):  # fmt: skip
        body["starts"] = warm_starts
    top = f"Only the algorithms ranked first: {', '.join(algorithms)}"
    if algorithms and "algorithms" in body and st.checkbox(top, key=f"ranked_{number}"):
        body["algorithms"] = algorithms
    return body if runs else None


def summary(spec: Spec) -> str:
    """Return what a job of the plan trains."""
    names = getattr(spec, "candidates", None) or getattr(spec, "algorithms", None)
    return ", ".join(names) if names else kinds.of(spec.kind).about


def queue(current: Advice, bodies: list[dict[str, Any]]) -> None:
    """Submit the chosen jobs and say so."""
    with messages.show_errors():
        ids = advice.run(current, [specs.parse(body) for body in bodies], user=actions.user())
        names = ", ".join(f"job {job_id}" for job_id in ids)
        st.success(f"Queued: {names}. They run even if you close this page.", icon=":material/check_circle:")
        if not reads.read(runners.alive):
            st.warning("No runner is running, so they wait.", icon=":material/power_off:")
        for job_id in ids:
            links.link(links.JOB, f"Open job {job_id}", icon=":material/arrow_forward:", job=job_id)


def value(error: float) -> str:
    """Return an error as the value of its metric."""
    return f"{1 - error:.3f}"


def bounds(item: RankedCandidate) -> str:
    """Return the interval of the metric."""
    return f"{value(item.upper)} to {value(item.lower)}" if math.isfinite(item.upper) else "unknown"
