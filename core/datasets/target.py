"""The target: which task a column defines, which rows are usable, and whether a model can be trained on the table."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace

import pandas as pd

from core.datasets import leaks
from core.datasets.columns import MIN_ROWS, Column, Measure, natural_type, value_sql
from core.datasets.files import scratch
from core.datasets.files.findings import Finding, plural
from core.datasets.files.tables import StagedTable
from core.errors import InputError
from core.scoring import Task

MAX_CLASSES = 200
MIN_CLASS_ROWS = 3  # one for each of train, valid and test
_FEW_ROWS = 200
_RARE_FRAC = 0.05


@dataclass(frozen=True, slots=True)
class TargetAnalysis:
    """What is known about a target. `columns` are the table's, with the final type of the target."""

    task: Task
    labels: tuple[str, ...]
    dropped_labels: tuple[str, ...]
    columns: tuple[Column, ...]
    column: Column
    value_sql: str  # the target's typed value; NULL where the row is dropped
    findings: tuple[Finding, ...]


def analyse(
    table: StagedTable,
    columns: tuple[Column, ...],
    measures: tuple[Measure, ...],
    rows: pd.DataFrame,
    target: str,
    task: Task | None,
    drop_rare_classes: bool,
) -> TargetAnalysis:
    """Return the analysis of the column `target`; None for the task infers it. `rows` is a sample of the staged table.

    Raises InputError with the value and the remedy where no model could be trained and scored.
    """
    index = _index(columns, target)
    item, column = measures[index], columns[index]
    numeric = column.type == "numeric" or natural_type(item, table.declared[index]) == "numeric"
    _check_values(target, item)
    final = task or _infer(item, numeric)
    column = replace(column, type="numeric" if final == "regression" else "categorical")
    sql = value_sql(column.key, column.type, item)
    if final == "regression":
        labels: dict[str, int] = {}
        rare_labels: tuple[str, ...] = ()
        n_rows = _n_numbers(target, item, numeric)
    else:
        labels, rare_labels = split_rare(_class_counts(table, sql, target), target, drop_rare_classes)
        n_rows = sum(labels.values())
        final = _class_task(task, labels, target)
    if n_rows < MIN_ROWS:
        raise InputError(f"{n_rows} rows have a usable {target!r}; at least {MIN_ROWS} are needed.", remedy="Add rows.")
    columns = (*columns[:index], column, *columns[index + 1 :])
    findings = _findings(columns, column, item, labels, rare_labels, n_rows)
    findings += leaks.suspect(rows, columns, column)
    return TargetAnalysis(final, tuple(sorted(labels)), rare_labels, columns, column, sql, tuple(findings))


