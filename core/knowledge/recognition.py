"""Recognition: what the columns of a foreign file mean, by their names and by what the user says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from core.datasets.files import tables
from core.errors import InputError
from core.knowledge import aslib, sources
from core.knowledge.sources import Roles, Source
from core.knowledge.table import FEATURE
from core.scoring import METRICS

Format = Literal["aslib", "tidy", "mlflow"]

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
_MAX_LISTED = 30


@dataclass(frozen=True, slots=True)
class Reading:
    """What the user says about a file. None: by the columns' names.

    `metric` is a column, or one of the values of a column of metrics. `features` is a second file with a dataset in
    each row. `average`: rows with different values for one dataset and candidate count as repeats.
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
class Draft:
    """A file as it was recognised, before its rows are read; see `imports.Inspection`."""

    format: Format
    name: str
    source: Source
    metrics: tuple[str, ...]
    questions: tuple[InputError, ...] = ()
    notes: tuple[str, ...] = ()


def recognise(path: Path, reading: Reading, work: Path) -> Draft:
    """Return what the file is and what its columns mean; `work` is a folder for temporary files.

    Raises InputError if it cannot be read, or the reading names something that it does not have.
    """
    if aslib.is_scenario(path):
        return _scenario(path, reading, work)
    runs = tables.stage(path, reading.encoding)
    mlflow = any(name.strip().casefold() in ("run_id", "run id") for name in runs.names)
    source = Source(path.name, runs, None, None, _roles(path.name, runs.names, reading), average=reading.average)
    if mlflow:  # its runs may be repeats; parameters and tags may describe a dataset, metrics are results
        source = replace(source, average=True, feature_prefixes=_PREFIXES[:2])
    source, metrics = _with_metric(_with_features(source, reading), reading)
    questions = _questions(source, metrics)
    if not questions:
        try:
            source = replace(source, higher_is_better=_direction(source, reading))
        except InputError as error:
            questions = [error]
        else:
            if source.higher_is_better is None:
                question = f"Is a higher {source.metric} better, or a lower one?"
                questions = [InputError(question, field="higher_is_better", remedy="Say which.")]
    return Draft("mlflow" if mlflow else "tidy", path.stem, source, metrics, tuple(questions))


def _scenario(path: Path, reading: Reading, work: Path) -> Draft:
    """Return an ASlib scenario, whose columns have fixed names."""
    files = aslib.convert(path, work, reading.metric)
    source = Source(
        path.name,
        tables.stage(files.runs),
        None if files.features is None else tables.stage(files.features),
        "instance_id",
        Roles("instance_id", "algorithm", "value", "repetition", "fit_s"),
        metric=files.measure.name,
        higher_is_better=files.measure.maximize,
        average=reading.average,
    )
    return Draft("aslib", files.name, source, tuple(measure.name for measure in files.measures), notes=files.notes)


def _roles(file: str, names: Sequence[str], reading: Reading) -> Roles:
    """Return the roles of a file's columns. Raises InputError if a column of the reading is not there."""

    def column(field: str, usual: Sequence[str]) -> str | None:
        name = getattr(reading, field)
        if name is None:
            return _first(names, usual)
        match = _match(names, name)
        if match is None:
            raise InputError(
                f"{file} has no column {name!r}.", field=field, value=name, remedy=f"It has {_listed(names)}."
            )
        return match

    return Roles(
        dataset=column("dataset", _DATASET),
        candidate=column("candidate", _CANDIDATE),
        value=_value(names, reading),
        fold=column("fold", _FOLD),
        fit_s=column("fit_s", _FIT_S),
        status=_first(names, _STATUS, prefixed=False),  # else a parameter named metric would be taken for one
        metric=_first(names, _METRIC, prefixed=False),
        direction=_first(names, _DIRECTION, prefixed=False),
    )


def _value(names: Sequence[str], reading: Reading) -> str | None:
    """Return the column of the reading's metric, else that of errors or values, else the only metric there is."""
    column = None if reading.metric is None else _match(names, reading.metric)
    column = column or _first(names, _VALUE, prefixed=False)
    if column is None and len(metrics := _metric_columns(names)) == 1:
        column = metrics[0]
    return column


def _with_features(source: Source, reading: Reading) -> Source:
    """Return the source with the second file. Raises InputError if none of its columns names the datasets."""
    if reading.features is None:
        return source
    staged = tables.stage(reading.features, reading.encoding)
    same = source.roles.dataset
    dataset = same if same in staged.names else _first(staged.names, _DATASET)
    if dataset is None:
        raise InputError(
            f"{reading.features.name} has no column that names the dataset of each row.", field="features",
            remedy=f"Name it dataset. It has {_listed(staged.names)}.",
        )  # fmt: skip
    return replace(source, features=staged, features_dataset=dataset)


