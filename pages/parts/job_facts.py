"""What every job has, as tabs of its page: its log, spec, environment and history."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import streamlit as st

from core.queue import jobs, log
from core.scoring import METRICS
from core.specs import LABELS
from pages import reads, words

_AUTOMATIC = ("inner_rate", "inner_steps", "meta_batch", "outer_rate", "train_ways")
# What a field means that was left empty.
UNSET = {
    "epochs": "As the budget allows",
    "folds": "As the budget allows",
    "max_parameters": "No limit",
    "max_latency_s": "No limit",
    "max_candidate_epochs": "No limit",
    "continues": "None",
    "starts": "None",
    "backbone": "None",
    "examples": "None",
    "group": "None",
    "initialisation": "The most similar one",
    "iterations": "As the budget allows",
    "network": "The one that suits the data",
    **dict.fromkeys(_AUTOMATIC, "The algorithm's default"),
}
LEVELS = {"info": "", "warning": "⚠ ", "error": "✖ "}


def log_lines(job: jobs.Job) -> None:
    """Draw the last lines of the log, the newest first."""
    lines = reads.read(log.messages, job.id, limit=500)
    if lines.empty:
        st.info("Nothing has been logged yet.", icon=":material/notes:")
        return
    clock = words.times(lines["happened_at"]).dt.strftime("%H:%M:%S")
    several = lines["attempt"].nunique() > 1
    rows = zip(clock, lines["attempt"], lines["level"], lines["text"], strict=True)
    texts = [f"{at}  {f'[{n}] ' if several else ''}{LEVELS.get(level, '')}{text}" for at, n, level, text in rows]
    st.caption("Newest first" + ("; attempt in brackets" if several else ""))
    st.code("\n".join(texts), language=None, height=420 if len(texts) > 15 else "content", wrap_lines=True)


def spec(job: jobs.Job) -> None:
    """Draw what was submitted, as a table and as JSON."""
    body = json.loads(job.spec_text)
    values = {**body, "budget_s": words.duration(body.get("budget_s"))}
    if "metric" in body:
        values["metric"] = METRICS[body["metric"]].label if body["metric"] else "The task's default"
    if "memory_bytes" in body:
        values["memory_bytes"] = f"{body['memory_bytes'] / 2**30:g} GiB"
    values |= {name: text for name, text in UNSET.items() if name in body and body[name] in (None, [])}
    if body.get("max_latency_s"):
        values["max_latency_s"] = words.duration(body["max_latency_s"])
    hidden = ("note", "kind")
    pairs({LABELS.get(name, name).partition(" (")[0]: value for name, value in values.items() if name not in hidden})
    st.caption("As JSON, for `python -m core submit`")
    st.code(json.dumps(body, indent=2, sort_keys=True), language="json")


def environment(job: jobs.Job) -> None:
    """Draw where the job ran."""
    if not job.environment:
        st.info("The environment is recorded when the job starts.", icon=":material/memory:")
        return
    facts = json.loads(job.environment)
    rows = {key: value for key, value in facts.items() if not isinstance(value, dict)}
    for group in (value for value in facts.values() if isinstance(value, dict)):
        rows |= group
    if "memory_bytes" in rows:
        rows["memory_bytes"] = words.size(rows["memory_bytes"])
    pairs({name.removesuffix("_bytes").replace("_", " "): value for name, value in rows.items()})


def pairs(rows: dict[str, Any]) -> None:
    """Draw names and values below each other."""
    texts = [", ".join(map(str, value)) if isinstance(value, list) else str(value) for value in rows.values()]
    frame = pd.DataFrame({"Name": list(rows), "Value": texts})
    st.dataframe(frame, hide_index=True, height="content", alt="Names and values")


def history(job: jobs.Job) -> None:
    """Draw every change of the job's state."""
    frame = reads.read(jobs.history, job.id)
    frame = frame.assign(happened_at=words.times(frame["happened_at"]))
    config: dict[str, Any] = {
        "happened_at": st.column_config.DatetimeColumn("When"),
        "attempt": "Attempt",
        "status": "State",
        "reason": st.column_config.TextColumn("Reason", width="large"),
    }
    st.dataframe(
        frame, column_order=list(config), column_config=config, hide_index=True, key="history", placeholder="",
        alt="History of the job",
    )  # fmt: skip
