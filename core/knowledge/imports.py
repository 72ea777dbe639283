"""Imports: a team's own past, as an ASlib scenario, a tidy table or MLflow's runs, recognised and brought in."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from core.datasets.files import scratch, tables
from core.errors import InputError
from core.knowledge import aslib, table, tidying
from core.knowledge.table import FEATURE, Scenario
from core.knowledge.tidying import Roles, Source, Tidied
from core.scoring import METRICS
from core.store import database

Kind = Literal["aslib", "tidy", "mlflow"]

_NAME = re.compile(r"[\w .\-]{1,80}")
_DATASET = ("dataset", "dataset_name", "dataset_id", "task", "instance_id", "instance", "data")
_CANDIDATE = ("candidate", "algorithm", "model", "model_type", "model_name", "estimator", "classifier", "pipeline")
_FOLD = ("fold", "repetition", "repeat")
_FIT_S = ("fit_s", "fit_time", "runtime", "runtime_s", "seconds", "duration_s")
_STATUS = ("status", "runstatus")
_METRIC = ("metric", "metric_name", "measure")
_DIRECTION = ("higher_is_better", "maximize")
_VALUE = ("error", "value", "score")
_PREFIXES = ("params.", "tags.", "metrics.")  # as MLflow writes them
_LOWER = re.compile(r"err(or|rate)?$|(^|_)(error|loss|mae|mse|rmse|rmsle|mape|brier|logloss|deviance)(_|$)")
_HIGHER = re.compile(r"(^|_)(acc|accuracy|auc|auroc|roc|f1|precision|recall|r2|kappa|mcc|ap|gini|ndcg)(_|$)")
_MOST_LISTED = 30


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


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """What a file was recognised as, before it is imported; `notes` and `questions` are sentences.

    A question is what must be said or mended first: while there is one nothing is counted, and `import_` refuses the
    file with the first of them.
    """

    kind: Kind
    name: str  # proposed
    columns: tuple[str, ...]  # of the file, to choose from
    roles: Roles
    metrics: tuple[str, ...]  # to choose from
    metric: str | None
    higher_is_better: bool | None
    n_datasets: int
    n_candidates: int
    n_rows: int  # pairs of a dataset and a candidate
    n_read: int  # rows of the file
    features: tuple[str, ...]
    preview: pd.DataFrame  # the first rows as `tidying.preview` gives them; empty while there are questions
    notes: tuple[str, ...]
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """A file as it was recognised."""

    kind: Kind
    name: str
    source: Source
    metrics: tuple[str, ...]
    questions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def inspect(path: Path, reading: Reading | None = None) -> Inspection:
    """What the file is and what would be imported.

    Raises InputError where it cannot be read, or what was said of it names something that it does not have.
    """
    with _work() as work:
        found = _recognised(Path(path), reading or Reading(), work)
        source, questions = found.source, found.questions
        tidied, preview = Tidied(work, work, 0, 0, 0, (), ()), pd.DataFrame()
        if not questions:
            try:
                tidied = tidying.tidy(source, work)
                preview = tidying.preview(tidied)
            except InputError as error:
                questions = (str(error),)
    return Inspection(
        found.kind, found.name, source.runs.names, source.roles, found.metrics, source.metric, source.higher_is_better,
        tidied.n_datasets, tidied.n_candidates, tidied.n_rows, source.runs.n_rows, tidied.names, preview,
        (*found.notes, *tidied.notes), questions,
    )  # fmt: skip


def import_(
    path: Path,
    reading: Reading | None = None,
    *,
    name: str | None = None,
    owner: str = "local",
    source: str | None = None,
) -> tuple[Scenario, tuple[str, ...]]:
    """Bring the file into the store as a scenario; returns it with notes on what was left out or averaged.

    The file is read and checked before the store is locked; `source` is its name where it is stored under another.
    Raises InputError, and saves nothing, where it cannot be used, something must be said first, or the name is taken.
    """
    with _work() as work:
        found = _recognised(Path(path), reading or Reading(), work)
        if found.questions:
            raise InputError(found.questions[0])
        chosen = checked_name(found.name if name is None else name)
        tidied = tidying.tidy(found.source, work)
        about = (
            str(found.source.metric),
            bool(found.source.higher_is_better),
            source or Path(path).name,
            owner,
            time.time(),
        )
        scenario = Scenario(chosen, *about, tidied.n_datasets, tidied.n_candidates, tidied.n_rows)
        table.add(scenario, tidied.errors, tidied.features)
    return scenario, (*found.notes, *tidied.notes)


def checked_name(name: str) -> str:
    """The name of a new scenario, stripped. Raises InputError where it cannot be used, or is taken."""
    chosen = name.strip()
    if not _NAME.fullmatch(chosen):
        raise InputError(f"The name {chosen!r} cannot be used: 1 to 80 letters, digits, spaces, _ - and dots.")
    table.check_free(chosen)
    return chosen


@contextmanager
def _work() -> Iterator[Path]:
    """A folder for what is written on the way."""
    folder = Path(tempfile.mkdtemp(prefix="import-", dir=scratch.folder()))
    try:
        with database.explain_disk_full():
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _recognised(path: Path, reading: Reading, work: Path) -> _Found:
    if aslib.is_one(path):
        return _scenario(path, reading, work)
    runs = tables.stage(path, reading.encoding)
    mlflow = any(name.strip().casefold() in ("run_id", "run id") for name in runs.names)
    source = Source(path.name, runs, None, None, _roles(path.name, runs.names, reading), average=reading.average)
    if mlflow:  # runs are repeated there; parameters and tags may describe a dataset, metrics say what came of a run
        source = replace(source, average=True, described_by=_PREFIXES[:2])
    source, metrics = _measured(_with_features(source, reading), reading)
    questions = _questions(source, metrics)
    if not questions:
        try:
            source = replace(source, higher_is_better=_direction(source, reading))
        except InputError as error:
            questions = [str(error)]
        else:
            if source.higher_is_better is None:
                questions = [f"Is a higher {source.metric} better, or a lower one? Say which (higher_is_better)."]
    return _Found("mlflow" if mlflow else "tidy", path.stem, source, metrics, tuple(questions))


def _scenario(path: Path, reading: Reading, work: Path) -> _Found:
    """An ASlib scenario, whose columns have fixed names."""
    read = aslib.convert(path, work, reading.metric)
    source = Source(
        path.name,
        tables.stage(read.runs),
        None if read.features is None else tables.stage(read.features),
        "instance_id",
        Roles("instance_id", "algorithm", "value", "repetition", "fit_s"),
        metric=read.measure.name,
        higher_is_better=read.measure.maximize,
        average=reading.average,
    )
    return _Found("aslib", read.name, source, tuple(measure.name for measure in read.measures), notes=read.notes)


def _roles(file: str, names: Sequence[str], reading: Reading) -> Roles:
    """The roles of a file's columns. Raises InputError where a column that was named is not there."""
    return Roles(
        dataset=_column(file, names, reading.dataset, _DATASET),
        candidate=_column(file, names, reading.candidate, _CANDIDATE),
        value=_value(names, reading),
        fold=_column(file, names, reading.fold, _FOLD),
        fit_s=_column(file, names, reading.fit_s, _FIT_S),
        status=_first(names, _STATUS, prefixed=False),  # or a parameter called metric would be taken for one
        metric=_first(names, _METRIC, prefixed=False),
        direction=_first(names, _DIRECTION, prefixed=False),
    )


