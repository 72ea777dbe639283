"""New job (?dataset=NAME or id, ?engine=KIND, ?clone=JOB fill the form): choose an engine, fill its form, submit.

The forms are in pages/parts/forms, one a kind of job; the rows of core/kinds.py name them.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from core import datasets, kinds, specs
from core.datasets import Dataset
from core.errors import MetascoutError
from core.kinds import Kind
from core.queue import jobs, runners
from core.specs import Spec
from pages import actions, links, reads, words
from pages.parts import messages

CONTENTS = {"image": "images", "text": "only texts", "table": "a table"}


def offered() -> dict[str, Kind]:
    """Return the kinds of job that have a form, by label."""
    return {kind.label: kind for kind in kinds.KINDS if kind.form}


def template() -> tuple[Spec | None, int, str]:
    """Return the spec to start from, its priority, and the mark that tells this form's fields from another's."""
    clone = links.id_of("clone")
    if clone is None:
        return None, 0, ""
    job = reads.read(jobs.get, clone)
    kind = kinds.of(job.kind)
    if kind.page:
        title = links.ENTRIES[kind.page].title
        st.info(f"Job {clone} was submitted on the {title} page. Edit it there.", icon=links.ENTRIES[kind.page].icon)
        links.link(kind.page, f"Open job {clone} in {title}", job=clone)
        return None, 0, ""
    st.info(f"The form starts from job {clone} and submits a new job.", icon=":material/content_copy:")
    return job.spec, job.priority, f"_{clone}"


def preselect(registered: list[Dataset], spec: Spec | None, mark: str) -> None:
    """Choose a cloned job's dataset and engine, once."""
    if spec is None or st.session_state.get("cloned") == mark:
        return
    st.session_state["cloned"] = mark
    st.session_state["dataset"] = next((d.name for d in registered if d.id == spec.dataset_id), None)
    st.session_state["engine"] = kinds.label(spec.kind)


def choose_kind(dataset: Dataset) -> Kind | None:
    """Draw the choice of engine, which the link keeps; None where it does not take such data, which it says."""
    options = offered()
    labels = list(options)
    links.preselect("engine", labels, {kind.name: label for label, kind in options.items()})
    if st.query_params.get("engine", labels[0]) not in labels:
        st.query_params.pop("engine")  # the reader was warned, or the session's state holds its meaning
    linked = "engine" in st.query_params or "engine" in st.session_state
    fitting = [label for label, kind in options.items() if dataset.modality in kind.modalities]
    if (st.session_state.get("engine_of", dataset.id) != dataset.id and fitting[0] != labels[0]) or not linked:
        st.session_state["engine"] = fitting[0]
    st.session_state["engine_of"] = dataset.id
    label = st.segmented_control(
        "Engine", labels, required=True, key="engine", bind="query-params",
        help=" ".join(f"**{label}**: {kind.about}" for label, kind in options.items()),
    )  # fmt: skip
    if label not in fitting:
        st.warning(
            words.plain(
                f"{label} does not take this data: {dataset.name} holds {CONTENTS[dataset.modality]}."
                f" Choose {', '.join(fitting[:-1])} or {fitting[-1]}."
            ),
            icon=":material/block:",
        )
        return None
    return options[label]


def submit(fields: dict[str, Any]) -> None:
    """Check the fields, queue the job and say so."""
    priority = fields.pop("priority")
    job_id = jobs.submit(specs.parse(fields), priority=priority, user=actions.user())
    st.success(f"Job {job_id} is queued. It runs even if you close this page.", icon=":material/check_circle:")
    if not reads.read(runners.alive):
        st.warning("No runner is running, so this job waits. Home says how to start one.", icon=":material/power_off:")
    with st.container(horizontal=True):
        links.link(links.JOB, f"Open job {job_id}", icon=":material/arrow_forward:", job=job_id)
        links.link(links.JOBS, "All jobs")


def show() -> None:
    """Draw the page below its title."""
    registered = reads.read(datasets.all_datasets)
    if not registered:
        messages.empty("A job needs a dataset, and there is none yet.", links.ADD_DATASET, "Add a dataset")
        return
    try:
        spec, priority, mark = template()
    except MetascoutError as error:
        messages.show(error)
        spec, priority, mark = None, 0, ""
    preselect(registered, spec, mark)
    dataset = links.choose_dataset(registered, placeholder="Choose a dataset")
    if dataset is None:
        st.info("Choose the dataset to learn from.", icon=":material/table:")
        return
    st.caption(words.plain(summary(dataset)))
    with messages.show_errors():
        kind = choose_kind(dataset)
        if kind is None or kind.form is None:
            return
        start = spec if isinstance(spec, kind.spec) else None
        fields = kinds.load(kind.form).show(dataset, start, priority, mark)
        if fields is not None:
            submit({**fields, "kind": kind.name, "dataset_id": dataset.id})


def summary(dataset: Dataset) -> str:
    """Return a line about what there is to learn from."""
    n_rows, task = sum(dataset.n_rows.values()), f"{words.TASKS[dataset.task]} of {dataset.target}"
    if dataset.modality == "image":
        return f"{task}: {n_rows:,} images"
    if dataset.modality == "text":
        return f"{task}: {n_rows:,} texts"
    return f"{task}: {n_rows:,} rows, {sum(column.type != 'text' for column in dataset.features):,} features"


st.title("New job")
st.caption("Every trial on a dataset is scored on the same test rows.")
with messages.show_errors():
    show()
