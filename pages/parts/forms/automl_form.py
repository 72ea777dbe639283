"""The form of H2O AutoML."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from core.datasets import Dataset
from core.specs import AUTOML_ALGORITHMS, LABELS, AutoMLSpec
from pages.parts.forms import common

_GIB = 2**30
ALGORITHMS = {  # whose own name says less
    "GLM": "GLM (linear)",
    "DRF": "Random forest",
    "DeepLearning": "Deep learning",
    "StackedEnsemble": "Stacked ensemble",
}


def show(dataset: Dataset, start: AutoMLSpec | None, priority: int, mark: str) -> dict[str, Any] | None:
    """Draw the form; returns the spec's fields and the priority once it is submitted."""
    start = start or AutoMLSpec(dataset_id=dataset.id)
    with st.form("automl_form", border=True, enter_to_submit=False):
        st.subheader("Search")
        fields = _search(start, mark)
        st.subheader("Evaluation")
        fields |= _evaluation(dataset, start, f"{mark}_{dataset.id}")
        st.subheader("Resources and queue")
        fields |= common.resources(start, priority, mark, partial(_memory, start, mark))
        submitted = common.submit_button("Takes the time budget plus a few seconds.")
    return fields if submitted else None


def _search(start: AutoMLSpec, mark: str) -> dict[str, Any]:
    """Draw how long to search, how many models to train, and by which algorithms."""
    left, right = st.columns(2)
    budget = left.number_input(
        LABELS["budget_s"], value=start.budget_s, step=10, key=f"budget_s{mark}",
        help="How long AutoML may train. More time means more models and better tuned ones.",
    )  # fmt: skip
    models = right.number_input(
        LABELS["max_models"], value=start.max_models, step=1, key=f"max_models{mark}",
        help="The search ends after this many models even if time is left. Ensembles do not count.",
    )  # fmt: skip
    algorithms = st.pills(
        LABELS["algorithms"], list(AUTOML_ALGORITHMS), selection_mode="multi", default=list(start.algorithms),
        format_func=lambda name: ALGORITHMS.get(name, name), key=f"algorithms{mark}",
        help="The types of model to try. A stacked ensemble combines the others.",
    )  # fmt: skip
    return {"budget_s": budget, "max_models": models, "algorithms": algorithms}


def _evaluation(dataset: Dataset, start: AutoMLSpec, mark: str) -> dict[str, Any]:
    """Draw how models are evaluated and ranked."""
    left, right = st.columns(2)
    with left:
        metric = common.metric(dataset, start, mark, "What AutoML ranks by.")
    folds = right.number_input(
        LABELS["folds"], value=start.folds, step=1, key=f"folds{mark}", placeholder="Automatic",
        help="Each model is trained this many more times to evaluate it. 0: evaluate on the validation set, which is"
        " faster. Empty: 5 where the budget allows, else 0.",
    )  # fmt: skip
    fields = {"metric": metric, "folds": folds}
    if dataset.task != "regression":
        fields["balance_classes"] = st.toggle(
            LABELS["balance_classes"], start.balance_classes, key=f"balance_classes{mark}",
            help="Repeat rows of rare classes in training. This may help to find them, but distorts probabilities.",
        )  # fmt: skip
    return fields


def _memory(start: AutoMLSpec, mark: str) -> dict[str, Any]:
    """Draw the memory of the job's Java process."""
    memory = st.number_input(
        "Memory (GiB)", value=start.memory_bytes / _GIB, step=0.5, format="%.1f", key=f"memory_gib{mark}",
        help="Heap of the Java process. About four times the table's size in memory is a good start.",
    )  # fmt: skip
    return {"memory_bytes": int((memory or 0) * _GIB)}
