"""The kinds of job: one row each. Whoever needs to know what a kind can do asks its row.

A row names functions and modules as text ("module:function", "module"), so that reading this table imports no engine,
no page and no web framework; `load` brings one in. Nobody compares a kind with a string (tests/test_layering.py).
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
    """What there is to know of a kind of job.

    `name` is what specs and the store call it, `label` and `about` (one sentence) are for people, `entry` is the
    function `run(spec, context)` that does the job, imported in the job's own process only. `candidates` are the
    algorithms that advice may rank, by modality; `prefix` makes a candidate's name of one. A plan has a job of
    the kind on data of the `always_planned` modalities, and on those `planned_if_unknown` where no advice ranks its
    candidates: no plan could have named them. `resumable` jobs leave a
    checkpoint, `continuable` ones can be taken up by a later job, `immediate` ones take no slot and go first.

    `form` is the page part with the fields of a new job (its `show`; None where jobs are asked for elsewhere), and
    `results` the one that draws a job's results (its `tabs`). `check` takes a spec and its dataset and raises
    InputError where they do not fit; `order` gives what the job gets beside its spec, as a JSON-like dict (a job does
    not open the store). `warm` tells whether a process that has the engine loaded should wait for such jobs.
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
    results: str = "pages.parts.results.trials_found"
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
        "Learns from many small classes how to learn a new one from a few examples.",
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
        results="pages.parts.results.finetune_results",
        check="core.queue.checks:check_fine_tuning",
        order="core.results.initialisations:order",
        warm="core.results.initialisations:exist",
    ),
)


def of(name: str) -> Kind:
    """The row of a kind. Raises InputError for one that this version does not know."""
    for kind in KINDS:
        if kind.name == name:
            return kind
    known = ", ".join(kind.name for kind in KINDS)
    raise InputError(
        f"This version knows no kind of job {name!r}.", field="kind", value=name, remedy=f"Choose one of {known}."
    )


def for_spec(spec: type[Spec]) -> Kind:
    """Return the row of the kind whose specs are of this type."""
    return next(kind for kind in KINDS if kind.spec is spec)


def label(name: str) -> str:
    """What people call a kind; the stored name of one that a newer version has made."""
    return next((kind.label for kind in KINDS if kind.name == name), name)


def immediate() -> list[str]:
    """The names of the kinds that take no slot and go first."""
    return [kind.name for kind in KINDS if kind.immediate]


def load(reference: str) -> Any:
    """The module, or the "module:function", that a row names."""
    module, _, name = reference.partition(":")
    found = importlib.import_module(module)
    return getattr(found, name) if name else found


# The candidate of a trial `t`, in SQL. A baseline is fitted with scikit-learn by whatever engine.
CANDIDATE_SQL = (
    "CASE WHEN t.yardstick THEN t.algorithm "
    + " ".join(f"WHEN t.engine = '{k.name}' THEN '{k.prefix}' || t.algorithm" for k in KINDS if k.prefix)
    + " ELSE t.algorithm END"
)


def candidate(kind: str, algorithm: str) -> str:
    """The name under which advice and knowledge know an algorithm of a kind of job, as CANDIDATE_SQL has it."""
    return next((row.prefix for row in KINDS if row.name == kind), "") + algorithm


def of_candidate(name: str) -> tuple[Kind, str] | None:
    """The kind of job that trains a candidate, and its algorithm there; None for one known from imported runs only."""
    for kind in KINDS:
        algorithms = {algorithm for every in kind.candidates.values() for algorithm in every}
        if kind.prefix and name.startswith(kind.prefix):
            return kind, name.removeprefix(kind.prefix)
        if not kind.prefix and name in algorithms:
            return kind, name
    return None


def runnable(name: str, modality: str) -> bool:
    """Whether a job on data of this modality can train the candidate."""
    found = of_candidate(name)
    return found is not None and found[1] in found[0].candidates.get(modality, ())
