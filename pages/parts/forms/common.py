"""Fields that several kinds of job have: the metric, the resources, and the button."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from core import machine
from core.datasets import Dataset
from core.queue import jobs, runners
from core.scoring import metrics_for
from core.specs import LABELS, FewShotSpec, NASSpec, Spec
from pages import reads, words

DEVICES = {0: "CPU", 1: "GPU"}


def metric(dataset: Dataset, start: Spec, mark: str, help_text: str) -> str:
    """Draw a choice of the metrics that the dataset's task has."""
    names = metrics_for(dataset.task)
    return st.selectbox(
        LABELS["metric"], names, index=names.index(start.metric) if start.metric in names else 0,
        format_func=words.metric_label, key=f"metric{mark}",
        help=f"{help_text} ↑ higher is better, ↓ lower is better. All metrics are computed in any case.",
    )  # fmt: skip


def resources(
    start: Spec, priority: int, mark: str, engine_field: Callable[[], dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Draw what the job may use and its place in the queue; adds `priority`, which is no part of the spec.

    `engine_field` draws the one resource that only this kind of job has.
    """
    slots = reads.read(runners.slots)
    one, two, three, four = st.columns(4)
    cpus = one.number_input(
        LABELS["cpus"], value=start.cpus, step=1, key=f"cpus{mark}",
        help=f"The job waits until this many are free.{f' The runner has {slots[0]}.' if slots else ''}",
    )  # fmt: skip
    with two:
        fields = engine_field() if engine_field else {}
    seed = three.number_input(
        LABELS["seed"], value=start.seed, step=1, key=f"seed{mark}",
        help="The same seed repeats the search as far as time limits allow.",
    )  # fmt: skip
    order = four.number_input(
        LABELS["priority"], value=priority, step=1, key=f"priority{mark}",
        help="From -100 to 100. Higher goes first; jobs of equal priority start in the order of submission.",
    )  # fmt: skip
    note = st.text_input(
        LABELS["note"], start.note, max_chars=500, key=f"note{mark}", placeholder="What is this job for?",
        help="Shown in the list of jobs.",
    )  # fmt: skip
    return {"cpus": cpus, **fields, "seed": seed, "note": note, "priority": order}


def device(start: NASSpec | FewShotSpec, mark: str) -> dict[str, Any]:
    """Draw a choice of CPU or GPU."""
    slots = reads.read(runners.slots)
    has_gpu = bool(slots[1] if slots else machine.gpu_slots())
    gpus = st.selectbox(
        "Device", [0, 1] if has_gpu or start.gpus else [0], index=start.gpus, format_func=lambda n: DEVICES[n],
        key=f"gpus{mark}",
        help="Where networks are trained." if has_gpu else "Where networks are trained. This machine has no GPU.",
    )  # fmt: skip
    return {"gpus": gpus}


def submit_button(cost: str) -> bool:
    """Draw what the job will cost, how many may come first, and the button; returns whether it was clicked."""
    counts = reads.read(jobs.counts)
    n = counts.get("queued", 0) + counts.get("running", 0)
    queue = f" {n} unfinished job{'s' if n > 1 else ''} may come first." if n else ""
    st.caption(cost + queue)
    return st.form_submit_button("Submit job", type="primary", icon=":material/send:", key="submit")
