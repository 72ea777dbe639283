"""The fitted selectors, one for each kind of task: fitted anew when more is known, and kept as files.

Fitting takes seconds and loads scikit-learn, so that the runner has it done by a process of its own; whoever advises
only reads the file.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from core import knowledge
from core.advice.learning_curve import regret_by_size
from core.advice.selector import Selector
from core.errors import InputError
from core.events import finite
from core.knowledge import Knowledge, TaskKind
from core.metafeatures import LANDMARKERS
from core.store import database

KINDS: tuple[TaskKind, ...] = get_args(TaskKind)
_OWN_WEIGHT = 3.0  # of an own dataset beside a shipped one
_KEPT_FILES = 2  # of each kind: a page may still read the one before the last
_FEWEST = 8  # datasets with a time, from which the growth of a candidate's fit time is learnt
_STEEPEST = 2.5  # a fit time grows at most with this power of the rows or of the features
_CURVE_SHARES = (0.0, 0.25, 0.5, 1.0)  # of the own datasets, which the learning curve adds to the shipped ones
_CURVE_FEWEST = 10  # own datasets, below which the curve is of all datasets
_CURVE_SIZES = (10, 20, 40, 80)
_CURVE_FRAC = 0.45  # of the datasets that may be known: a third is held out by whole families, which may be large


@dataclass(frozen=True, slots=True)
class Refit:
    """A selector that was fitted: on what, when, how good its advice was on the known datasets, each unseen.

    `figures` holds regret, within (None where unknown) and datasets by "advice", "sbs", "advice_3", "portfolio_3" (see
    `Trust.figures`); `marks` holds by dataset its origin and mark (see `Knowledge`); `fit_times` holds by candidate the
    decimal logarithm of the seconds as [at one row and feature, growth with rows, growth with features].
    """

    kind: TaskKind
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


_COLUMNS = "kind, stamp, file, fitted_at, took_s, n_datasets, n_own, n_candidates, figures, marks, fit_times"


def latest(kind: TaskKind) -> Refit | None:
    """The newest selector of a kind of task; None before the first."""
    with database.transaction() as connection:
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM refits WHERE kind = ? AND error IS NULL ORDER BY fitted_at DESC LIMIT 1", [kind]
        ).fetchall()
    return Refit(*rows[0][:-3], *map(json.loads, rows[0][-3:])) if rows else None


def selector(refit: Refit) -> Selector:
    """The fitted selector, which a process reads once. Raises InputError where its file is gone."""
    return _loaded(refit.path)


@lru_cache(maxsize=4)
def _loaded(path: Path) -> Selector:
    return Selector.load(path)


def history(kind: TaskKind) -> pd.DataFrame:
    """Every fit of a kind of task, the oldest first.

    Columns: fitted_at, took_s, n_datasets, n_own, n_candidates, error (a sentence where it failed), and advice, sbs,
    advice_3, portfolio_3: mean regret on the known datasets, each unseen.
    """
    with database.transaction() as connection:
        frame = connection.execute(
            "SELECT fitted_at, took_s, n_datasets, n_own, n_candidates, error, figures FROM refits WHERE kind = ?"
            " ORDER BY fitted_at",
            [kind],
        ).df()
    texts = frame["figures"].fillna("{}")
    figures = [{name: row["regret"] for name, row in json.loads(text).items()} for text in texts]
    columns = ["advice", "sbs", "advice_3", "portfolio_3"]
    regrets = pd.DataFrame(figures, index=frame.index).reindex(columns=columns).astype(float)
    return pd.concat([frame.drop(columns="figures"), regrets], axis=1)


def learning_curve(kind: TaskKind) -> pd.DataFrame:
    """Mean regret of the newest selector by the number of datasets known, as `regret_by_size` gives it; may be empty.

    attrs["own"] tells whether the numbers are own datasets beside the shipped ones.
    """
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT curve FROM refits WHERE kind = ? AND curve IS NOT NULL ORDER BY fitted_at DESC LIMIT 1", [kind]
        ).fetchall()
    kept = json.loads(rows[0][0]) if rows else {"own": False, "rows": {}}
    frame = pd.DataFrame.from_dict(kept["rows"], orient="index", dtype=float)
    frame.index = frame.index.astype(int)
    frame.attrs["own"] = kept["own"]
    return frame


def unseen(refit: Refit) -> pd.DataFrame:
    """What the selector predicts for the datasets that it knows, each from the trees that have not seen it.

    Index (dataset, candidate); columns predicted, lower, upper (90% interval), actual (the known error, NaN where it
    was not run), metric (by which the error is). Datasets that are gone since the fit are left out.
    """
    errors, known = selector(refit).model.errors, knowledge.gather(refit.kind)
    names = errors.index.intersection(known.about.index)
    said = selector(refit).predict(known.features.loc[names]).rename(columns={"error": "predicted"})
    rows, columns = (said.index.get_level_values(level) for level in ("dataset", "candidate"))
    actual = errors.to_numpy()[errors.index.get_indexer(rows), errors.columns.get_indexer(columns)]
    return said.drop(columns="rank").assign(actual=actual, metric=known.about["metric"].reindex(rows).to_numpy())


def due() -> bool:
    """Whether something new is known since the last fit, or a fit was asked for."""
    stamp = knowledge.stamp()
    with database.transaction() as connection:
        fitted = connection.execute("SELECT kind, arg_max(stamp, fitted_at), max(fitted_at) FROM refits GROUP BY kind")
        last = {kind: (seen, at) for kind, seen, at in fitted.fetchall()}
        [(asked_at,)] = connection.execute("SELECT coalesce(max(requested_at), 0) FROM refit_requests").fetchall()
    return any(kind not in last or last[kind][0] != stamp or last[kind][1] < asked_at for kind in KINDS)


def request(user: str | None = None) -> None:
    """Ask the runner for a fit, though nothing new may be known."""
    with database.transaction(write=True) as connection:
        connection.execute("INSERT INTO refit_requests VALUES (?, ?)", [time.time(), user or "local"])


def refit(kind: TaskKind) -> Refit | None:
    """Fit the selector of a kind of task on all that is known now; None where nothing is, which the history tells."""
    began, stamp, known = time.time(), knowledge.stamp(), knowledge.gather(kind)
    try:
        fitted = fit(known)
    except InputError as error:
        with database.transaction(write=True) as connection:
            connection.execute(
                "INSERT INTO refits (kind, stamp, fitted_at, error) VALUES (?, ?, ?, ?)",
                [kind, stamp, time.time(), str(error)],
            )
        return None
    n_own = int((known.about["origin"].reindex(fitted.model.errors.index) == "own").sum())
    code = hashlib.sha256(f"{stamp}@{began}".encode()).hexdigest()[:12]
    done = Refit(
        kind, stamp, f"{kind}-{code}.npz", time.time(), time.time() - began, len(fitted.model.errors), n_own,
        fitted.model.errors.shape[1], _figures(fitted), _marks(known, fitted),
        fit_times(known),
    )  # fmt: skip
    done.path.parent.mkdir(parents=True, exist_ok=True)
    fitted.save(done.path)
    values = [getattr(done, name) for name in _COLUMNS.split(", ")]
    values = [json.dumps(value) if isinstance(value, dict) else value for value in values]
    with database.transaction(write=True) as connection:
        connection.execute(f"INSERT INTO refits ({_COLUMNS}) VALUES ({', '.join('?' * len(values))})", values)
    _forget(kind)
    curve = json.dumps(_curve(known))
    with database.transaction(write=True) as connection:
        connection.execute("UPDATE refits SET curve = ? WHERE file = ?", [curve, done.file])
    return done


def fit(known: Knowledge) -> Selector:
    """A selector of what is known. Raises InputError where that is nothing.

    Landmarkers are left out: they are unknown of a new dataset until a job has run.
    """
    counts = known.about["origin"].map({"own": _OWN_WEIGHT}).fillna(1.0)
    return Selector().fit(described(known), known.errors, groups=families(known), weights=counts)


def families(known: Knowledge) -> pd.Series:
    """What each dataset was made from: one that nothing is said of is a family of its own."""
    return known.about["family"].fillna(pd.Series(known.about.index, known.about.index))


def described(known: Knowledge) -> pd.DataFrame:
    """The meta-features that a selector learns from."""
    return known.features.drop(columns=list(LANDMARKERS), errors="ignore")


def _figures(fitted: Selector) -> dict[str, dict[str, float | None]]:
    figures = fitted.trust.figures()
    return {str(name): finite(row.astype(float).to_dict()) for name, row in figures.iterrows()}


def _marks(known: Knowledge, fitted: Selector) -> dict[str, list[str]]:
    about = known.about.loc[fitted.model.errors.index, ["origin", "mark"]]
    return {str(name): [str(origin), str(mark)] for name, origin, mark in about.itertuples()}


def fit_times(known: Knowledge) -> dict[str, list[float]]:
    """How a candidate's fit time grows with rows and features: see `Refit`; least squares on the logarithms."""
    sizes = known.features.reindex(columns=["log_n_rows", "log_n_features"]).to_numpy(float)
    found = {}
    for name, column in known.fit_s.items():
        with np.errstate(divide="ignore", invalid="ignore"):
            seconds = np.log10(column.to_numpy(float))
        rows = np.isfinite(seconds) & np.isfinite(sizes).all(axis=1)
        if not rows.any():
            continue
        growth = np.array([1.0, 0.0])
        if rows.sum() >= _FEWEST:
            centred = sizes[rows] - sizes[rows].mean(axis=0)
            growth = np.linalg.lstsq(centred, seconds[rows] - seconds[rows].mean(), rcond=None)[0]
            growth = np.clip(growth, 0.0, _STEEPEST)
        found[str(name)] = [float(np.median(seconds[rows] - sizes[rows] @ growth)), *map(float, growth)]
    return found


