"""Job (/job?job=12): how far it is, what it has found, its log, spec, environment and history; and its buttons."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core import kinds, results
from core.errors import InputError
from core.queue import jobs, log, runners
from core.scoring import METRICS
from core.specs import LABELS
from pages import shared
from pages.parts import fewshot_results, job_buttons, policy_charts, search_candidates, trial_table

WAITING = {
    "automl": "The first trials appear here within a minute of the start.",
    "portfolio": "The first trials appear here within seconds of the start.",
    "nas": "The finalists appear here once they are trained in full; Candidates shows the search.",
}
UNITS = {"automl": "model", "nas": "candidate", "portfolio": "candidate"}
UNSET = {
    "epochs": "As the budget allows",
    "folds": "As the budget allows",
    "max_parameters": "No limit",
    "max_latency_s": "No limit",
    "max_candidate_epochs": "No limit",
    "continues": "Nothing",
    "backbone": "None",
    "examples": "None",
    "group": "None",
    "initialisation": "The nearest in memory",
    "inner_rate": "As the algorithm has it",
    "inner_steps": "As the algorithm has it",
    "iterations": "As the budget allows",
    "meta_batch": "As the algorithm has it",
    "outer_rate": "As the algorithm has it",
    "network": "As suits the data",
    "train_ways": "As the algorithm has it",
}
MOVING = ("queued", "running")
FEW_SHOT = ("fewshot", "finetune")  # they have no trials
WARNINGS = 3  # that the top of an ended job shows
LEVELS = {"info": "", "warning": "⚠ ", "error": "✖ "}


def load(job_id: int) -> dict[str, Any]:
    """The job's row of the overview. Raises InputError where there is none."""
    frame = shared.read(jobs.overview, job_id=job_id)
    if frame.empty:
        raise InputError(f"There is no job {job_id}. Choose one in the list.")
    return frame.astype(object).where(frame.notna(), None).iloc[0].to_dict()


def live(job_id: int, was_moving: bool) -> None:
    """Everything below the title; drawn anew every two seconds while the job moves."""
    with shared.sentences():
        job = load(job_id)
        if was_moving != (job["status"] in MOVING):
            st.rerun()  # the page stands still from now on, or moves again
        shared.told()
        header(job)
        job_buttons.buttons(job)
        drawings = sections(job)
        opened = st.tabs(list(drawings), key="tab", bind="query-params", on_change="rerun")
        for tab, draw in zip(opened, drawings.values(), strict=True):
            if tab.open:
                with tab:
                    draw(job)


def sections(job: dict[str, Any]) -> dict[str, Callable[[dict[str, Any]], None]]:
    """The tabs of a job, and what draws each."""
    last = {"Log": log_tab, "Spec": spec, "Environment": environment, "History": history}
    if job["kind"] == "finetune":
        return {"Results": fewshot_results.adapted, **last}
    if job["kind"] == "fewshot":
        return {"Results": fewshot_results.worth, "Progress": fewshot_results.progress, **last}
    searched = (
        {"Candidates": search_candidates.show, "Networks": search_candidates.networks_of}
        if job["kind"] == "nas"
        else {}
    )
    if json.loads(job["spec"]).get("strategy") in policy_charts.STRATEGIES:
        searched["Policy"] = policy_charts.show
    return {"Trials": found, **searched, "Progress": progress, **last}


def header(job: dict[str, Any]) -> None:
    """State, error with its remedy, progress and times."""
    with st.container(horizontal=True, vertical_alignment="center"):
        shared.badge(job["status"])
        if job["cancel_requested"] and job["status"] == "running":
            st.badge("Stopping", icon=":material/hourglass_bottom:", color="orange")
        elif job["pause_requested"] and job["status"] == "running":
            st.badge("Pausing", icon=":material/hourglass_bottom:", color="violet")
        shared.link(
            shared.DATASET, shared.plain(job["dataset"] or "?"), icon=":material/table:", dataset=job["dataset"]
        )
        if job["kind"] in FEW_SHOT:
            shared.link(shared.FEWSHOT_BOARD, "Few-shot", icon=":material/filter_5:", dataset=job["dataset"])
        else:
            shared.link(shared.LEADERBOARD, "Leaderboard", icon=":material/leaderboard:", dataset=job["dataset"])
        relatives(job)
    if job["note"]:
        st.text(job["note"])
    if job["error"]:
        title = {"failed": "The job failed", "cancelled": "The job was cancelled"}.get(job["status"], "Note")
        (st.error if job["status"] == "failed" else st.warning)(
            shared.plain(job["error"]), title=title, icon=":material/error:"
        )
    warnings(job)
    if job["status"] in MOVING and not shared.read(runners.alive):
        st.warning("No runner is alive: what is shown waits until one is. Home says how to start it.",
                   icon=":material/power_off:")  # fmt: skip
    if job["status"] not in jobs.ENDED:
        waiting = {
            "queued": f"Waits in the queue with priority {job['priority']}",
            "paused": "Paused: it goes on from its checkpoint once it is resumed",
        }
        stage = waiting.get(job["status"]) or job["stage"] or "Starting"
        st.progress(min(1.0, float(job["fraction"] or 0)), text=shared.plain(stage))
    figures(job)


