"""Advice: which candidates will do best on a dataset before anything runs, kept with what came of it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from core import datasets, kinds, metafeatures, results
from core.advice import fits
from core.advice.fits import Refit
from core.advice.selector import Selector
from core.advice.trust import PLAN_SIZE
from core.datasets import Dataset
from core.errors import InputError
from core.knowledge import METRIC, TaskKind
from core.queue import jobs
from core.specs import AutoMLSpec, NASSpec, Spec
from core.store import database

_RUN = 6  # of the first of the ranking, those that its engine trains besides the plan
_NEAR, _DRIVERS = 5, 6
_WORST = {"auc": 1.0, "r2": math.inf}  # what an error can be at most


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate with its predicted error, the 90% interval of it, and the seconds that its fit may take.

    NaN where nothing is known. `engine` is None for a candidate that is known from imported runs only.
    """

    candidate: str
    engine: str | None
    error: float
    lower: float
    upper: float
    fit_s: float


@dataclass(frozen=True, slots=True)
class Near:
    """A known dataset that is like the one asked for: its distance (0..1), and what was best there."""

    dataset: str
    origin: str  # "own", "shipped", or a scenario's name
    mark: str
    distance: float
    candidate: str
    error: float


@dataclass(frozen=True, slots=True)
class Driver:
    """A meta-feature that moved the predicted error of the first candidate: below zero speaks for it."""

    name: str
    value: float
    moved: float


@dataclass(frozen=True, slots=True)
class Advice:
    """What a selector says of a dataset. Errors are by `metric`, lower is better."""

    id: int
    dataset_id: int
    given_at: float
    fitted_at: float
    metric: str
    ranking: tuple[Ranked, ...]
    plan: tuple[str, ...]
    near: tuple[Near, ...]
    drivers: tuple[Driver, ...]
    falls_back: bool  # whether the safe default is recommended because the advice has not been better
    beyond: bool  # whether the dataset is unlike any known one
    blind: bool  # whether results on the dataset were known already; the advice does without them
    single_best: str
    reason: str
    n_known: int
    n_own: int


_BODY = tuple(field.name for field in fields(Advice) if field.name not in ("id", "dataset_id", "given_at", "fitted_at"))


def kind_of(dataset: Dataset) -> TaskKind:
    """Which of the selectors advises on it."""
    return "regression" if dataset.task == "regression" else "classification"


def advise(dataset_id: int) -> Advice:
    """The advice of the newest selector on a dataset: the one that was given, or a new one, which is kept.

    Raises InputError where there is no such dataset, no selector yet, or none that knows a candidate for it.
    """
    dataset = datasets.get(dataset_id)
    refit = fits.latest(kind_of(dataset))
    if refit is None:
        raise InputError("No selector has been fitted yet: a runner does it within a minute of its start.")
    given = latest(dataset_id)
    if given is not None and given.fitted_at == refit.fitted_at:
        return given
    return _keep(_made(dataset, refit, fits.selector(refit)))


def latest(dataset_id: int) -> Advice | None:
    """The last advice that was given on a dataset."""
    found = _read("dataset_id = ? ORDER BY given_at DESC LIMIT 1", dataset_id)
    return found[0] if found else None


def before_results(dataset_id: int) -> Advice | None:
    """The last advice that was given before any result on the dataset was known."""
    first = _first_results().get(dataset_id, math.inf)
    found = _read("dataset_id = ? AND given_at < ? ORDER BY given_at DESC LIMIT 1", dataset_id, first)
    return found[0] if found else None


def outcome(advice: Advice) -> pd.DataFrame:
    """What came of it: the candidates that have run, those of the ranking in its order, then the others.

    Columns: candidate, rank (from 1; NaN for a candidate that the advice did not know, as are the next three),
    predicted, lower, upper, actual (error on the test rows of the trial that valid chose), valid_error, inside (whether
    the interval held it).
    """
    actual = _actual([advice.dataset_id]).set_index("candidate")[["error", "valid_error"]]
    actual = actual.rename(columns={"error": "actual"})
    told = {item.candidate: (rank, item.error, item.lower, item.upper) for rank, item in enumerate(advice.ranking, 1)}
    columns = ["rank", "predicted", "lower", "upper"]
    frame = pd.DataFrame.from_dict(told, orient="index", columns=columns).reindex(actual.index).join(actual)
    frame = frame.sort_values("rank", kind="stable").rename_axis("candidate").reset_index()
    return frame.assign(inside=frame["actual"].between(frame["lower"], frame["upper"]))