def _value(names: Sequence[str], reading: Reading) -> str | None:
    """The column of the metric that was named; else of errors, of values, or the only one that is a metric."""
    named = None if reading.metric is None else _find(names, reading.metric)
    found = named or _first(names, _VALUE, prefixed=False)
    if found is None and len(metrics := _metric_columns(names)) == 1:
        found = metrics[0]
    return found


def _with_features(source: Source, reading: Reading) -> Source:
    """The source with the second file, whose rows are datasets. Raises InputError where no column names them."""
    if reading.features is None:
        return source
    staged = tables.stage(reading.features, reading.encoding)
    same = source.roles.dataset
    dataset = same if same in staged.names else _first(staged.names, _DATASET)
    if dataset is None:
        raise InputError(
            f"{reading.features.name} has no column dataset, which says whose meta-features a row has; "
            f"it has {_listed(staged.names)}."
        )
    return replace(source, features=staged, features_dataset=dataset)


def _measured(source: Source, reading: Reading) -> tuple[Source, tuple[str, ...]]:
    """The source with its metric, and the metrics there are to choose from."""
    told, said = source.roles, reading.metric
    if told.metric is not None and (said is None or said not in source.runs.names):
        metrics = tidying.distinct(source, told.metric)
        if said is not None and said not in metrics:
            raise InputError(f"{source.name} has no metric {said!r}; it has {', '.join(metrics)}.")
        return replace(source, metric=said or (metrics[0] if len(metrics) == 1 else None)), metrics
    value, metrics = told.value, _metric_columns(source.runs.names)
    if value is not None and value.casefold() in ("value", "score") and said is not None:
        metric: str | None = said  # the user's word for what the values are
    elif said is not None and (value is None or said not in (value, _bare(value))):
        raise InputError(f"{source.name} has no metric {said!r}; it has {', '.join(metrics) or value or 'none'}.")
    else:
        metric = None if value is None else _bare(value)
    return replace(source, metric=metric, roles=replace(told, metric=None)), metrics


