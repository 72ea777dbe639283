"""The forms of the kinds of job: each gives what was asked as a dict that `specs.parse` takes.

Numbers have no limits here: a browser that meets one does not submit and does not say why; core says it.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from core import kinds, machine
from core.datasets import Dataset
from core.queue import jobs, runners
from core.scoring import metrics_for
from core.specs import (
    AUTOML_ALGORITHMS,
    NAS_STRATEGIES,
    PORTFOLIO_CANDIDATES,
    AutoMLSpec,
    FewShotSpec,
    NASSpec,
    PortfolioSpec,
    Spec,
)
from pages import shared

_GIB = 2**30
LABELS = {  # of algorithms whose own name says less
    "GLM": "GLM (linear)",
    "DRF": "Random forest",
    "DeepLearning": "Deep learning",
    "StackedEnsemble": "Stacked ensemble",
}
STRATEGIES = {
    "gp": "Gaussian process, Thompson sampling",
    "evolution": "Regularized evolution",
    "local": "Local search",
    "reinforce": "REINFORCE controller",
    "gradient": "Gradient (PC-DARTS), retrained from scratch",
    "random": "Random",
}
DEVICES = {0: "CPU", 1: "GPU"}


def automl(dataset: Dataset, start: AutoMLSpec | None, priority: int, mark: str) -> dict[str, Any] | None:
    """The fields of H2O AutoML, from `start` on; what was given, once it is submitted."""
    start = start or AutoMLSpec(dataset_id=dataset.id)
    with st.form("automl", border=True, enter_to_submit=False):
        st.subheader("Search")
        given = _models(start, mark)
        st.subheader("Judging")
        given |= _ranking(dataset, start, f"{mark}_{dataset.id}")
        st.subheader("Resources and queue")
        given |= resources(start, priority, mark)
        cost("It takes the time budget, in which Java starts and the yardsticks are fitted, and some seconds more.")
        submitted = st.form_submit_button("Submit job", type="primary", icon=":material/send:", key="submit")
    return {**given, "kind": "automl", "dataset_id": dataset.id} if submitted else None


def nas(dataset: Dataset, start: NASSpec | None, priority: int, mark: str) -> dict[str, Any] | None:
    """The fields of a network search, from `start` on; what was given, once it is submitted."""
    start, mark = start or NASSpec(dataset_id=dataset.id), f"_nas{mark}"
    with st.form("nas", border=True, enter_to_submit=False):
        st.subheader("Search")
        given = _search(start, mark) | _limits(dataset, start, mark)
        st.subheader("Full training")
        given |= _finalists(dataset, start, mark)
        st.subheader("Resources and queue")
        given |= resources(start, priority, mark)
        cost("It takes about the time budget, the full training of the finalists included.")
        submitted = st.form_submit_button("Submit job", type="primary", icon=":material/send:", key="submit")
    return {**given, "kind": "nas", "dataset_id": dataset.id} if submitted else None


def portfolio(dataset: Dataset, start: PortfolioSpec | None, priority: int, mark: str) -> dict[str, Any] | None:
    """The fields of a portfolio, from `start` on; what was given, once it is submitted."""
    start, mark = start or PortfolioSpec(dataset_id=dataset.id), f"_portfolio{mark}"
    with st.form("portfolio", border=True, enter_to_submit=False):
        st.subheader("Candidates")
        given = _candidates(dataset, start, mark)
        st.subheader("Resources and queue")
        given |= resources(start, priority, mark)
        cost("Most datasets take a minute or two; the time budget is never exceeded by more than seconds.")
        submitted = st.form_submit_button("Submit job", type="primary", icon=":material/send:", key="submit")
    return {**given, "kind": "portfolio", "dataset_id": dataset.id} if submitted else None


def _candidates(dataset: Dataset, start: PortfolioSpec, mark: str) -> dict[str, Any]:
    """Which pipelines, how long each and all of them may take, and by what they are judged."""
    chosen = st.pills(
        "Candidates", list(PORTFOLIO_CANDIDATES), selection_mode="multi", default=list(start.candidates),
        key=f"candidates{mark}",
        help="The scikit-learn models to fit, each with preprocessing that suits it. Those that the task does not have"
        " are passed over.",
    )  # fmt: skip
    one, two, three = st.columns(3)
    budget = one.number_input(
        "Time budget, seconds", value=start.budget_s, step=10, key=f"budget_s{mark}",
        help="For all candidates. The quick ones come first; what is not done by then is left out.",
    )  # fmt: skip
    longest = two.number_input(
        "Limit per candidate, seconds", value=start.candidate_s, step=10, key=f"candidate_s{mark}",
        help="A candidate that takes longer is given up, and the others go on.",
    )  # fmt: skip
    with three:
        metric = _metric(dataset, start, f"{mark}_{dataset.id}", "What the candidates are ranked by.")
    return {"candidates": chosen, "budget_s": budget, "candidate_s": longest, "metric": metric}


def _models(start: AutoMLSpec, mark: str) -> dict[str, Any]:
    """How long, how many, and of what kind."""
    left, right = st.columns(2)
    budget = left.number_input(
        "Time budget, seconds", value=start.budget_s, step=10, key=f"budget_s{mark}",
        help="How long AutoML may train. More time means more models and better tuned ones.",
    )  # fmt: skip
    models = right.number_input(
        "Maximum models", value=start.max_models, step=1, key=f"max_models{mark}",
        help="The search ends after this many models even if time is left. Ensembles do not count.",
    )  # fmt: skip
    chosen = st.pills(
        "Algorithms", list(AUTOML_ALGORITHMS), selection_mode="multi", default=list(start.algorithms),
        format_func=lambda name: LABELS.get(name, name), key=f"algorithms{mark}",
        help="The kinds of model to try. A stacked ensemble combines the others.",
    )  # fmt: skip
    return {"budget_s": budget, "max_models": models, "algorithms": chosen}


def _ranking(dataset: Dataset, start: AutoMLSpec, mark: str) -> dict[str, Any]:
    """By what models are ranked."""
    left, right = st.columns(2)
    with left:
        metric = _metric(dataset, start, mark, "What AutoML ranks by.")
    folds = right.number_input(
        "Cross-validation folds", value=start.folds, step=1, key=f"folds{mark}", placeholder="Automatic",
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


def _search(start: NASSpec, mark: str) -> dict[str, Any]:
    """How long, how many networks, and who proposes them."""
    one, two, three, four = st.columns(4)
    budget = one.number_input(
        "Time budget, seconds", value=start.budget_s, step=10, key=f"budget_s{mark}",
        help="For the search and the full training of the finalists. More time means more networks, trained longer.",
    )  # fmt: skip
    candidates = two.number_input(
        "Maximum candidates", value=start.max_candidates, step=8, key=f"max_candidates{mark}",
        help="The search ends after this many different networks even if time is left.",
    )  # fmt: skip
    epochs = three.number_input(
        "Maximum candidate-epochs", value=start.max_candidate_epochs, step=100, key=f"max_candidate_epochs{mark}",
        placeholder="No limit",
        help="The search ends once its candidates were trained for so many epochs together, finalists apart. It makes "
        "searches on machines of different speed alike.",
    )  # fmt: skip
    strategy = four.selectbox(
        "Strategy", list(NAS_STRATEGIES), index=NAS_STRATEGIES.index(start.strategy), key=f"strategy{mark}",
        format_func=lambda name: STRATEGIES.get(name, name),
        help="Who proposes the next networks. **Gaussian process**: learns the error from what was tried and draws "
        "from its beliefs; the best choice for most. **Evolution**: changes the best of the recent ones. "
        "**Local search**: tries the neighbours of the best one. **REINFORCE**: trains a controller that writes "
        "networks; it needs many candidates. **Gradient**: trains one network that holds all operations, and trains "
        "those that it finds likely from scratch. **Random**: to compare with.",
    )  # fmt: skip
    given = {"budget_s": budget, "max_candidates": candidates, "max_candidate_epochs": epochs}
    return given | {"strategy": strategy}


def _limits(dataset: Dataset, start: NASSpec, mark: str) -> dict[str, Any]:
    """Which networks are not trained, and the search that this one goes on with."""
    one, two, three = st.columns([1, 1, 2])
    largest = one.number_input(
        "Maximum parameters", value=start.max_parameters, step=10_000, key=f"max_parameters{mark}",
        placeholder="No limit",
        help="Larger networks are not trained. Smaller ones predict faster and take less memory.",
    )  # fmt: skip
    slowest = two.number_input(
        "Maximum latency, ms", value=start.max_latency_s and start.max_latency_s * 1e3, step=1.0, format="%g",
        key=f"max_latency_ms{mark}", placeholder="No limit",
        help="Networks that take longer to predict one row alone, on the device of the job, are not trained.",
    )  # fmt: skip
    ended = shared.read(jobs.overview, statuses=jobs.ENDED, dataset_id=dataset.id)
    ids = [
        int(job_id)
        for job_id in ended[ended["kind"].isin([kind.name for kind in kinds.KINDS if kind.continuable])]["id"]
    ]
    ids += [start.continues] if start.continues and start.continues not in ids else []
    continues = three.selectbox(
        "Continues job", ids, index=ids.index(start.continues) if start.continues else None,
        format_func=lambda job_id: f"Job {job_id}", key=f"continues{mark}_{dataset.id}",
        placeholder="None: a new search", disabled=not ids,
        help="Go on from where an ended search on this dataset stopped. The budgets count from here.",
    )  # fmt: skip
    latency = None if slowest is None else slowest / 1e3
    return {"max_parameters": largest, "max_latency_s": latency, "continues": continues}


def _finalists(dataset: Dataset, start: NASSpec, mark: str) -> dict[str, Any]:
    """What is trained in full, and by what it is judged."""
    one, two, three = st.columns(3)
    finalists = one.number_input(
        "Finalists", value=start.finalists, step=1, key=f"finalists{mark}",
        help="The best networks of the search are trained in full, scored on test and kept with their files.",
    )  # fmt: skip
    epochs = two.number_input(
        "Epochs", value=start.epochs, step=1, key=f"epochs{mark}", placeholder="Automatic",
        help="Of the full training: how often each row is seen. Empty: as many as the time budget allows.",
    )  # fmt: skip
    with three:
        metric = _metric(dataset, start, f"{mark}_{dataset.id}", "What the finalists are ranked by.")
    return {"finalists": finalists, "epochs": epochs, "metric": metric}


def _metric(dataset: Dataset, start: Spec, mark: str, told: str) -> str:
    """One of the metrics that the dataset's task has."""
    names = metrics_for(dataset.task)
    return st.selectbox(
        "Metric", names, index=names.index(start.metric) if start.metric in names else 0,
        format_func=shared.metric_label, key=f"metric{mark}",
        help=f"{told} ↑ higher is better, ↓ lower is better. All metrics are computed anyway.",
    )  # fmt: skip