def track_record() -> pd.DataFrame:
    """The advice on every dataset before its first results, the newest first, and its outcome.

    Columns: dataset_id, dataset, given_at, candidate (the first of the ranking that has run), predicted, lower, upper,
    actual, best (the best error of all candidates that have run), regret, default (the error of the safe default, NaN
    where it has not run), metric. Errors are NaN where nothing has run.
    """
    names = {dataset.id: dataset.name for dataset in datasets.all_datasets()}
    first = _first_results()
    last: dict[int, Advice] = {}
    for advice in _read("true ORDER BY given_at"):
        if advice.dataset_id in names and advice.given_at < first.get(advice.dataset_id, math.inf):
            last[advice.dataset_id] = advice
    actual = _actual(list(last))
    rows = [_record(advice, names[key], actual[actual["dataset_id"] == key]) for key, advice in last.items()]
    return pd.DataFrame(rows, columns=_RECORD).sort_values("given_at", ascending=False, ignore_index=True)


_RECORD = [
    "dataset_id", "dataset", "given_at", "candidate", "predicted", "lower", "upper", "actual", "best", "regret",
    "default", "metric",
]  # fmt: skip


def _record(advice: Advice, name: str, actual: pd.DataFrame) -> list[Any]:
    errors = dict(zip(actual["candidate"], actual["error"], strict=True))
    told: list[Any] = [advice.dataset_id, name, advice.given_at]
    first = next((item for item in advice.ranking if item.candidate in errors), None)
    if first is None:
        recommended = advice.ranking[0]
        return [*told, recommended.candidate, recommended.error, recommended.lower, recommended.upper,
                math.nan, math.nan, math.nan, math.nan, advice.metric]  # fmt: skip
    got, best = errors[first.candidate], min(errors.values())
    return [*told, first.candidate, first.error, first.lower, first.upper, got, best, got - best,
            errors.get(advice.single_best, math.nan), advice.metric]  # fmt: skip


def specs_of(advice: Advice, *, cpus: int = 2) -> list[Spec]:
    """The jobs that the plan comes to, one an engine, the one with the plan's first candidate first.

    The portfolio trains its candidates of the plan, and those among the first of the ranking; H2O trains what it has.
    H2O, where nothing is known of it, and the search for a network, where the data is no table, are there in any case:
    no plan could have named them.
    """
    dataset = datasets.get(advice.dataset_id)
    wanted = list(dict.fromkeys([*advice.plan, *(item.candidate for item in advice.ranking[:_RUN])]))
    known = {item.engine for item in advice.ranking}
    by_engine: dict[str, list[str]] = {}
    for name in wanted:
        if (trained := kinds.of_candidate(name)) is not None:
            by_engine.setdefault(trained[0].name, []).append(trained[1])
    for kind in kinds.KINDS:
        if dataset.modality in kind.always_planned or (
            dataset.modality in kind.planned_if_unknown and kind.name not in known
        ):
            by_engine.setdefault(kind.name, [])
    return [_spec(engine, names, dataset.id, cpus) for engine, names in by_engine.items()]


def _spec(engine: str, names: list[str], dataset_id: int, cpus: int) -> Spec:
    common: dict[str, Any] = {"dataset_id": dataset_id, "cpus": cpus, "note": "From the advice"}
    spec = kinds.of(engine).spec
    if "candidates" in spec.model_fields:  # the others train what they have
        common["candidates"] = tuple(names)
    return spec(**common)


def ranked_algorithms(advice: Advice) -> tuple[str, ...]:
    """H2O's algorithms among the first of the ranking, with its ensembles; empty where none is there."""
    names = [item.candidate for item in advice.ranking[:_RUN] if item.engine == kinds.for_spec(AutoMLSpec).name]
    found = dict.fromkeys([*(item[1] for name in names if (item := kinds.of_candidate(name))), "StackedEnsemble"])
    return tuple(found) if set(found) != {"StackedEnsemble"} else ()


def warm_starts(advice: Advice) -> list[int]:
    """The last searches that have succeeded on near own datasets: jobs whose best a new search can start with."""
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


def run(advice: Advice, chosen: Iterable[Spec], *, user: str | None = None) -> list[int]:
    """Queue the jobs of a plan, remembered as those of the advice; returns their ids, in the same order."""
    chosen = list(chosen)
    if not chosen:
        raise InputError("plan: no job is chosen; choose at least one.")
    ids = [jobs.submit(spec, user=user, reason=f"advice {advice.id}") for spec in chosen]
    with database.transaction(write=True) as connection:
        connection.executemany("INSERT INTO advice_jobs VALUES (?, ?)", [[advice.id, job_id] for job_id in ids])
    return ids


def jobs_of(dataset_id: int) -> list[int]:
    """The ids of the jobs that plans of a dataset have queued."""
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT p.job_id FROM advice_jobs p JOIN advice a ON a.id = p.advice_id WHERE a.dataset_id = ?"
            " ORDER BY p.job_id",
            [int(dataset_id)],
        ).fetchall()
    return [job_id for (job_id,) in rows]


