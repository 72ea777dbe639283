"""Advice: which candidates will do best on a dataset, predicted before anything runs and stored.

This module writes the table `advice`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from core import datasets, kinds, metafeatures
from core.advice import fit_times, fits
from core.advice.fits import Fit
from core.advice.selector import Selector
from core.advice.trust import PLAN_SIZE
from core.datasets import Dataset
from core.errors import InputError
from core.knowledge import METRIC, TaskType
from core.store import database

_MAX_SIMILAR, _MAX_DRIVERS = 5, 6
_MAX_ERROR = {"auc": 1.0, "r2": math.inf}  # by metric


@dataclass(frozen=True, slots=True)
class RankedCandidate:
    """A candidate with its predicted error, the 90% interval of it, and the seconds that its fit may take.

    NaN where unknown. `engine` is None for a candidate that only imported runs have.
    """

    candidate: str
    engine: str | None
    error: float
    lower: float
    upper: float
    fit_s: float


@dataclass(frozen=True, slots=True)
class SimilarDataset:
    """A known dataset that is similar: its distance (0..1), and the best candidate there with its error."""

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
    ranking: tuple[RankedCandidate, ...]
    plan: tuple[str, ...]
    near: tuple[SimilarDataset, ...]
    drivers: tuple[Driver, ...]
    falls_back: bool  # whether the safe default is recommended because the advice has not been better
    beyond: bool  # whether the dataset is unlike any known one
    blind: bool  # whether there were results on the dataset already; the advice does not use them
    single_best: str
    reason: str
    n_known: int
    n_own: int


_BODY = [field.name for field in fields(Advice) if field.name not in ("id", "dataset_id", "given_at", "fitted_at")]
_PARTS: dict[str, Any] = {"ranking": RankedCandidate, "near": SimilarDataset, "drivers": Driver}


def task_type(dataset: Dataset) -> TaskType:
    """Return the type of task, which says which of the selectors advises on a dataset."""
    return "regression" if dataset.task == "regression" else "classification"


def advise(dataset_id: int) -> Advice:
    """Return the advice of the last fitted selector on a dataset; advice that is new is stored.

    Raises InputError if there is no such dataset, no selector yet, or no result of a candidate that could run on it.
    """
    dataset = datasets.get(dataset_id)
    fit = fits.last_fit(task_type(dataset))
    if fit is None:
        raise InputError(
            "No selector has been fitted yet.", remedy="Start a runner: it fits one within a minute of its start."
        )
    last = last_advice(dataset_id)
    if last is not None and last.fitted_at == fit.fitted_at:
        return last
    return _save(_make(dataset, fit, fits.load_selector(fit)))


def last_advice(dataset_id: int, *, before_results: bool = False) -> Advice | None:
    """Return the last advice given on a dataset, or the last one before there was any result on it."""
    until = first_result_times().get(dataset_id, math.inf) if before_results else math.inf
    advice = _read("dataset_id = ? AND given_at < ? ORDER BY given_at DESC LIMIT 1", dataset_id, until)
    return advice[0] if advice else None


def all_advice() -> list[Advice]:
    """Return all advice, the oldest first."""
    return _read("true ORDER BY given_at")


def first_result_times() -> dict[int, float]:
    """Return for each dataset with results when the first trial was recorded."""
    with database.transaction() as connection:
        return dict(
            connection.execute("SELECT dataset_id, min(happened_at) FROM trials GROUP BY dataset_id").fetchall()
        )


def _make(dataset: Dataset, fit: Fit, selector: Selector) -> Advice:
    """Return advice that is not stored yet."""
    values = metafeatures.get(dataset.id)
    features = pd.DataFrame([values], [dataset.name])
    names = list(selector.model.errors.columns)
    among = [name for name in names if not kinds.of_candidate(name) or kinds.runnable(name, dataset.modality)]
    runnable = [name for name in among if kinds.of_candidate(name)]
    if not runnable:
        raise InputError(
            f"There is no result of any candidate that could run on {dataset.name!r}.",
            remedy="Run a portfolio on it first.",
        )
    plan = list(map(str, selector.plan(features, PLAN_SIZE, among=runnable).loc[dataset.name]))
    safe = _safe_default(selector, runnable)
    if selector.falls_back and safe not in plan:
        plan = [safe, *plan[:-1]]  # the candidate that is recommended is part of the plan, too
    drivers = selector.drivers(features, _MAX_DRIVERS, among=among)[dataset.name]
    ranking = selector.predict(features, among=among).loc[dataset.name]
    return Advice(
        id=0, dataset_id=dataset.id, given_at=time.time(), fitted_at=fit.fitted_at, metric=METRIC[dataset.task],
        ranking=_ranking(ranking, fit, values, _MAX_ERROR[METRIC[dataset.task]]),
        plan=tuple(plan),
        near=_similar_datasets(dataset, fit, selector, features),
        drivers=tuple(Driver(str(name), values[str(name)], float(moved)) for name, moved in drivers.items()),
        falls_back=selector.falls_back, beyond=bool(selector.outliers(features).iloc[0]),
        blind=dataset.name in selector.model.errors.index,
        single_best=safe, reason=selector.trust.sentence(safe),
        n_known=fit.n_datasets, n_own=fit.n_own,
    )  # fmt: skip


def _ranking(
    predictions: pd.DataFrame, fit: Fit, values: dict[str, float], max_error: float
) -> tuple[RankedCandidate, ...]:
    rows = predictions[["error", "lower", "upper"]].itertuples()
    return tuple(
        RankedCandidate(
            str(name), _engine(str(name)), float(error), float(lower), min(float(upper), max_error),
            fit_times.predict_s(fit.fit_times, str(name), values),
        )
        for name, error, lower, upper in rows
    )  # fmt: skip


def _engine(candidate: str) -> str | None:
    kind = kinds.of_candidate(candidate)
    return kind[0].name if kind else None


def _safe_default(selector: Selector, among: Collection[str]) -> str:
    """Return the safe default among the candidates: one that cannot run on a dataset is no default for it."""
    names = np.asarray(selector.model.errors.columns)[selector.model.safe]
    return str(next(name for name in names if name in among))


def _similar_datasets(
    dataset: Dataset, fit: Fit, selector: Selector, features: pd.DataFrame
) -> tuple[SimilarDataset, ...]:
    table = selector.similar_datasets(features, _MAX_SIMILAR + 1)[dataset.name]
    table = table[table["dataset"] != dataset.name].head(_MAX_SIMILAR)
    return tuple(
        SimilarDataset(str(name), fit.marks[name][0], fit.marks[name][1], float(distance), str(candidate), float(error))
        for name, distance, candidate, error in table.itertuples(index=False)
    )


def _save(advice: Advice) -> Advice:
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
    body |= {name: tuple(part(**item) for item in body[name]) for name, part in _PARTS.items()}
    return Advice(advice_id, dataset_id, given_at, fitted_at, **body | {"plan": tuple(body["plan"])})
