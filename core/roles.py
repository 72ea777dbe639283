"""Roles: which column of a foreign table of runs means what, as recognised by its name or said by the user."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError
from core.scoring import METRICS
from core.tables import Staged

FEATURE = "feature:"  # before the name of a column that is a meta-feature whatever it holds

_DATASET = ("dataset", "dataset_name", "dataset_id", "task", "instance_id", "instance", "data")
_CANDIDATE = ("candidate", "algorithm", "model", "model_type", "model_name", "estimator", "classifier", "pipeline")
_FOLD = ("fold", "repetition", "repeat")
_FIT_S = ("fit_s", "fit_time", "runtime", "runtime_s")
_STATUS = ("status", "runstatus")
_METRIC = ("metric", "metric_name", "measure")
_DIRECTION = ("higher_is_better", "maximize")
_VALUE = ("error", "value", "score")
_PREFIXES = ("params.", "tags.", "metrics.")  # as MLflow writes them
_LOWER = re.compile(r"err(or|rate)?$|(^|_)(error|loss|mae|mse|rmse|rmsle|mape|brier|logloss|deviance)(_|$)")
_HIGHER = re.compile(r"(^|_)(acc|accuracy|auc|auroc|roc|f1|precision|recall|r2|kappa|mcc|ap|gini|ndcg)(_|$)")


@dataclass(frozen=True, slots=True)
class Reading:
    """What the user says about a file. None: as its columns' names tell.

    `metric` is a column, or one of the values of a column of metrics. `features` is a second file: a dataset in each
    row. `average`: rows that say different things of one dataset and candidate count as repeats.
    """

    dataset: str | None = None
    candidate: str | None = None
    metric: str | None = None
    higher_is_better: bool | None = None
    fold: str | None = None
    fit_s: str | None = None
    features: Path | None = None
    average: bool = False
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True)
class Roles:
    """The column of each meaning, None where there is none: `value` is measured, `metric` says what it is, `status`
    whether the run ended well, `direction` whether higher is better."""

    dataset: str | None
    candidate: str | None
    value: str | None
    fold: str | None = None
    fit_s: str | None = None
    status: str | None = None
    metric: str | None = None
    direction: str | None = None

    def columns(self) -> set[str]:
        """The columns that have a meaning."""
        found = (self.dataset, self.candidate, self.value, self.fold, self.fit_s, self.status, self.metric)
        return {name for name in (*found, self.direction) if name is not None}


@dataclass(frozen=True, slots=True)
class Penalty:
    """Values are runtimes, and a run that did not end well is punished; without a limit (seconds) it is left out."""

    cutoff_s: float | None


@dataclass(frozen=True, slots=True)
class Source:
    """A file of runs, and perhaps one of meta-features, with what their columns mean."""

    name: str
    runs: Staged
    features: Staged | None  # of a second file, with its name
    features_name: str | None
    roles: Roles
    metric: str | None = None
    higher_is_better: bool | None = None
    mlflow: bool = False
    aslib: bool = False
    penalty: Penalty | None = None
    average: bool = False  # rows that contradict each other are repeats

    def key(self, column: str | None, otherwise: str = "CAST(NULL AS VARCHAR)") -> str:
        """The staged column as SQL."""
        return otherwise if column is None else f"c{self.runs.names.index(column)}"


def is_mlflow(names: Sequence[str]) -> bool:
    """Whether these are the columns of MLflow's runs: of `search_runs`, or of the page's own CSV."""
    return any(_plain(name) in ("run_id", "run id") for name in names)


def recognise(file: str, names: Sequence[str], reading: Reading) -> Roles:
    """The roles of a file's columns. Raises InputError where a column that was named is not there."""
    return Roles(
        dataset=_chosen(file, names, reading.dataset, _DATASET),
        candidate=_chosen(file, names, reading.candidate, _CANDIDATE),
        value=_value(names, reading),
        fold=_chosen(file, names, reading.fold, _FOLD),
        fit_s=_chosen(file, names, reading.fit_s, _FIT_S),
        status=_first(names, _STATUS, prefixed=False),  # or a parameter called metric would be taken for one
        metric=_first(names, _METRIC, prefixed=False),
        direction=_first(names, _DIRECTION, prefixed=False),
    )


def metric_columns(names: Sequence[str]) -> tuple[str, ...]:
    """The columns that are metrics by their names."""
    told = tuple(name for name in names if name.startswith("metrics."))
    return told or tuple(name for name in names if not name.startswith(FEATURE) and direction(name) is not None)


def bare(name: str) -> str:
    """A column's name without the prefix that MLflow or we put before it."""
    for prefix in (*_PREFIXES, FEATURE):
        name = name.removeprefix(prefix)
    return name


def direction(metric: str) -> bool | None:
    """Whether a higher value of the metric is better, as far as its name tells."""
    name = bare(metric).casefold().replace("-", "_").replace(" ", "_")
    if name in METRICS:
        return METRICS[name].higher_is_better
    return False if _LOWER.search(name) else True if _HIGHER.search(name) else None


def dataset_column(file: str, names: Sequence[str], same_as: str | None) -> str:
    """The column that names the dataset in a file of meta-features. Raises InputError where there is none."""
    found = same_as if same_as in names else _first(names, _DATASET)
    if found is None:
        raise InputError(f"{file} has no column dataset, which says whose meta-features a row has; {_listed(names)}.")
    return found


def questions(file: str, roles: Roles, metrics: Sequence[str], metric: str | None, names: Sequence[str]) -> list[str]:
    """What the user must say before the file can be read, each a sentence."""
    asked = [
        f"Which column of {file} names the {what}? {_listed(names)}."
        for what, column in (("dataset", roles.dataset), ("candidate", roles.candidate))
        if column is None
    ]
    if roles.dataset is not None and roles.dataset == roles.candidate:
        asked.append(f"The column {roles.dataset!r} of {file} names both dataset and candidate: choose two columns.")
    if metric is None and len(metrics) > 1:
        asked.append(f"{file} has several metrics: {', '.join(metrics)}. Choose the one that counts (metric).")
    elif metric is None or roles.value is None:
        asked.append(f"Which column of {file} holds the error or a metric? {_listed(names)}.")
    return asked


def _value(names: Sequence[str], reading: Reading) -> str | None:
    """The column of the metric that was named; else of errors, of values, or the only one that is a metric."""
    named = None if reading.metric is None else _find(names, reading.metric)
    found = named or next((name for role in _VALUE for name in names if _plain(name) == role), None)
    if found is None:
        metrics = metric_columns(names)
        found = metrics[0] if len(metrics) == 1 else None
    return found


def _chosen(file: str, names: Sequence[str], given: str | None, usual: Sequence[str]) -> str | None:
    if given is None:
        return _first(names, usual)
    found = _find(names, given)
    if found is None:
        raise InputError(f"{file} has no column {given!r}; {_listed(names)}.")
    return found


def _find(names: Sequence[str], given: str) -> str | None:
    """The column of this name; MLflow's prefix may be left out."""
    alike = (given, *(prefix + given for prefix in _PREFIXES))
    return next((name for name in alike if name in names), None)


def _first(names: Sequence[str], usual: Sequence[str], *, prefixed: bool = True) -> str | None:
    plain = {name: bare(_plain(name)) if prefixed else _plain(name) for name in names}
    return next((name for role in usual for name in names if plain[name] == role), None)


def _plain(name: str) -> str:
    return name.strip().casefold()


def _listed(names: Sequence[str], most: int = 30) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"it has {', '.join(names[:most])}{more}"
