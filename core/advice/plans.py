"""Plans: the jobs that advice leads to. This module writes the table `advice_jobs`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core import datasets, kinds
from core.advice.advice import Advice
from core.errors import InputError
from core.queue import jobs
from core.specs import AutoMLSpec, NASSpec, Spec
from core.store import database

_FIRST = 6  # candidates of the ranking that their engine trains besides the plan


def specs_of(advice: Advice, *, cpus: int = 2) -> list[Spec]:
    """Return the specs of a plan's jobs, one per engine, first the one with the plan's first candidate.

    An engine that takes a list of candidates trains those of the plan and those that rank first. A row of
    `core.kinds` says which engines are part of every plan, or of a plan if there is no result of theirs: no plan could
    name their candidates.
    """
    dataset = datasets.get(advice.dataset_id)
    names = dict.fromkeys([*advice.plan, *(item.candidate for item in advice.ranking[:_FIRST])])
    ranked_engines = {item.engine for item in advice.ranking}
    by_engine: dict[str, list[str]] = {}
    for name in names:
        if (candidate := kinds.of_candidate(name)) is not None:
            by_engine.setdefault(candidate[0].name, []).append(candidate[1])
    for kind in kinds.KINDS:
        if dataset.modality in kind.always_planned or (
            dataset.modality in kind.planned_if_unknown and kind.name not in ranked_engines
        ):
            by_engine.setdefault(kind.name, [])
    return [_spec(engine, algorithms, dataset.id, cpus) for engine, algorithms in by_engine.items()]


def _spec(engine: str, algorithms: list[str], dataset_id: int, cpus: int) -> Spec:
    values: dict[str, Any] = {"dataset_id": dataset_id, "cpus": cpus, "note": "From the advice"}
    spec = kinds.of(engine).spec
    if "candidates" in spec.model_fields:
        values["candidates"] = tuple(algorithms)
    return spec(**values)


def ranked_algorithms(advice: Advice) -> tuple[str, ...]:
    """Return H2O's algorithms among the first of the ranking, and its ensembles; empty if there is none."""
    names = [item.candidate for item in advice.ranking[:_FIRST] if item.engine == kinds.for_spec(AutoMLSpec).name]
    algorithms = [candidate[1] for name in names if (candidate := kinds.of_candidate(name))]
    listed = dict.fromkeys([*algorithms, "StackedEnsemble"])
    return tuple(listed) if set(listed) != {"StackedEnsemble"} else ()


def warm_starts(advice: Advice) -> list[int]:
    """Return the last successful searches on similar own datasets: jobs whose best a new search can start with."""
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT d.name, max(j.id) FROM jobs j JOIN datasets d ON d.id = j.dataset_id WHERE j.kind = ?"
            " AND j.status = 'succeeded' AND d.id <> ? AND list_contains(?, d.name) GROUP BY d.name",
            [
                kinds.for_spec(NASSpec).name,
                advice.dataset_id,
                [item.dataset for item in advice.near if item.origin == "own"],
            ],
        ).fetchall()
    last = dict(rows)
    return [last[item.dataset] for item in advice.near if item.dataset in last]


def run(advice: Advice, specs: Iterable[Spec], *, user: str | None = None) -> list[int]:
    """Queue the jobs of a plan and store that they belong to the advice; returns their ids in the same order.

    Raises InputError if there is no spec.
    """
    specs = list(specs)
    if not specs:
        raise InputError("No job is selected.", field="plan", remedy="Select at least one.")
    ids = [jobs.submit(spec, user=user, reason=f"advice {advice.id}") for spec in specs]
    with database.transaction(write=True) as connection:
        connection.executemany("INSERT INTO advice_jobs VALUES (?, ?)", [[advice.id, job_id] for job_id in ids])
    return ids


def jobs_of(dataset_id: int) -> list[int]:
    """Return the ids of the jobs that plans of a dataset have queued."""
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT p.job_id FROM advice_jobs p JOIN advice a ON a.id = p.advice_id WHERE a.dataset_id = ?"
            " ORDER BY p.job_id",
            [int(dataset_id)],
        ).fetchall()
    return [job_id for (job_id,) in rows]
