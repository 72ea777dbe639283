"""The kinds of job: one row each. Code that depends on the kind of a job reads the row.

A row names functions and modules as text ("module:function", "module"): this table imports no engine, no page and no
web framework. `load` imports them. No other code compares a kind with a string (see tests/test_house.py).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.errors import InputError
from core.specs import (
    AUTOML_ALGORITHMS,
    PORTFOLIO_CANDIDATES,
    AutoMLSpec,
    FewShotSpec,
    FineTuneSpec,
    NASSpec,
    PortfolioSpec,
    Spec,
)

NETWORKS = {"image": ("CNN",), "text": ("Conv1d", "GRU", "LSTM", "Transformer"), "table": ("MLP", "ResidualMLP")}
MODALITIES = ("table", "text", "image")


@dataclass(frozen=True, slots=True)
class Kind:
    """The properties of a kind of job.

    `name` is its name in specs and in the store; `label` and `about` (one sentence) are for users. `entry` is the
    engine's function `run(spec, context)`, which only the job's own process imports. `modalities` are the kinds of
    data that it takes. `resumable` jobs leave a checkpoint, `continuable` jobs can be continued by a later job, and
    `immediate` jobs take no slot and go first.

    `candidates` are the algorithms that advice may rank, by modality. `prefix` and an algorithm make the name of a
    candidate. A plan always has a job of this kind for the `always_planned` modalities. It has one for the
    `planned_if_unknown` modalities if advice ranks none of its candidates.

    `form` is the page part with the fields of a new job on the New job page (its `show`). `page` is the script of
    another page that submits such jobs. `results` is the page part that draws the results (its `tabs`). `check` takes
    a spec and its dataset and raises InputError if they do not fit. `order` returns the JSON-like dict that the job
    gets beside its spec, because a job does not open the store. `warm` returns whether a process with the engine
    loaded should wait for such jobs.
    """

    name: str
    label: str
    about: str
    spec: type[Spec]
    entry: str
    modalities: tuple[str, ...] = MODALITIES
    always_planned: tuple[str, ...] = ()
    planned_if_unknown: tuple[str, ...] = ()
    candidates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    prefix: str = ""
    resumable: bool = False
    continuable: bool = False
    immediate: bool = False
    form: str | None = None
    page: str | None = None
    results: str = "pages.parts.results.trial_results"
    check: str | None = None
    order: str | None = None
    warm: str | None = None


KINDS: tuple[Kind, ...] = (
    Kind(
        "automl",
        "H2O AutoML",
        "Trains many kinds of model on a table.",
        AutoMLSpec,
        "runner.automl.job:run",
        modalities=("table",),
        planned_if_unknown=("table",),
        candidates={"table": AUTOML_ALGORITHMS},
        prefix="H2O ",
        form="pages.parts.forms.automl_form",
        results="pages.parts.results.automl_results",
    ),
    Kind(
        "nas",
        "Neural architecture search",
        "Finds a network for images, texts or a table.",
        NASSpec,
        "runner.nas.job:run",
        always_planned=("text", "image"),
        candidates=NETWORKS,
        prefix="NAS ",
        resumable=True,
        continuable=True,
        form="pages.parts.forms.nas_form",
        results="pages.parts.results.nas_results",
        check="core.queue.checks:check_search",
    ),
    Kind(
        "portfolio",
        "Portfolio",
        "Fits scikit-learn models of many kinds on any dataset.",
        PortfolioSpec,
        "runner.portfolio.job:run",
        candidates=dict.fromkeys(MODALITIES, PORTFOLIO_CANDIDATES),
        form="pages.parts.forms.portfolio_form",
        results="pages.parts.results.portfolio_results",
    ),
    Kind(
        "fewshot",
        "Few-shot meta-training",
        "Trains on many small classes so that new ones can be learned from a few examples.",
        FewShotSpec,
        "runner.fewshot.job:run",
        resumable=True,
        form="pages.parts.forms.fewshot_form",
        results="pages.parts.results.fewshot_results",
        check="core.queue.checks:check_meta_training",
    ),
    Kind(
        "finetune",
        "Few-shot fine-tuning",
        "Learns new classes from a few examples, within seconds.",
        FineTuneSpec,
        "runner.fewshot.fine_tune:run",
        immediate=True,
        page="pages/playground.py",
        results="pages.parts.results.finetune_results",
        check="core.queue.checks:check_fine_tuning",
        order="core.results.initialisations:order",
        warm="core.results.initialisations:exist",
    ),
)


def of(name: str) -> Kind:
    """Return the row of a kind. Raises InputError for a kind that this version does not have."""
    for kind in KINDS:
        if kind.name == name:
            return kind
    names = ", ".join(kind.name for kind in KINDS)
    text = f"There is no kind of job {name!r} in this version."
    raise InputError(text, field="kind", value=name, remedy=f"Choose one of {names}.")


def find(name: str) -> Kind | None:
    """Return the row of a kind; None for one that this version does not know."""
    return next((kind for kind in KINDS if kind.name == name), None)


def for_spec(spec: type[Spec]) -> Kind:
    """Return the row of the kind whose specs are of this type."""
    return next(kind for kind in KINDS if kind.spec is spec)


def label(name: str) -> str:
    """Return the label of a kind, or its stored name if only another version has it."""
    return next((kind.label for kind in KINDS if kind.name == name), name)


def immediate() -> list[str]:
    """Return the names of the kinds that take no slot and go first."""
    return [kind.name for kind in KINDS if kind.immediate]


def load(reference: str) -> Any:
    """Import and return the "module" or the "module:function" that a row names."""
    module, _, name = reference.partition(":")
    imported = importlib.import_module(module)
    return getattr(imported, name) if name else imported


# The candidate of a trial `t`, in SQL. Every engine fits its baselines with scikit-learn, so they have no prefix.
CANDIDATE_SQL = (
    "CASE WHEN t.yardstick THEN t.algorithm "
    + " ".join(f"WHEN t.engine = '{k.name}' THEN '{k.prefix}' || t.algorithm" for k in KINDS if k.prefix)
    + " ELSE t.algorithm END"
)


def candidate(kind: str, algorithm: str) -> str:
    """Return the name of an algorithm of a kind of job in advice and knowledge, the same as CANDIDATE_SQL gives."""
    return next((row.prefix for row in KINDS if row.name == kind), "") + algorithm


def of_candidate(name: str) -> tuple[Kind, str] | None:
    """Return the kind of job that trains a candidate, and its algorithm there; None if no kind trains it."""
    for kind in KINDS:
        algorithms = {algorithm for names in kind.candidates.values() for algorithm in names}
        if kind.prefix and name.startswith(kind.prefix):
            return kind, name.removeprefix(kind.prefix)
        if not kind.prefix and name in algorithms:
            return kind, name
    return None


def runnable(name: str, modality: str) -> bool:
    """Return whether a job on data of this modality can train the candidate."""
    pair = of_candidate(name)
    return pair is not None and pair[1] in pair[0].candidates.get(modality, ())
