"""New job (?dataset=NAME or id preselects, ?clone=JOB prefills): the form, and the wish it sends to the queue."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core import datasets, jobs, runners, specs
from core.datasets import Dataset
from core.errors import MetascoutError
from core.scoring import metrics_for
from core.specs import AUTOML_ALGORITHMS, AutoMLSpec
from pages import shared

_GIB = 2**30
LABELS = {  # of algorithms whose own name says less
    "GLM": "GLM (linear)",
    "DRF": "Random forest",
    "DeepLearning": "Deep learning",
    "StackedEnsemble": "Stacked ensemble",
}


def template() -> tuple[AutoMLSpec | None, int, str]:
    """The spec to start from, its priority, and what tells this form's fields from another's."""
    clone = shared.asked_id("clone")
    if clone is None:
        return None, 0, ""
    job = shared.read(jobs.get, clone)
    st.info(
        f"The form starts from job {clone}. Change what you like: a new job is made.", icon=":material/content_copy:"
    )
    return job.spec, job.priority, f"_{clone}"


def preselect(known: list[Dataset], spec: AutoMLSpec | None, mark: str) -> None:
    """A cloned job brings its dataset along, once."""
    if spec is None or st.session_state.get("cloned") == mark:
        return
    st.session_state["cloned"] = mark
    st.session_state["dataset"] = next((d.name for d in known if d.id == spec.dataset_id), None)


def form(dataset: Dataset, start: AutoMLSpec, priority: int, mark: str) -> dict[str, Any] | None:
    """The fields; what was given, once it is submitted."""
    with st.form("automl", border=True):
        st.subheader("Search")
        given = search_fields(start, mark)
        st.subheader("Judging")
        given |= judging_fields(dataset, start, f"{mark}_{dataset.id}")
        st.subheader("Resources and queue")
        given |= resource_fields(start, priority, mark)
        st.caption(cost())
        submitted = st.form_submit_button("Submit job", type="primary", icon=":material/send:", key="submit")
    return {**given, "kind": "automl", "dataset_id": dataset.id} if submitted else None


def search_fields(start: AutoMLSpec, mark: str) -> dict[str, Any]:
    """How long, how many, and of what kind."""
    left, right = st.columns(2)
    budget = left.number_input(
        "Time budget, seconds", 10, 86_400, start.budget_s, 10, key=f"budget_s{mark}",
        help="How long AutoML may train. More time means more models and better tuned ones.",
    )  # fmt: skip
    models = right.number_input(
        "Most models", 1, 1_000, start.max_models, 1, key=f"max_models{mark}",
        help="The search ends after this many models even if time is left. Ensembles do not count.",
    )  # fmt: skip
    chosen = st.pills(
        "Algorithms", list(AUTOML_ALGORITHMS), selection_mode="multi", default=list(start.algorithms),
        format_func=lambda name: LABELS.get(name, name), key=f"algorithms{mark}",
        help="The kinds of model to try. A stacked ensemble combines the others.",
    )  # fmt: skip
    return {"budget_s": budget, "max_models": models, "algorithms": chosen}


def judging_fields(dataset: Dataset, start: AutoMLSpec, mark: str) -> dict[str, Any]:
    """By what models are ranked."""
    left, right = st.columns(2)
    names = metrics_for(dataset.task)
    index = names.index(start.metric) if start.metric in names else 0
    metric = left.selectbox(
        "Metric", names, index=index, format_func=shared.metric_label, key=f"metric{mark}",
        help="What AutoML ranks by. ↑ higher is better, ↓ lower is better. All metrics are computed anyway.",
    )  # fmt: skip
    folds = right.number_input(
        "Cross-validation folds", 0, 20, start.folds, 1, key=f"folds{mark}", placeholder="Automatic",
        help="Each model is trained this many times more to judge it. 0: judge on the valid rows, which is faster."
        " Empty: 5 where the budget allows, else 0.",
    )  # fmt: skip
    given = {"metric": metric, "folds": folds}
    if dataset.task != "regression":
        given["balance_classes"] = st.toggle(
            "Balance classes", start.balance_classes, key=f"balance_classes{mark}",
            help="Repeat rows of rare classes in training. It may help to find them, and distorts probabilities.",
        )  # fmt: skip
    return given


def resource_fields(start: AutoMLSpec, priority: int, mark: str) -> dict[str, Any]:
    """What the job may use, and its place in the queue."""
    one, two, three, four = st.columns(4)
    cpus = one.number_input(
        "CPU threads", 1, 256, start.cpus, 1, key=f"cpus{mark}",
        help="The job waits until this many are free. One that asks for more than there are runs alone.",
    )  # fmt: skip
    memory = two.number_input(
        "Memory, GiB", 0.5, 1024.0, start.memory_bytes / _GIB, 0.5, format="%.1f", key=f"memory_gib{mark}",
        help="Heap of the Java process. About four times the table's size in memory is a good start.",
    )  # fmt: skip
    seed = three.number_input(
        "Seed", 0, 2**31 - 1, start.seed, 1, key=f"seed{mark}",
        help="The same seed repeats the search as far as time limits allow.",
    )  # fmt: skip
    order = four.number_input(
        "Priority", -100, 100, priority, 1, key=f"priority{mark}",
        help="Higher goes first. Jobs of the same priority start in the order of submission.",
    )  # fmt: skip
    note = st.text_input(
        "Note", start.note, max_chars=500, key=f"note{mark}", placeholder="What is this job for?",
        help="Shown in the list of jobs.",
    )  # fmt: skip
    given = {"cpus": cpus, "memory_bytes": int((memory or 0) * _GIB), "seed": seed, "note": note}
    return given | {"priority": order}


def cost() -> str:
    """What the job will take."""
    counts = shared.read(jobs.counts)
    waiting = counts.get("queued", 0) + counts.get("running", 0)
    queue = f" {waiting} unfinished job{'s' if waiting > 1 else ''} may come first." if waiting else ""
    return (
        f"It takes the time budget, in which Java starts and the yardsticks are fitted, and some seconds more.{queue}"
    )


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
    n_rows, n_columns = sum(dataset.n_rows.values()), sum(column.type != "text" for column in dataset.features)
    told = f"{shared.TASKS[dataset.task]} of {dataset.target}: {n_rows:,} rows, {n_columns:,} features"
    st.caption(shared.plain(told))
    given = form(dataset, spec or AutoMLSpec(dataset_id=dataset.id), priority, mark)
    if given is not None:
        with shared.sentences():
            submit(given)


st.title("New job")
st.caption("H2O AutoML trains many models. Each is scored on the same test rows as every other trial of the dataset.")
with shared.sentences():
    show()
