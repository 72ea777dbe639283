"""New job (?dataset=NAME or id, ?engine=KIND, ?clone=JOB prefills): the form, and what it sends to the queue.

The fields of each kind of job are in `forms`.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from core import datasets, specs
from core.datasets import Dataset
from core.errors import MetascoutError
from core.queue import jobs, runners
from core.specs import AutoMLSpec, FewShotSpec, FineTuneSpec, NASSpec, PortfolioSpec, Spec
from pages import shared
from pages.parts.forms import common, fewshot_form

HOLDS = {"image": "images", "text": "only texts"}
OFFERED = {kind: label for kind, label in shared.ENGINES.items() if kind != "finetune"}  # that is the playground's


def template() -> tuple[Spec | None, int, str]:
    """The spec to start from, its priority, and what tells this form's fields from another's."""
    clone = shared.asked_id("clone")
    if clone is None:
        return None, 0, ""
    job = shared.read(jobs.get, clone)
    if isinstance(job.spec, FineTuneSpec):
        st.info(f"Job {clone} was asked for in the playground, where it can be changed.", icon=":material/draw:")
        shared.link(shared.PLAYGROUND, "Open it in the playground", job=clone)
        return None, 0, ""
    st.info(
        f"The form starts from job {clone}. Change what you like: a new job is made.", icon=":material/content_copy:"
    )
    return job.spec, job.priority, f"_{clone}"


def preselect(known: list[Dataset], spec: Spec | None, mark: str) -> None:
    """A cloned job brings its dataset and its engine along, once."""
    if spec is None or spec.kind not in OFFERED or st.session_state.get("cloned") == mark:
        return
    st.session_state["cloned"] = mark
    st.session_state["dataset"] = next((d.name for d in known if d.id == spec.dataset_id), None)
    st.session_state["engine"] = shared.ENGINES[spec.kind]


def engine_for(dataset: Dataset) -> str | None:
    """The kind of job, which the link keeps; None where AutoML is chosen for what is no table, which it says."""
    labels = list(OFFERED.values())
    shared.asked_choice("engine", labels, OFFERED)
    if st.query_params.get("engine", labels[0]) not in labels:
        st.query_params.pop("engine")  # it has been told, or its meaning is in the session's state
    linked = "engine" in st.query_params or "engine" in st.session_state
    if st.session_state.get("engine_of", dataset.id) != dataset.id or not linked:
        only_nas = dataset.modality != "table"
        if only_nas or not linked:
            st.session_state["engine"] = shared.ENGINES["nas" if only_nas else "automl"]
    st.session_state["engine_of"] = dataset.id
    chosen = st.segmented_control(
        "Engine", labels, required=True, key="engine", bind="query-params",
        help="**H2O AutoML** trains many kinds of model on a table. **Neural architecture search** finds a network "
        "for images, texts or a table. **Portfolio** fits scikit-learn models of many kinds on any dataset. "
        "**Few-shot meta-training** learns from many small classes how to learn a new one from a few examples.",
    )  # fmt: skip
    kind = next(kind for kind, label in OFFERED.items() if label == chosen)
    if kind == "automl" and dataset.modality != "table":
        held = HOLDS[dataset.modality]
        st.warning(
            shared.plain(
                f"H2O AutoML learns from tables, and {dataset.name} holds {held}: choose neural architecture search "
                "or the portfolio."
            ),
            icon=":material/block:",
        )
        return None
    return kind


def submit(given: dict[str, Any]) -> None:
    """Check the wish and put it into the queue."""
    priority = given.pop("priority")
    spec = specs.parse(given)
    job_id = jobs.submit(spec, priority=priority, user=shared.user())
    st.success(f"Job {job_id} is queued. You can close this page: the job goes on.", icon=":material/check_circle:")
    if not shared.read(runners.alive):
        st.warning(
            "No runner is alive: the job waits until one is. Home says how to start it.", icon=":material/power_off:"
        )
    with st.container(horizontal=True):
        shared.link(shared.JOB, f"Open job {job_id}", job=job_id)
        shared.link(shared.JOBS, "All jobs", icon=":material/list_alt:")


def show() -> None:
    """The page below its title."""
    known = shared.read(datasets.all_datasets)
    if not known:
        shared.empty("A job needs a dataset, and there is none yet.", shared.ADD_DATASET, "Add a dataset")
        return
    try:
        spec, priority, mark = template()
    except MetascoutError as error:
        shared.say(error)
        spec, priority, mark = None, 0, ""
    preselect(known, spec, mark)
    dataset = shared.pick_dataset(known, placeholder="Choose a dataset")
    if dataset is None:
        st.info("Choose the dataset to learn from.", icon=":material/table:")
        return
    st.caption(shared.plain(told(dataset)))
    with shared.sentences():
        given = form(engine_for(dataset), dataset, spec, priority, mark)
        if given is not None:
            submit(given)


def form(kind: str | None, dataset: Dataset, spec: Spec | None, priority: int, mark: str) -> dict[str, Any] | None:
    """The fields of the kind of job, from the cloned spec where it is of this kind; what was given, once submitted."""
    if kind == "nas":
        return common.nas(dataset, spec if isinstance(spec, NASSpec) else None, priority, mark)
    if kind == "portfolio":
        return common.portfolio(dataset, spec if isinstance(spec, PortfolioSpec) else None, priority, mark)
    if kind == "fewshot":
        return fewshot_form.fewshot_job(dataset, spec if isinstance(spec, FewShotSpec) else None, priority, mark)
    if kind == "automl":
        return common.automl(dataset, spec if isinstance(spec, AutoMLSpec) else None, priority, mark)
    return None


def told(dataset: Dataset) -> str:
    """What there is to learn from."""
    n_rows, what = sum(dataset.n_rows.values()), f"{shared.TASKS[dataset.task]} of {dataset.target}"
    if dataset.modality == "image":
        return f"{what}: {n_rows:,} images"
    if dataset.modality == "text":
        return f"{what}: {n_rows:,} texts"
    return f"{what}: {n_rows:,} rows, {sum(column.type != 'text' for column in dataset.features):,} features"


st.title("New job")
st.caption("Every model that a job finds is scored on the same test rows as every other trial of the dataset.")
with shared.sentences():
    show()