def _with_metric(source: Source, reading: Reading) -> tuple[Source, tuple[str, ...]]:
    """Return the source with its metric, and the metrics to choose from."""
    roles, choice = source.roles, reading.metric
    if roles.metric is not None and (choice is None or choice not in source.runs.names):
        metrics = sources.distinct(source, roles.metric)
        if choice is not None and choice not in metrics:
            raise _no_metric(source.name, choice, ", ".join(metrics))
        return replace(source, metric=choice or (metrics[0] if len(metrics) == 1 else None)), metrics
    value, metrics = roles.value, _metric_columns(source.runs.names)
    if value is not None and value.casefold() in ("value", "score") and choice is not None:
        metric: str | None = choice  # the user's word for the values
    elif choice is not None and (value is None or choice not in (value, _bare(value))):
        raise _no_metric(source.name, choice, ", ".join(metrics) or value or "none")
    else:
        metric = None if value is None else _bare(value)
    return replace(source, metric=metric, roles=replace(roles, metric=None)), metrics


def _no_metric(file: str, metric: str, listed: str) -> InputError:
    return InputError(f"{file} has no metric {metric!r}.", field="metric", value=metric, remedy=f"It has {listed}.")


def _questions(source: Source, metrics: Sequence[str]) -> list[InputError]:
    """Return what the user must say before the file can be read."""
    file, roles, listed = source.name, source.roles, f"It has {_listed(source.runs.names)}."
    questions = [
        InputError(f"Which column of {file} names the {field}?", field=field, remedy=listed)
        for field, column in (("dataset", roles.dataset), ("candidate", roles.candidate))
        if column is None
    ]
    if roles.dataset is not None and roles.dataset == roles.candidate:
        text = f"The column {roles.dataset!r} of {file} names both dataset and candidate."
        questions.append(InputError(text, field="candidate", value=roles.candidate, remedy="Choose two columns."))
    if source.metric is None and len(metrics) > 1:
        text = f"{file} has several metrics: {', '.join(metrics)}."
        questions.append(InputError(text, field="metric", remedy="Choose one of them."))
    elif source.metric is None or roles.value is None:
        text = f"Which column of {file} holds the error or a metric?"
        questions.append(InputError(text, field="metric", remedy=listed))
    return questions


def _direction(source: Source, reading: Reading) -> bool | None:
    """Return whether higher is better by the file, the reading or the metric's name; None if none of them says."""
    value, choice = _bare(source.roles.value or ""), reading.higher_is_better
    in_file = False if value.casefold() == "error" else sources.direction(source)
    if in_file is not None and choice is not None and in_file != choice:
        word = "higher" if in_file else "lower"
        raise InputError(
            f"{source.name} itself says that {word} is better ({source.roles.direction or value}).",
            field="higher_is_better", value=choice, remedy="Leave it out, or correct the file.",
        )  # fmt: skip
    usual = _usual_direction(source.metric or value)
    return next((answer for answer in (in_file, choice, usual) if answer is not None), None)


def _usual_direction(metric: str) -> bool | None:
    """Return whether a higher value of the metric is better, as far as its name tells."""
    name = _bare(metric).casefold().replace("-", "_").replace(" ", "_")
    if name in METRICS:
        return METRICS[name].higher_is_better
    return False if _LOWER.search(name) else True if _HIGHER.search(name) else None


def _metric_columns(names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that are metrics by their names."""
    prefixed = tuple(name for name in names if name.startswith("metrics."))
    plain = (name for name in names if not name.startswith(FEATURE) and _usual_direction(name) is not None)
    return prefixed or tuple(plain)


def _match(names: Sequence[str], name: str) -> str | None:
    """Return the column of this name, with or without MLflow's prefix."""
    alike = (name, *(prefix + name for prefix in _PREFIXES))
    return next((each for each in alike if each in names), None)


def _first(names: Sequence[str], usual: Sequence[str], *, prefixed: bool = True) -> str | None:
    plain = {name: name.strip().casefold() for name in names}
    if prefixed:
        plain = {name: _bare(text) for name, text in plain.items()}
    return next((name for word in usual for name in names if plain[name] == word), None)


def _bare(name: str) -> str:
    """Return a column's name without MLflow's prefix."""
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_LISTED:,} more" if len(names) > _MAX_LISTED else ""
    return f"{', '.join(names[:_MAX_LISTED])}{more}"