def fit_s(times: Mapping[str, list[float]], candidate: str, features: Mapping[str, float]) -> float:
    """The seconds that a candidate may take on a dataset of these meta-features; NaN where nothing is known."""
    if candidate not in times:
        return float("nan")
    start, rows, columns = times[candidate]
    return float(10 ** (start + rows * features["log_n_rows"] + columns * features["log_n_features"]))


def _curve(known: Knowledge) -> dict[str, Any]:
    """The learning curve as it is kept."""
    origin = known.about["origin"]
    errors = known.errors.dropna(how="all")
    own = [name for name in errors.index if origin[name] == "own"]
    rest: list[Any] = [name for name in errors.index if origin[name] != "own"]
    if beside := len(own) >= _CURVE_FEWEST:
        sizes = sorted({int(share * _CURVE_FRAC * len(own)) for share in _CURVE_SHARES})
    else:
        rest, sizes = [], [size for size in _CURVE_SIZES if size <= _CURVE_FRAC * len(errors)]
    if not sizes:
        return {"own": False, "rows": {}}
    try:
        frame = regret_by_size(described(known), errors, sizes, shipped=rest, groups=families(known))
    except InputError:  # a few large families leave too few datasets to know; the selector itself is fitted
        return {"own": False, "rows": {}}
    rows = {str(size): {str(key): float(value) for key, value in row.items()} for size, row in frame.iterrows()}
    return {"own": beside, "rows": rows}


def _folder() -> Path:
    return database.home() / "selectors"


def _forget(kind: TaskKind) -> None:
    """Delete the files of older fits."""
    files = sorted(_folder().glob(f"{kind}-*.npz"), key=lambda path: path.stat().st_mtime)
    for path in files[:-_KEPT_FILES]:
        with suppress(OSError):
            path.unlink()