def warnings(job: dict[str, Any]) -> None:
    """What the log of an ended job warns of, the newest first."""
    texts = shared.read(log.warnings, job["id"]) if job["status"] in jobs.ENDED else []
    lines = [shared.plain(textwrap.shorten(text, 400, placeholder=" …")) for text in texts[:WARNINGS]]
    if len(texts) > WARNINGS:
        lines.append(f"{len(texts) - WARNINGS:,} more in the log")
    if lines:
        told = lines[0] if len(lines) == 1 else "\n".join(f"- {line}" for line in lines)
        st.warning(told, icon=":material/warning:")


def relatives(job: dict[str, Any]) -> None:
    """Links to the job that this one continues, and to those that continue it."""
    if job["continues"] is not None:
        shared.link(shared.JOB, f"Continues job {job['continues']}", icon=":material/undo:", job=job["continues"])
    for later in shared.read(jobs.continuations, job["id"]) if kinds.of(job["kind"]).continuable else ():
        shared.link(shared.JOB, f"Continued by job {later}", icon=":material/redo:", job=later)


def figures(job: dict[str, Any]) -> None:
    """The numbers of the job."""
    elapsed = job["elapsed_s"]
    if job["status"] == "running" and job["started_at"]:
        elapsed = shared.now() - job["started_at"]
    with st.grid(5, min_column_width=140):
        st.metric("Done", f"{float(job['fraction'] or 0):.0%}", border=True)
        st.metric("Elapsed", shared.duration(elapsed), border=True)
        if job["status"] in jobs.ENDED:
            ended = job["finished_at"]
            clock = shared.moment(ended).rpartition(", ")[2] if ended else shared.NONE
            st.metric("Ended", clock, border=True, help=shared.moment(ended) if ended else None)
        else:
            st.metric("Remaining", shared.duration(job["remaining_s"]), border=True, help="The job's own estimate")
        if job["kind"] not in FEW_SHOT:
            st.metric("Trials", job["n_trials"], border=True)
        if job["attempt"] > 1:
            st.metric(
                "Attempt",
                job["attempt"],
                border=True,
                help="A job that was interrupted or paused goes on as its next attempt",
            )


def found(job: dict[str, Any]) -> None:
    """The trials so far, best first by the job's own metric."""
    frame = shared.read(results.trials_of, job["id"])
    if frame.empty:
        waiting = WAITING.get(job["kind"], "No trial yet.")
        st.info("No trial was finished." if job["status"] in jobs.ENDED else waiting, icon=":material/hourglass_empty:")
        return
    st.caption(f"Ranked by {shared.metric_label(frame['metric'].iloc[0])} on the valid rows; test beside it.")
    frame.insert(0, "rank", range(1, len(frame) + 1))
    trial_table.table(frame.head(shared.BEST_N), key="trials")


def progress(job: dict[str, Any]) -> None:
    """The best value on valid after each model or candidate."""
    unit = UNITS.get(job["kind"], "step")
    curve = shared.read(results.curve, job["id"], "best_valid")
    if len(curve) < 1:
        st.info(f"The curve starts with the first {unit}.", icon=":material/show_chart:")
        return
    body = json.loads(job["spec"])
    frame = shared.read(results.trials_of, job["id"])
    metric = body.get("metric") or (frame["metric"].iloc[0] if len(frame) else None)
    name = METRICS[metric].label if metric else "Metric"
    figure = go.Figure()
    few = len(curve) <= shared.FEW_POINTS
    figure.add_scatter(
        x=curve["step"], y=curve["value"], mode="lines+markers+text" if few else "lines+markers", line={"shape": "hv"},
        marker={"size": 10 if few else 6}, text=[shared.number(value) for value in curve["value"]] if few else None,
        textposition="top center", name="Best so far",
    )  # fmt: skip
    figure.update_xaxes(title=f"{unit.capitalize()}s finished")
    figure.update_yaxes(title=f"Best {name} on valid")
    if few:
        last = curve["step"].max()
        figure.update_xaxes(range=[0, 1.1 * last], dtick=1 if last < 5 else None)
        figure.update_yaxes(range=shared.around(curve["value"]))
    figure.update_layout(showlegend=False)
    shared.chart(figure, f"Best {name} on the valid rows after each {unit}", key="curve")


