"""The results of few-shot fine-tuning: what was learned of the new classes."""

from __future__ import annotations

import json
from collections.abc import Callable

import streamlit as st

from core.queue import jobs
from core.results import initialisations
from pages import links, reads
from pages.parts.results import adaptation

BOARD = links.FEWSHOT_BOARD


def tabs(job: jobs.Job) -> dict[str, Callable[[jobs.Job], None]]:
    """Return the tabs of a fine-tuning."""
    return {"Results": adapted_model}


def figures(job: jobs.Job) -> dict[str, str]:
    """Return the job's own numbers: there is none beside those of the results."""
    return {}


def adapted_model(job: jobs.Job) -> None:
    """Draw the adapted model and how well it predicts."""
    body = reads.read(initialisations.adaptation, job.id)
    if body is None:
        ended = "The job ended without a result; see its log."
        waiting = "The result appears here within seconds of the start."
        st.info(ended if job.status in jobs.ENDED else waiting, icon=":material/hourglass_empty:")
        return
    links.link(links.PLAYGROUND, "Open in the playground", job=job.id)
    adaptation.draw(job.id, json.loads(job.spec_text), body)
