"""Imports: a team's own past, as an ASlib scenario, a tidy table or MLflow's runs, brought into one form."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from core import aslib, roles, scenarios, tables, tidying
from core.errors import InputError
from core.roles import Penalty, Reading, Roles, Source
from core.scenarios import Scenario
from core.tidying import Tidied

Kind = Literal["aslib", "tidy", "mlflow"]

_NAME = re.compile(r"[\w .\-]{1,80}")


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a file was recognised as, before it is imported; `notes` and `questions` are sentences.

    While there are questions nothing is counted, and `import_` refuses the file with the first of them.
    """

    kind: Kind
    name: str  # proposed
    columns: tuple[str, ...]  # of the file, to choose from
    roles: Roles
    metrics: tuple[str, ...]  # to choose from
    metric: str | None
    higher_is_better: bool | None
    n_rows: int
    n_datasets: int
    n_candidates: int
    features: tuple[str, ...]
    notes: tuple[str, ...]
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """A file as it was recognised."""

    kind: Kind
    name: str
    source: Source
    metrics: tuple[str, ...]
    questions: tuple[str, ...]


def inspect(path: Path, reading: Reading | None = None) -> Inspection:
    """What the file is and what would be imported. Raises InputError where nothing of it can be used."""
    with _work() as work:
        found = _recognised(Path(path), reading or Reading(), work)
        source = found.source
        tidied = Tidied.nothing(work) if found.questions else tidying.tidy(source, work)
    return Inspection(
        found.kind, found.name, source.runs.names, source.roles, found.metrics, source.metric, source.higher_is_better,
        source.runs.n_rows, tidied.n_datasets, tidied.n_candidates, tidied.names, tidied.notes, found.questions,
    )  # fmt: skip


def import_(
    path: Path, reading: Reading | None = None, *, name: str | None = None, owner: str = "local"
) -> tuple[Scenario, tuple[str, ...]]:
    """Bring the file into the store as a scenario; returns it with notes on what was left out or averaged.

    Errors are 1 - value where a higher value is better, and the value otherwise. The file is read and checked before
    the store is locked. Raises InputError, and saves nothing, where it cannot be used, something must be said first,
    or the name is taken.
    """
    with _work() as work:
        found = _recognised(Path(path), reading or Reading(), work)
        if found.questions:
            raise InputError(found.questions[0])
        chosen = (name or found.name).strip()
        if not _NAME.fullmatch(chosen):
            raise InputError(f"The name {chosen!r} cannot be used: 1 to 80 letters, digits, spaces, _ - and dots.")
        scenarios.check_free(chosen)
        tidied = tidying.tidy(found.source, work)
        counts = (tidied.n_datasets, tidied.n_candidates, tidied.n_pairs)
        about = (str(found.source.metric), bool(found.source.higher_is_better), Path(path).name, owner, time.time())
        scenario = Scenario(chosen, *about, *counts)
        scenarios.add(scenario, tidied.errors, tidied.features)
    return scenario, tidied.notes


@contextmanager
def _work() -> Iterator[Path]:
    """A folder for what is staged on the way."""
    folder = Path(tempfile.mkdtemp(prefix="import-", dir=tables.temporary()))
    try:
        with tables.disk_full_told():
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _recognised(path: Path, reading: Reading, work: Path) -> _Found:
    if aslib.is_one(path):
        return _scenario(path, reading, work)
    runs = tables.stage(path, reading.encoding)
    kind: Kind = "mlflow" if roles.is_mlflow(runs.names) else "tidy"
    features = None if reading.features is None else tables.stage(reading.features, reading.encoding)
    second = None if reading.features is None else reading.features.name
    source = Source(path.name, runs, features, second, roles.recognise(path.name, runs.names, reading))
    source = replace(source, mlflow=kind == "mlflow", average=reading.average or kind == "mlflow")
    source, metrics = _measured(source, reading)
    questions = roles.questions(path.name, source.roles, metrics, source.metric, runs.names)
    if not questions:
        source = replace(source, higher_is_better=_direction(source, reading))
        if source.higher_is_better is None:
            questions = [f"Is a higher {source.metric} better, or a lower one? Say which (higher_is_better)."]
    return _Found(kind, path.stem, source, metrics, tuple(questions))


def _measured(source: Source, reading: Reading) -> tuple[Source, tuple[str, ...]]:
    """The source with its metric, and the metrics there are to choose from."""
    told, said = source.roles, reading.metric
    if told.metric is not None and (said is None or said not in source.runs.names):
        metrics = tidying.distinct(source, told.metric)
        if said is not None and said not in metrics:
            raise InputError(f"{source.name} has no metric {said!r}; it has {', '.join(metrics)}.")
        return replace(source, metric=said or (metrics[0] if len(metrics) == 1 else None)), metrics
    value, metrics = told.value, roles.metric_columns(source.runs.names)
    if value is not None and value.casefold() in ("value", "score") and said is not None:
        metric: str | None = said  # the user's word for what the values are
    elif said is not None and (value is None or said not in (value, roles.bare(value))):
        raise InputError(f"{source.name} has no metric {said!r}; it has {', '.join(metrics) or value or 'none'}.")
    else:
        metric = None if value is None else roles.bare(value)
    return replace(source, metric=metric, roles=replace(told, metric=None)), metrics


def _direction(source: Source, reading: Reading) -> bool | None:
    """Whether higher is better: as the file, the user or the metric's name says; None where nobody does."""
    value, said = roles.bare(source.roles.value or ""), reading.higher_is_better
    told = None if source.roles.direction is None else tidying.directions(source)
    if value.casefold() == "error":
        told = False
    if told is not None and said is not None and told != said:
        word = "higher" if told else "lower"
        raise InputError(f"{source.name} says itself that {word} is better ({source.roles.direction or value}).")
    known = roles.direction(source.metric or value)
    return next((answer for answer in (told, said, known) if answer is not None), None)


def _scenario(path: Path, reading: Reading, work: Path) -> _Found:
    """An ASlib scenario, whose columns have fixed names."""
    read = aslib.read(path, work)
    measures = {measure.name: measure for measure in read.measures}
    measure = measures.get(reading.metric or read.measures[0].name)
    if measure is None:
        raise InputError(f"{path.name} has no measure {reading.metric!r}; it has {', '.join(measures)}.")
    runtime = next((each.name for each in read.measures if each.runtime), None)
    told = Roles("instance_id", "algorithm", measure.name, "repetition", runtime, "runstatus")
    lacking = told.columns() - set(read.runs.names)
    if lacking:
        raise InputError(f"{aslib.RUNS} has no attribute {', '.join(sorted(lacking))}. Add it, as ASlib asks for.")
    penalty = Penalty(read.cutoff_s) if measure.runtime else None
    source = Source(
        path.name, read.runs, read.features, aslib.FEATURES, told, metric=measure.name, higher_is_better=measure.maximize,
        aslib=True, penalty=penalty, average=reading.average,
    )  # fmt: skip
    return _Found("aslib", read.name, source, tuple(measures), ())