def resources(start: Spec, priority: int, mark: str) -> dict[str, Any]:
    """What the job may use, and its place in the queue. Adds `priority`, which is no part of the spec."""
    slots = shared.read(runners.slots)
    one, two, three, four = st.columns(4)
    cpus = one.number_input(
        "CPU threads", value=start.cpus, step=1, key=f"cpus{mark}",
        help=f"The job waits until this many are free.{f' The runner has {slots[0]}.' if slots else ''}",
    )  # fmt: skip
    with two:
        engine = _engine(start, mark)
    seed = three.number_input(
        "Seed", value=start.seed, step=1, key=f"seed{mark}",
        help="The same seed repeats the search as far as time limits allow.",
    )  # fmt: skip
    order = four.number_input(
        "Priority", value=priority, step=1, key=f"priority{mark}",
        help="Higher goes first. Jobs of the same priority start in the order of submission.",
    )  # fmt: skip
    note = st.text_input(
        "Note", start.note, max_chars=500, key=f"note{mark}", placeholder="What is this job for?",
        help="Shown in the list of jobs.",
    )  # fmt: skip
    return {"cpus": cpus, **engine, "seed": seed, "note": note, "priority": order}


def _engine(start: Spec, mark: str) -> dict[str, Any]:
    """What only this kind of job is asked for."""
    if isinstance(start, AutoMLSpec):
        return _memory(start, mark)
    return _device(start, mark) if isinstance(start, NASSpec | FewShotSpec) else {}


def _memory(start: AutoMLSpec, mark: str) -> dict[str, Any]:
    memory = st.number_input(
        "Memory, GiB", value=start.memory_bytes / _GIB, step=0.5, format="%.1f", key=f"memory_gib{mark}",
        help="Heap of the Java process. About four times the table's size in memory is a good start.",
    )  # fmt: skip
    return {"memory_bytes": int((memory or 0) * _GIB)}


def _device(start: NASSpec | FewShotSpec, mark: str) -> dict[str, Any]:
    slots = shared.read(runners.slots)
    found = bool(slots[1] if slots else machine.gpu_slots())
    gpus = st.selectbox(
        "Device", [0, 1] if found or start.gpus else [0], index=start.gpus, format_func=lambda n: DEVICES[n],
        key=f"gpus{mark}",
        help="Where networks are trained." if found else "Where networks are trained. This machine has no GPU.",
    )  # fmt: skip
    return {"gpus": gpus}


def cost(told: str) -> None:
    """What the job will take, and who may come first."""
    counts = shared.read(jobs.counts)
    waiting = counts.get("queued", 0) + counts.get("running", 0)
    queue = f" {waiting} unfinished job{'s' if waiting > 1 else ''} may come first." if waiting else ""
    st.caption(told + queue)
