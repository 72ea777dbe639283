"""The fitted selectors, one for each type of task: refitted when more is known, and saved as files.

Fitting takes seconds and loads scikit-learn, so the runner does it in a separate process; giving advice only reads the
file. This module writes the tables `refits` and `refit_requests`.
"""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from core import knowledge
from core.advice import fit_times
from core.advice.learning_curve import regret_by_size
from core.advice.selector import Selector
from core.errors import InputError
from core.events import finite
from core.knowledge import TASK_TYPES, Knowledge, TaskType
from core.metafeatures import LANDMARKERS
from core.store import database

_OWN_WEIGHT = 3.0  # of an own dataset, beside a shipped one
_MAX_FILES = 2  # of each type: a page may still read the one before the last
_CURVE_SHARES = (0.0, 0.25, 0.5, 1.0)  # of the own datasets, which the learning curve adds to the shipped ones
_CURVE_MIN_OWN = 10  # with fewer own datasets the curve is of all datasets
_CURVE_SIZES = (10, 20, 40, 80)
_CURVE_FRAC = 0.45  # of the datasets that may be known: a third is held out by whole families, which may be large


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted selector: on what, when, and how good its advice was on the known datasets, each held out.

    `figures` holds regret, within (None where unknown) and datasets by "advice", "sbs", "advice_3", "portfolio_3" (see
    `Trust.figures`); `marks` holds each dataset's origin and mark (see `Knowledge`); `fit_times` is what
    `fit_times.growth` returned.
    """

    task_type: TaskType
    stamp: str
    file: str
    fitted_at: float
    took_s: float
    n_datasets: int
    n_own: int
    n_candidates: int
    figures: dict[str, dict[str, float | None]]
    marks: dict[str, list[str]]
    fit_times: dict[str, list[float]]

    @property
    def path(self) -> Path:
        """The selector's file."""
        return _folder() / self.file


_COLUMNS = ["kind" if field.name == "task_type" else field.name for field in fields(Fit)]  # in the store


def last_fit(task_type: TaskType) -> Fit | None:
    """Return the last fit for a type of task; None before the first."""
    with database.transaction() as connection:
        rows = connection.execute(
            f"SELECT {', '.join(_COLUMNS)} FROM refits WHERE kind = ? AND error IS NULL"
            " ORDER BY fitted_at DESC LIMIT 1",
            [task_type],
        ).fetchall()
    return Fit(*rows[0][:-3], *map(json.loads, rows[0][-3:])) if rows else None


def load_selector(fit: Fit) -> Selector:
    """Return the fitted selector; a process reads its file once. Raises InputError if the file is gone."""
    return _load(fit.path)


@lru_cache(maxsize=4)
def _load(path: Path) -> Selector:
    return Selector.load(path)


def history(task_type: TaskType) -> pd.DataFrame:
    """Return every fit for a type of task, the oldest first.

    Columns: fitted_at, took_s, n_datasets, n_own, n_candidates, error (a sentence if it failed), and advice, sbs,
    advice_3, portfolio_3: mean regret on the known datasets, each held out.
    """
    with database.transaction() as connection:
        frame = connection.execute(
            "SELECT fitted_at, took_s, n_datasets, n_own, n_candidates, error, figures FROM refits WHERE kind = ?"
            " ORDER BY fitted_at",
            [task_type],
        ).df()
    texts = frame["figures"].fillna("{}")
    figures = [{name: row["regret"] for name, row in json.loads(text).items()} for text in texts]
    columns = ["advice", "sbs", "advice_3", "portfolio_3"]
    regrets = pd.DataFrame(figures, index=frame.index).reindex(columns=columns).astype(float)
    return pd.concat([frame.drop(columns="figures"), regrets], axis=1)


def learning_curve(task_type: TaskType) -> pd.DataFrame:
    """Return mean regret by number of known datasets for the last fit, as from `regret_by_size`; may be empty.

    attrs["own"] says whether the numbers count own datasets beside the shipped ones.
    """
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT curve FROM refits WHERE kind = ? AND curve IS NOT NULL ORDER BY fitted_at DESC LIMIT 1",
            [task_type],
        ).fetchall()
    curve = json.loads(rows[0][0]) if rows else {"own": False, "rows": {}}
    frame = pd.DataFrame.from_dict(curve["rows"], orient="index", dtype=float)
    frame.index = frame.index.astype(int)
    frame.attrs["own"] = curve["own"]
    return frame


def held_out_predictions(fit: Fit) -> pd.DataFrame:
    """Return predictions for the selector's own datasets, each by the trees grown without it.

    Index (dataset, candidate); columns predicted, lower, upper (90% interval), actual (the known error, NaN where not
    run), metric (of the error). Datasets deleted since the fit are left out.
    """
    selector, current = load_selector(fit), knowledge.gather(fit.task_type)
    errors = selector.model.errors
    names = errors.index.intersection(current.about.index)
    predictions = selector.predict(current.features.loc[names]).rename(columns={"error": "predicted"})
    rows, columns = (predictions.index.get_level_values(level) for level in ("dataset", "candidate"))
    actual = errors.to_numpy()[errors.index.get_indexer(rows), errors.columns.get_indexer(columns)]
    metric = current.about["metric"].reindex(rows).to_numpy()
    return predictions.drop(columns="rank").assign(actual=actual, metric=metric)