def _questions(source: Source, metrics: Sequence[str]) -> list[str]:
    """What the user must say before the file can be read, each a sentence."""
    file, roles, listed = source.name, source.roles, _listed(source.runs.names)
    columns = (("dataset", roles.dataset), ("candidate", roles.candidate))
    asked = [f"Which column of {file} names the {what}? It has {listed}." for what, column in columns if column is None]
    if roles.dataset is not None and roles.dataset == roles.candidate:
        asked.append(f"The column {roles.dataset!r} of {file} names both dataset and candidate: choose two columns.")
    if source.metric is None and len(metrics) > 1:
        asked.append(f"{file} has several metrics: {', '.join(metrics)}. Choose the one that counts (metric).")
    elif source.metric is None or roles.value is None:
        asked.append(f"Which column of {file} holds the error or a metric? It has {listed}.")
    return asked


def _direction(source: Source, reading: Reading) -> bool | None:
    """Whether higher is better: as the file, the user or the metric's name says; None where nobody does."""
    value, said = _bare(source.roles.value or ""), reading.higher_is_better
    told = False if value.casefold() == "error" else tidying.direction(source)
    if told is not None and said is not None and told != said:
        word = "higher" if told else "lower"
        raise InputError(f"{source.name} says itself that {word} is better ({source.roles.direction or value}).")
    known = _usual_direction(source.metric or value)
    return next((answer for answer in (told, said, known) if answer is not None), None)


def _usual_direction(metric: str) -> bool | None:
    """Whether a higher value of the metric is better, as far as its name tells."""
    name = _bare(metric).casefold().replace("-", "_").replace(" ", "_")
    if name in METRICS:
        return METRICS[name].higher_is_better
    return False if _LOWER.search(name) else True if _HIGHER.search(name) else None


def _metric_columns(names: Sequence[str]) -> tuple[str, ...]:
    """The columns that are metrics by their names."""
    told = tuple(name for name in names if name.startswith("metrics."))
    plain = (name for name in names if not name.startswith(FEATURE) and _usual_direction(name) is not None)
    return told or tuple(plain)


def _column(file: str, names: Sequence[str], given: str | None, usual: Sequence[str]) -> str | None:
    if given is None:
        return _first(names, usual)
    found = _find(names, given)
    if found is None:
        raise InputError(f"{file} has no column {given!r}; it has {_listed(names)}.")
    return found


def _find(names: Sequence[str], given: str) -> str | None:
    """The column of this name; MLflow's prefix may be left out."""
    alike = (given, *(prefix + given for prefix in _PREFIXES))
    return next((name for name in alike if name in names), None)


def _first(names: Sequence[str], usual: Sequence[str], *, prefixed: bool = True) -> str | None:
    plain = {name: name.strip().casefold() for name in names}
    if prefixed:
        plain = {name: _bare(text) for name, text in plain.items()}
    return next((name for word in usual for name in names if plain[name] == word), None)


def _bare(name: str) -> str:
    """A column's name without the prefix that MLflow puts before it."""
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_LISTED:,} more" if len(names) > _MOST_LISTED else ""
    return f"{', '.join(names[:_MOST_LISTED])}{more}"