def _index(columns: tuple[Column, ...], target: str) -> int:
    names = [column.name for column in columns]
    if target not in names:
        near = [name for name in names if name.casefold() == target.casefold()]
        near += difflib.get_close_matches(target, names, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"The columns are {', '.join(names[:20])}."
        raise InputError(f"There is no column {target!r} to predict.", value=target, remedy=hint)
    index = names.index(target)
    if not any(column.type != "ignored" for column in columns[:index] + columns[index + 1 :]):
        remedy = "Set the type of another column, or add columns."
        raise InputError(f"There is no column to predict {target!r} from: all others are ignored.", remedy=remedy)
    return index


def _check_values(target: str, item: Measure) -> None:
    if item.n_present == 0:
        raise InputError(f"The target {target!r} has no values.", value=target, remedy="Choose another target.")
    if item.n_distinct == 1:
        text = f"The target {target!r} has the same value in every row."
        raise InputError(text, value=target, remedy="Choose another target.")


def _infer(item: Measure, numeric: bool) -> Task:
    if item.n_distinct == 2:
        return "binary"
    few = item.n_integers == item.n_present and item.n_distinct <= 20 and item.n_distinct * 10 <= item.n_present
    return "regression" if numeric and not few else "multiclass"


def _n_numbers(target: str, item: Measure, numeric: bool) -> int:
    if not numeric:
        example = f", such as {item.odd!r}" if item.odd is not None else ""
        n_others = max(item.n_present - item.n_numbers, item.n_codes)
        remedy = "Choose classification, or set the column's type to numeric to drop those rows."
        raise InputError(f"{target!r} has {n_others:,} values that are not numbers{example}.", remedy=remedy)
    if item.low == item.high:
        text = f"All numbers of the target {target!r} are {item.low}."
        raise InputError(text, value=target, remedy="Choose another target.")
    return item.n_finite


def _class_counts(table: StagedTable, sql: str, target: str) -> dict[str, int]:
    query = f"SELECT {sql} AS label, count(*) FROM read_parquet(?) WHERE label IS NOT NULL GROUP BY label"
    with scratch.connect() as connection:
        n_classes = connection.execute(f"SELECT count(*) FROM ({query})", [str(table.parquet)]).fetchall()[0][0]
        if n_classes > MAX_CLASSES:
            text = f"{target!r} has {n_classes:,} classes; at most {MAX_CLASSES} are allowed."
            raise InputError(text, remedy="Choose another target, or regression if it is a number.")
        return dict(connection.execute(query, [str(table.parquet)]).fetchall())


def split_rare(
    counts: dict[str, int], target: str, drop_rare: bool, *, unit: str = "rows"
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the counts of the classes that are large enough, and the names of the rare classes to drop.

    Raises InputError that names the rare classes where `drop_rare` is false, or where fewer than two classes remain.
    """
    rare = {label: n for label, n in sorted(counts.items()) if n < MIN_CLASS_ROWS}
    if rare and not drop_rare:
        names = ", ".join(f"{label!r} ({n})" for label, n in list(rare.items())[:5])
        what = f"{len(rare)} classes of {target!r} have" if len(rare) > 1 else f"A class of {target!r} has"
        text = f"{what} fewer than {MIN_CLASS_ROWS} {unit}: {names}."
        raise InputError(text, remedy=f"Add {unit}, or choose to drop rare classes.")
    large = {label: n for label, n in counts.items() if label not in rare}
    if len(large) < 2:
        remedy = "Choose another target." if unit == "rows" else f"Add {unit}."
        text = f"{target!r} has {plural(len(large), 'class', 'classes')} with at least {MIN_CLASS_ROWS} {unit}."
        raise InputError(f"{text} At least 2 are needed.", remedy=remedy)
    return large, tuple(rare)


def _class_task(task: Task | None, labels: dict[str, int], target: str) -> Task:
    natural: Task = "binary" if len(labels) == 2 else "multiclass"
    if task not in (None, natural):
        text = f"{target!r} has {len(labels)} classes, so the task is {natural}, not {task}."
        raise InputError(text, value=task, remedy=f"Choose {natural}.")
    return natural


def _findings(
    columns: tuple[Column, ...],
    column: Column,
    item: Measure,
    labels: dict[str, int],
    rare_labels: tuple[str, ...],
    n_rows: int,
) -> list[Finding]:
    name, findings = column.name, []
    n_missing = item.n_rows - (item.n_finite + item.n_infinite if column.type == "numeric" else item.n_present)
    if n_missing:
        text = f"{plural(n_missing, 'row has', 'rows have')} no {name!r}. Dropped."
        findings.append(Finding("missing_target", text, name))
    if column.type == "numeric" and item.n_infinite:
        text = f"{plural(item.n_infinite, 'row has', 'rows have')} an infinite {name!r}. Dropped."
        findings.append(Finding("infinite", text, name))
    if rare_labels:
        classes = plural(len(rare_labels), "rare class", "rare classes")
        text = f"{plural(item.n_present - n_rows, 'row', 'rows')} of {classes}: {', '.join(rare_labels[:5])}. Dropped."
        findings.append(Finding("rare_classes", text, name))
    findings += size_findings(labels, n_rows, name)
    n_features = sum(c.type != "ignored" and c.key != column.key for c in columns)
    if n_features > n_rows:
        text = f"There are more columns ({n_features:,}) than rows ({n_rows:,}). Models may fit chance patterns."
        findings.append(Finding("many_columns", text))
    return findings


def size_findings(labels: dict[str, int], n: int, name: str, *, unit: str = "rows") -> list[Finding]:
    """Return findings about unbalanced classes and small data; `labels` (counts) is empty for regression."""
    findings = []
    # With many classes each is rare; then a class far below the mean is unbalanced.
    rare = min(_RARE_FRAC, 0.5 / max(1, len(labels))) * n
    if labels and (smallest := min(labels.values())) < rare:
        label = min(labels, key=lambda key: (labels[key], key))
        text = f"The class {label!r} has {smallest:,} of {n:,} {unit}. Prefer AUC or balanced accuracy to accuracy."
        findings.append(Finding("imbalance", text, name))
    if n < _FEW_ROWS:
        text = f"Only {n:,} {unit} are usable, so scores will have wide intervals. Add {unit} if you can."
        findings.append(Finding("few_rows", text))
    return findings