def is_due() -> bool:
    """Return whether anything new is known since the last fit, or a fit was requested."""
    stamp = knowledge.stamp()
    with database.transaction() as connection:
        rows = connection.execute("SELECT kind, arg_max(stamp, fitted_at), max(fitted_at) FROM refits GROUP BY kind")
        last = {task_type: (fit_stamp, fitted_at) for task_type, fit_stamp, fitted_at in rows.fetchall()}
        [(requested_at,)] = connection.execute("SELECT coalesce(max(requested_at), 0) FROM refit_requests").fetchall()
    return any(
        task_type not in last or last[task_type][0] != stamp or last[task_type][1] < requested_at
        for task_type in TASK_TYPES
    )


def request(user: str | None = None) -> None:
    """Request a fit from the runner, even if nothing new is known."""
    with database.transaction(write=True) as connection:
        connection.execute("INSERT INTO refit_requests VALUES (?, ?)", [time.time(), user or "local"])


def refit(task_type: TaskType) -> Fit | None:
    """Fit the selector for a type of task on all that is known now.

    None if nothing is known; the history then holds the reason.
    """
    began, stamp, current = time.time(), knowledge.stamp(), knowledge.gather(task_type)
    try:
        selector = fit_selector(current)
    except InputError as error:
        _save({"kind": task_type, "stamp": stamp, "fitted_at": time.time(), "error": str(error)})
        return None
    errors = selector.model.errors
    code = hashlib.sha256(f"{stamp}@{began}".encode()).hexdigest()[:12]
    fit = Fit(
        task_type, stamp, f"{task_type}-{code}.npz", time.time(), time.time() - began, len(errors),
        int((current.about["origin"].reindex(errors.index) == "own").sum()), errors.shape[1], _figures(selector),
        _marks(current, selector), fit_times.growth(current),
    )  # fmt: skip
    fit.path.parent.mkdir(parents=True, exist_ok=True)
    selector.save(fit.path)
    values = [getattr(fit, field.name) for field in fields(Fit)]
    values = [json.dumps(value) if isinstance(value, dict) else value for value in values]
    _save(dict(zip(_COLUMNS, values, strict=True)))
    _delete_old_files(task_type)
    curve = json.dumps(_curve(current))
    with database.transaction(write=True) as connection:
        connection.execute("UPDATE refits SET curve = ? WHERE file = ?", [curve, fit.file])
    return fit


def _save(row: dict[str, Any]) -> None:
    with database.transaction(write=True) as connection:
        values = ", ".join("?" * len(row))
        connection.execute(f"INSERT INTO refits ({', '.join(row)}) VALUES ({values})", list(row.values()))


def fit_selector(current: Knowledge) -> Selector:
    """Return a selector fitted on what is known. Raises InputError if nothing is known.

    Landmarkers are left out: a new dataset has none until a job has run.
    """
    weights = current.about["origin"].map({"own": _OWN_WEIGHT}).fillna(1.0)
    return Selector().fit(training_features(current), current.errors, groups=families(current), weights=weights)


def families(current: Knowledge) -> pd.Series:
    """Return the data that each dataset was made from; a dataset without a family is one of its own."""
    return current.about["family"].fillna(pd.Series(current.about.index, current.about.index))


def training_features(current: Knowledge) -> pd.DataFrame:
    """Return the meta-features that a selector learns from."""
    return current.features.drop(columns=list(LANDMARKERS), errors="ignore")


def _figures(selector: Selector) -> dict[str, dict[str, float | None]]:
    figures = selector.trust.figures()
    return {str(name): finite(row.astype(float).to_dict()) for name, row in figures.iterrows()}


def _marks(current: Knowledge, selector: Selector) -> dict[str, list[str]]:
    about = current.about.loc[selector.model.errors.index, ["origin", "mark"]]
    return {str(name): [str(origin), str(mark)] for name, origin, mark in about.itertuples()}


def _curve(current: Knowledge) -> dict[str, Any]:
    """Return the learning curve in the form in which it is stored."""
    origin = current.about["origin"]
    errors = current.errors.dropna(how="all")
    own = [name for name in errors.index if origin[name] == "own"]
    rest: list[Any] = [name for name in errors.index if origin[name] != "own"]
    if beside := len(own) >= _CURVE_MIN_OWN:
        sizes = sorted({int(share * _CURVE_FRAC * len(own)) for share in _CURVE_SHARES})
    else:
        rest, sizes = [], [size for size in _CURVE_SIZES if size <= _CURVE_FRAC * len(errors)]
    if not sizes:
        return {"own": False, "rows": {}}
    try:
        frame = regret_by_size(training_features(current), errors, sizes, shipped=rest, groups=families(current))
    except InputError:  # a few large families leave too few datasets to know; the selector itself is fitted
        return {"own": False, "rows": {}}
    rows = {str(size): {str(key): float(value) for key, value in row.items()} for size, row in frame.iterrows()}
    return {"own": beside, "rows": rows}


def _folder() -> Path:
    return database.home() / "selectors"


def _delete_old_files(task_type: TaskType) -> None:
    files = sorted(_folder().glob(f"{task_type}-*.npz"), key=lambda path: path.stat().st_mtime)
    for path in files[:-_MAX_FILES]:
        with suppress(OSError):
            path.unlink()
