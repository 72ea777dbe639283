"""Any candidate of a network search as a drawing, with any other beside it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core import results
from core.queue import jobs
from pages import links, reads, words
from pages.parts import network_drawing
from pages.parts.results import search_candidates


def show(job: jobs.Job) -> None:
    """Draw the choices, the facts and the networks."""
    frame = reads.read(results.candidates, job.id)
    if frame.empty:
        search_candidates.nothing(job, ":material/account_tree:")
        return
    names = frame["candidate"].tolist()
    sides = st.columns(2, gap="medium")
    selection = [choose(side, names, index) for side, index in zip(sides, (0, None), strict=True)]
    rows = [frame[frame["candidate"] == name].iloc[0] for name in selection if name]
    facts(rows, search_candidates.error_name(job))
    has_finalist = any(np.isfinite(row["trial_id"]) for row in rows)
    for number, (side, row) in enumerate(zip(sides, rows, strict=False)):
        with side:
            trial_link(row, has_finalist=has_finalist)
            network(job.id, row, key=f"network_{number}")


def choose(side: DeltaGenerator, names: list[str], index: int | None) -> str | None:
    """Draw the choice of a candidate, which the link keeps."""
    key, label = ("network", "Candidate") if index is not None else ("beside", "Compare with")
    links.preselect(key, names)
    return side.selectbox(label, names, index=index, key=key, bind="query-params", placeholder="Any other candidate")


def facts(rows: list[pd.Series], error: str) -> None:
    """Draw what is known of the candidates, a column for each."""
    values = {
        f"Validation {error}": [words.number(row["valid_error"]) for row in rows],
        "Epochs": [f"{row['epochs']:,}" for row in rows],
        "Parameters": [_count(row["n_parameters"]) for row in rows],
        "FLOPs per row": [_count(row["flops"]) for row in rows],
        "Latency, single row": [words.duration(row["latency_s"]) for row in rows],
    }
    columns = {name: [row[side] for row in values.values()] for side, name in enumerate(("Candidate", "Compared with"))
               if side < len(rows)}  # fmt: skip
    frame = pd.DataFrame({"": list(values), **columns})
    st.dataframe(frame, hide_index=True, height="content", key="facts", alt="Facts about the candidates")


def _count(value: float) -> str:
    return f"{value:,.0f}" if np.isfinite(value) else words.NONE


def trial_link(row: pd.Series, *, has_finalist: bool) -> None:
    """Draw the link to a finalist's trial, or that there is none if the other has one: drawings start level."""
    if np.isfinite(row["trial_id"]):
        trial_id = int(row["trial_id"])
        links.link(links.TRIAL, f"Trial {trial_id}", trial=trial_id)
    elif has_finalist:
        icon = links.ENTRIES[links.TRIAL].icon
        st.page_link(links.TRIAL, label="Not a finalist, so it has no trial", icon=icon, disabled=True)


def network(job_id: int, row: pd.Series, *, key: str) -> None:
    """Draw the layers of a candidate."""
    trial_id = row["trial_id"]
    layers = reads.read(results.architecture, job_id, row["candidate"])
    if not layers and np.isfinite(trial_id):
        layers = reads.read(results.trial, int(trial_id)).details.get("architecture") or []
    if layers:
        network_drawing.draw(layers, key=key)
    else:
        st.info("The search has not reported the layers of this network.", icon=":material/account_tree:")
