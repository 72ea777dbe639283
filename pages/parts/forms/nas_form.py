"""The form of neural architecture search."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from core import kinds
from core.datasets import Dataset
from core.queue import jobs
from core.specs import LABELS, NAS_STRATEGIES, NASSpec
from pages import reads
from pages.parts.forms import common

STRATEGIES = {
    "gp": "Gaussian process, Thompson sampling",
    "evolution": "Regularized evolution",
    "local": "Local search",
    "reinforce": "REINFORCE controller",
    "gradient": "Gradient (PC-DARTS), retrained from scratch",
    "random": "Random",
}


def show(dataset: Dataset, start: NASSpec | None, priority: int, mark: str) -> dict[str, Any] | None:
    """Draw the form; returns the spec's fields and the priority once it is submitted."""
    start, mark = start or NASSpec(dataset_id=dataset.id), f"_nas{mark}"
    with st.form("nas_form", border=True, enter_to_submit=False):
        st.subheader("Search")
        fields = _search(start, mark) | _limits(dataset, start, mark)
        st.subheader("Full training")
        fields |= _finalists(dataset, start, mark)
        st.subheader("Resources and queue")
        fields |= common.resources(start, priority, mark, partial(common.device, start, mark))
        submitted = common.submit_button("Takes about the time budget, including the full training of the finalists.")
    return fields if submitted else None


def _search(start: NASSpec, mark: str) -> dict[str, Any]:
    """Draw how long to search, how many networks to try, and which strategy proposes them."""
    one, two, three, four = st.columns(4)
    budget = one.number_input(
        LABELS["budget_s"], value=start.budget_s, step=10, key=f"budget_s{mark}",
        help="For the search and the full training of the finalists. More time means more networks, trained longer.",
    )  # fmt: skip
    candidates = two.number_input(
        LABELS["max_candidates"], value=start.max_candidates, step=8, key=f"max_candidates{mark}",
        help="The search ends after this many different networks even if time is left.",
    )  # fmt: skip
    epochs = three.number_input(
        LABELS["max_candidate_epochs"], value=start.max_candidate_epochs, step=100, key=f"max_candidate_epochs{mark}",
        placeholder="No limit",
        help="The search ends once its candidates have been trained for this many epochs in total, not counting the"
        " finalists. Use it to compare searches on machines of different speed.",
    )  # fmt: skip
    strategy = four.selectbox(
        LABELS["strategy"], list(NAS_STRATEGIES), index=NAS_STRATEGIES.index(start.strategy), key=f"strategy{mark}",
        format_func=lambda name: STRATEGIES.get(name, name),
        help="How the next networks are proposed. **Gaussian process**: models the error of the networks tried so far"
        " and samples from that model; the best choice in most cases. **Evolution**: mutates the best recent networks."
        " **Local search**: tries the neighbours of the best network. **REINFORCE**: trains a controller that writes"
        " networks; it needs many candidates. **Gradient**: trains one network that holds all operations, then trains"
        " the likely ones from scratch. **Random**: a baseline.",
    )  # fmt: skip
    return {
        "budget_s": budget, "max_candidates": candidates, "max_candidate_epochs": epochs, "strategy": strategy,
    }  # fmt: skip


def _limits(dataset: Dataset, start: NASSpec, mark: str) -> dict[str, Any]:
    """Draw which networks are not trained, and the search that this one continues."""
    one, two, three = st.columns([1, 1, 2])
    parameters = one.number_input(
        LABELS["max_parameters"], value=start.max_parameters, step=10_000, key=f"max_parameters{mark}",
        placeholder="No limit",
        help="Larger networks are not trained. Smaller ones predict faster and take less memory.",
    )  # fmt: skip
    latency_ms = two.number_input(
        f"{LABELS['max_latency_s']}, ms", value=start.max_latency_s and start.max_latency_s * 1e3, step=1.0,
        format="%g", key=f"max_latency_ms{mark}", placeholder="No limit",
        help="Networks that take longer to predict a single row on the job's device are not trained.",
    )  # fmt: skip
    ids = _continuable(dataset)
    ids += [start.continues] if start.continues and start.continues not in ids else []
    continues = three.selectbox(
        LABELS["continues"], ids, index=ids.index(start.continues) if start.continues else None,
        format_func=lambda job_id: f"Job {job_id}", key=f"continues{mark}_{dataset.id}",
        placeholder="None: a new search", disabled=not ids,
        help="Continue an ended search on this dataset where it stopped. The budgets count from there.",
    )  # fmt: skip
    latency_s = None if latency_ms is None else latency_ms / 1e3
    return {"max_parameters": parameters, "max_latency_s": latency_s, "continues": continues}


def _continuable(dataset: Dataset) -> list[int]:
    """Return the ids of the ended searches on the dataset."""
    names = [kind.name for kind in kinds.KINDS if kind.continuable]
    ended = reads.read(jobs.overview, statuses=jobs.ENDED, dataset_id=dataset.id)
    return [int(job_id) for job_id in ended[ended["kind"].isin(names)]["id"]]


def _finalists(dataset: Dataset, start: NASSpec, mark: str) -> dict[str, Any]:
    """Draw what is trained in full, for how long, and what ranks it."""
    one, two, three = st.columns(3)
    finalists = one.number_input(
        LABELS["finalists"], value=start.finalists, step=1, key=f"finalists{mark}",
        help="The best networks of the search are trained in full, scored on the test set, and saved with their files.",
    )  # fmt: skip
    epochs = two.number_input(
        "Epochs", value=start.epochs, step=1, key=f"epochs{mark}", placeholder="Automatic",
        help="How often the full training sees each row. Empty: as many times as the time budget allows.",
    )  # fmt: skip
    with three:
        metric = common.metric(dataset, start, f"{mark}_{dataset.id}", "What the finalists are ranked by.")
    return {"finalists": finalists, "epochs": epochs, "metric": metric}