def _made(dataset: Dataset, refit: Refit, selector: Selector) -> Advice:
    """The advice, not kept yet."""
    found = metafeatures.get(dataset.id)
    features = pd.DataFrame([found], [dataset.name])
    known = list(selector.model.errors.columns)
    among = [name for name in known if not kinds.of_candidate(name) or kinds.runnable(name, dataset.modality)]
    runnable = [name for name in among if kinds.of_candidate(name)]
    if not runnable:
        raise InputError(
            f"Nothing is known of any candidate that {dataset.name!r} could have; run a portfolio on it first."
        )
    ranking = selector.predict(features, among=among).loc[dataset.name]
    plan = list(map(str, selector.plan(features, PLAN_SIZE, among=runnable).loc[dataset.name]))
    safe = _single_best(selector, runnable)
    if selector.falls_back and safe not in plan:
        plan = [safe, *plan[:-1]]  # what is recommended alone is part of the plan, too
    drivers = selector.drivers(features, _DRIVERS, among=among)[dataset.name]
    return Advice(
        id=0, dataset_id=dataset.id, given_at=time.time(), fitted_at=refit.fitted_at, metric=METRIC[dataset.task],
        ranking=tuple(
            Ranked(str(name), _engine(str(name)), float(row.error), float(row.lower),
                   min(float(row.upper), _WORST[METRIC[dataset.task]]), fits.fit_s(refit.fit_times, str(name), found))
            for name, row in ranking.iterrows()
        ),
        plan=tuple(plan),
        near=_near(dataset, refit, selector, features),
        drivers=tuple(Driver(str(name), found[str(name)], float(moved)) for name, moved in drivers.items()),
        falls_back=selector.falls_back, beyond=bool(selector.outliers(features).iloc[0]),
        blind=dataset.name in selector.model.errors.index,
        single_best=safe, reason=selector.trust.sentence(safe),
        n_known=refit.n_datasets, n_own=refit.n_own,
    )  # fmt: skip


def _engine(candidate: str) -> str | None:
    trained = kinds.of_candidate(candidate)
    return trained[0].name if trained else None


def _single_best(selector: Selector, among: Collection[str]) -> str:
    """The safe default among the candidates: what cannot run on a dataset is no default for it."""
    names = np.asarray(selector.model.errors.columns)[selector.model.safe]
    return str(next(name for name in names if name in among))


def _near(dataset: Dataset, refit: Refit, selector: Selector, features: pd.DataFrame) -> tuple[Near, ...]:
    table = selector.similar_datasets(features, _NEAR + 1)[dataset.name]
    table = table[table["dataset"] != dataset.name].head(_NEAR)
    return tuple(
        Near(str(name), refit.marks[name][0], refit.marks[name][1], float(distance), str(candidate), float(error))
        for name, distance, candidate, error in table.itertuples(index=False)
    )


def _keep(advice: Advice) -> Advice:
    body = {name: value for name, value in asdict(advice).items() if name in _BODY}
    row = {name: getattr(advice, name) for name in ("dataset_id", "given_at", "fitted_at")}
    with database.transaction(write=True) as connection:
        advice_id = database.insert(connection, "advice", row | {"body": json.dumps(body)})
    return replace(advice, id=advice_id)


def _read(condition: str, *values: Any) -> list[Advice]:
    with database.transaction() as connection:
        rows = connection.execute(
            f"SELECT id, dataset_id, given_at, fitted_at, body FROM advice WHERE {condition}", list(values)
        ).fetchall()
    return [_advice(*row) for row in rows]


def _advice(advice_id: int, dataset_id: int, given_at: float, fitted_at: float, text: str) -> Advice:
    body = json.loads(text)
    parts: dict[str, Any] = {"ranking": Ranked, "near": Near, "drivers": Driver}
    body |= {name: tuple(part(**item) for item in body[name]) for name, part in parts.items()}
    return Advice(advice_id, dataset_id, given_at, fitted_at, **body | {"plan": tuple(body["plan"])})


def _first_results() -> dict[int, float]:
    """When the first trial of each dataset was recorded."""
    with database.transaction() as connection:
        return dict(
            connection.execute("SELECT dataset_id, min(happened_at) FROM trials GROUP BY dataset_id").fetchall()
        )


def _actual(dataset_ids: list[int]) -> pd.DataFrame:
    """What has run on the datasets: dataset_id, candidate, error and valid_error by the metric that advice speaks."""
    frame = results.chosen_trials(METRIC)
    known = np.isfinite(frame[["error", "valid_error"]]).all(axis=1)
    return frame[frame["dataset_id"].isin(dataset_ids) & known]