def log_tab(job: dict[str, Any]) -> None:
    """The last lines, the newest first."""
    lines = shared.read(log.messages, job["id"], limit=500)
    if lines.empty:
        st.info("Nothing has been logged yet.", icon=":material/notes:")
        return
    clock = shared.times(lines["happened_at"]).dt.strftime("%H:%M:%S")
    several = lines["attempt"].nunique() > 1
    rows = zip(clock, lines["attempt"], lines["level"], lines["text"], strict=True)
    told = [f"{at}  {f'[{n}] ' if several else ''}{LEVELS.get(level, '')}{text}" for at, n, level, text in rows]
    st.caption("Newest first" + ("; attempt in brackets" if several else ""))
    st.code("\n".join(told), language=None, height=420 if len(told) > 15 else "content", wrap_lines=True)


def spec(job: dict[str, Any]) -> None:
    """What was asked, as a table and as JSON."""
    body = json.loads(job["spec"])
    told = {**body, "budget_s": shared.duration(body.get("budget_s"))}
    if "metric" in body:
        told["metric"] = METRICS[body["metric"]].label if body["metric"] else "The default of the task"
    if "memory_bytes" in body:
        told["memory_bytes"] = f"{body['memory_bytes'] / 2**30:g} GiB"
    told |= {name: text for name, text in UNSET.items() if name in body and body[name] is None}
    if body.get("max_latency_s"):
        told["max_latency_s"] = shared.duration(body["max_latency_s"])
    rows = {
        LABELS.get(name, name).partition(",")[0]: value for name, value in told.items() if name not in ("note", "kind")
    }
    pairs(rows)
    st.caption("As JSON, for python -m core submit")
    st.code(json.dumps(body, indent=2, sort_keys=True), language="json")


def environment(job: dict[str, Any]) -> None:
    """Where it ran."""
    if not job["environment"]:
        st.info("Known once the job has started.", icon=":material/memory:")
        return
    facts = json.loads(job["environment"])
    rows = {key: value for key, value in facts.items() if not isinstance(value, dict)}
    for group in (value for value in facts.values() if isinstance(value, dict)):
        rows |= group
    if "memory_bytes" in rows:
        rows["memory_bytes"] = shared.size(rows["memory_bytes"])
    pairs({name.removesuffix("_bytes").replace("_", " "): value for name, value in rows.items()})


def pairs(rows: dict[str, Any]) -> None:
    """Names and values below each other."""
    texts = [", ".join(map(str, value)) if isinstance(value, list) else str(value) for value in rows.values()]
    frame = pd.DataFrame({"Name": list(rows), "Value": texts})
    st.dataframe(frame, hide_index=True, height="content", alt="Names and values")


def history(job: dict[str, Any]) -> None:
    """Every move of the job."""
    frame = shared.read(jobs.history, job["id"])
    frame = frame.assign(happened_at=shared.times(frame["happened_at"]))
    config: dict[str, Any] = {
        "happened_at": st.column_config.DatetimeColumn("When"),
        "attempt": "Attempt",
        "status": "State",
        "reason": st.column_config.TextColumn("Reason", width="large"),
    }
    st.dataframe(
        frame,
        column_order=list(config),
        column_config=config,
        hide_index=True,
        key="history",
        placeholder="",
        alt="History of the job",
    )


def show() -> None:
    """The page."""
    job_id = shared.asked_id("job")
    if job_id is None:
        raise InputError("The link names no job. Choose one in the list.")
    job = load(job_id)
    st.title(f"Job {job_id}")
    owner = f"by {job['owner']}, submitted {shared.moment(job['created_at'])}"
    algorithm = json.loads(job["spec"]).get("algorithm")
    what = shared.ENGINES.get(job["kind"], job["kind"]) + (f", {algorithm}," if algorithm else "")
    st.caption(shared.plain(f"{what} {owner}"))
    moving = job["status"] in MOVING
    st.fragment(live, run_every=shared.LIVE_S if moving else None)(job_id, moving)


with shared.sentences():
    try:
        show()
    except InputError as error:
        shared.lost("Job", error, shared.JOBS, "All jobs")
