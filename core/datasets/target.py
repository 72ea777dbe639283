"""The target: what task a column makes, which rows it leaves, and whether the table can teach it at all."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from core.datasets.columns import MIN_ROWS, Column, Measure, as_numbers, natural_type, value_sql
from core.datasets.files import scratch
from core.datasets.files.findings import Finding, plural
from core.datasets.files.tables import StagedTable
from core.errors import InputError
from core.scoring import Task

MAX_CLASSES = 200
MIN_CLASS_ROWS = 3  # one for each of train, valid and test
_FEW_ROWS = 200
_RARE_FRAC = 0.05
_LEAK = 0.99
_LEAK_ROWS = 100
_LEAK_LEVELS = 50


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a target was found to be. `columns` are the table's, with the target's type settled."""

    task: Task
    labels: tuple[str, ...]
    dropped_labels: tuple[str, ...]
    columns: tuple[Column, ...]
    column: Column
    value_sql: str  # the target's typed value; NULL where the row is dropped
    findings: tuple[Finding, ...]


def judge(
    staged: StagedTable,
    columns: tuple[Column, ...],
    measures: tuple[Measure, ...],
    rows: pd.DataFrame,
    target: str,
    task: Task | None,
    drop_rare_classes: bool,
) -> Verdict:
    """The verdict on `target`; None for the task infers it. `rows` is a sample of the staged table.

    Raises InputError with the value and the remedy where no model could be trained and scored.
    """
    index = _index(columns, target)
    item, column = measures[index], columns[index]
    numeric = column.type == "numeric" or natural_type(item, staged.declared[index]) == "numeric"
    _refuse_pointless(target, item)
    settled = task or _infer(item, numeric)
    column = replace(column, type="numeric" if settled == "regression" else "categorical")
    sql = value_sql(column.key, column.type, item)
    if settled == "regression":
        labels: dict[str, int] = {}
        dropped: tuple[str, ...] = ()
        n_kept = _n_numbers(target, item, numeric)
    else:
        counts = _class_counts(staged, sql, target)
        labels, dropped = classes(counts, target, drop_rare_classes)
        n_kept = sum(labels.values())
        settled = _class_task(task, labels, target)
    if n_kept < MIN_ROWS:
        raise InputError(f"{n_kept} rows have a usable {target!r}; at least {MIN_ROWS} are needed. Add rows.")
    columns = (*columns[:index], column, *columns[index + 1 :])
    findings = _findings(columns, column, item, labels, dropped, n_kept)
    findings += _leaks(rows, columns, column)
    return Verdict(settled, tuple(sorted(labels)), dropped, columns, column, sql, tuple(findings))


def _index(columns: tuple[Column, ...], target: str) -> int:
    names = [column.name for column in columns]
    if target not in names:
        near = [name for name in names if name.casefold() == target.casefold()]
        near += difflib.get_close_matches(target, names, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"The columns are {', '.join(names[:20])}."
        raise InputError(f"There is no column {target!r} to predict. {hint}")
    index = names.index(target)
    if not any(column.type != "ignored" for column in columns[:index] + columns[index + 1 :]):
        raise InputError(f"No column is left to predict {target!r} from. Set the type of one, or add columns.")
    return index


def _refuse_pointless(target: str, item: Measure) -> None:
    if item.n_present == 0:
        raise InputError(f"The target {target!r} has no values at all. Choose another target.")
    if item.n_distinct == 1:
        raise InputError(f"The target {target!r} has the same value in every row. Choose another target.")


def _infer(item: Measure, numeric: bool) -> Task:
    if item.n_distinct == 2:
        return "binary"
    few = item.n_integers == item.n_present and item.n_distinct <= 20 and item.n_distinct * 10 <= item.n_present
    return "regression" if numeric and not few else "multiclass"


def _n_numbers(target: str, item: Measure, numeric: bool) -> int:
    if not numeric:
        value = f", such as {item.odd!r}" if item.odd is not None else ""
        remedy = "Choose classification, or set its type to numeric to drop those rows"
        n_others = max(item.n_present - item.n_numbers, item.n_codes)
        raise InputError(f"{target!r} has {n_others:,} values that are not numbers{value}. {remedy}.")
    if item.low == item.high:
        raise InputError(f"The target {target!r} is {item.low} wherever it is a number. Choose another target.")
    return item.n_finite


def _class_counts(staged: StagedTable, sql: str, target: str) -> dict[str, int]:
    query = f"SELECT {sql} AS label, count(*) FROM read_parquet(?) WHERE label IS NOT NULL GROUP BY label"
    with scratch.connect() as connection:
        n_classes = connection.execute(f"SELECT count(*) FROM ({query})", [str(staged.parquet)]).fetchall()[0][0]
        if n_classes > MAX_CLASSES:
            remedy = "Choose another target, or regression if it is a number"
            raise InputError(f"{target!r} has {n_classes:,} classes; at most {MAX_CLASSES} are allowed. {remedy}.")
        return dict(connection.execute(query, [str(staged.parquet)]).fetchall())


def classes(
    counts: dict[str, int], target: str, drop_rare: bool, *, unit: str = "rows"
) -> tuple[dict[str, int], tuple[str, ...]]:
    """The counts of the classes that are large enough, and the other classes, which `drop_rare` leaves out.

    Raises InputError that names the rare classes otherwise, or where fewer than two classes are left.
    """
    rare = {label: n for label, n in sorted(counts.items()) if n < MIN_CLASS_ROWS}
    if rare and not drop_rare:
        told = ", ".join(f"{label!r} ({n})" for label, n in list(rare.items())[:5])
        what = f"{len(rare)} classes of {target!r} have" if len(rare) > 1 else f"A class of {target!r} has"
        remedy = f"Add {unit}, or choose to drop rare classes"
        raise InputError(f"{what} fewer than {MIN_CLASS_ROWS} {unit}: {told}. {remedy}.")
    kept = {label: n for label, n in counts.items() if label not in rare}
    if len(kept) < 2:
        remedy = "Choose another target" if unit == "rows" else f"Add {unit}"
        raise InputError(f"{target!r} has {len(kept)} class with {MIN_CLASS_ROWS} {unit} or more. {remedy}.")
    return kept, tuple(rare)


def _class_task(task: Task | None, labels: dict[str, int], target: str) -> Task:
    natural: Task = "binary" if len(labels) == 2 else "multiclass"
    if task not in (None, natural):
        raise InputError(f"{target!r} has {len(labels)} classes, which is {natural}, not {task}. Choose {natural}.")
    return natural


def _findings(
    columns: tuple[Column, ...],
    column: Column,
    item: Measure,
    labels: dict[str, int],
    dropped: tuple[str, ...],
    n_kept: int,
) -> list[Finding]:
    name, found = column.name, []
    n_missing = item.n_rows - (item.n_finite + item.n_infinite if column.type == "numeric" else item.n_present)
    if n_missing:
        text = f"{plural(n_missing, 'row has', 'rows have')} no {name!r}: dropped."
        found.append(Finding("missing_target", text, name))
    if column.type == "numeric" and item.n_infinite:
        text = f"{plural(item.n_infinite, 'row has', 'rows have')} an infinite {name!r}: dropped."
        found.append(Finding("infinite", text, name))
    if dropped:
        classes = plural(len(dropped), "rare class", "rare classes")
        text = f"{plural(item.n_present - n_kept, 'row', 'rows')} of {classes} ({', '.join(dropped[:5])}): dropped."
        found.append(Finding("rare_classes", text, name))
    found += balance(labels, n_kept, name)
    n_features = sum(c.type != "ignored" and c.key != column.key for c in columns)
    if n_features > n_kept:
        text = f"There are more columns ({n_features:,}) than rows ({n_kept:,}): chance patterns are likely."
        found.append(Finding("many_columns", text))
    return found


def balance(labels: dict[str, int], n_kept: int, name: str, *, unit: str = "rows") -> list[Finding]:
    """What is to be said of the sizes of the classes (none for regression) and of the whole."""
    found = []
    # Of many classes each is rare; then one is out of balance that is far below the mean.
    rare = min(_RARE_FRAC, 0.5 / max(1, len(labels))) * n_kept
    if labels and (smallest := min(labels.values())) < rare:
        label = min(labels, key=lambda key: (labels[key], key))
        told = f"The class {label!r} has {smallest:,} of {n_kept:,} {unit}"
        found.append(Finding("imbalance", f"{told}: prefer AUC or balanced accuracy to accuracy.", name))
    if n_kept < _FEW_ROWS:
        text = f"Only {n_kept:,} {unit} are usable: scores will have wide intervals. Add {unit} if you can."
        found.append(Finding("few_rows", text))
    return found


def _leaks(rows: pd.DataFrame, columns: tuple[Column, ...], target: Column) -> list[Finding]:
    """Features that give the target away almost alone, on the sampled rows."""
    rows = rows[rows[target.key].notna()]
    if len(rows) < _LEAK_ROWS:
        return []
    regression = target.type == "numeric"
    truth = (
        as_numbers(rows[target.key], "numeric").rank() if regression else pd.Series(pd.factorize(rows[target.key])[0])
    )
    found = []
    for column in columns:
        if column.key == target.key or column.type in ("ignored", "text"):
            continue
        if _explained(rows[column.key], column, truth.to_numpy(dtype=float), regression) > _LEAK:
            text = f"{column.name!r} alone nearly determines {target.name!r}: ignore it if it is known only afterwards."
            found.append(Finding("leak", text, column.name))
    return found


def _explained(values: pd.Series, column: Column, truth: np.ndarray, regression: bool) -> float:
    """From 0 to 1: how far one feature explains the target beyond what the target's own mean or mode does."""
    if column.type == "categorical":
        codes = pd.factorize(values)[0] + 1  # a missing value is a group too
        if codes.max() >= min(_LEAK_LEVELS, len(codes) // 10):
            return 0.0  # many small groups are pure by chance
        return _within_groups(codes, truth, regression)
    numbers = as_numbers(values, column.type).to_numpy()
    known = np.isfinite(numbers) & np.isfinite(truth)
    if known.mean() < 0.5:
        return 0.0
    if regression:
        return float(abs(np.nan_to_num(pd.Series(numbers[known]).rank().corr(pd.Series(truth[known])))))
    if truth.max() == 1:  # two classes: bins would blur a threshold, ranks do not
        return _gini(numbers[known], truth[known])
    n_bins = min(_LEAK_LEVELS, len(numbers) // 20)
    edges = np.unique(np.quantile(numbers[known], np.linspace(0, 1, n_bins + 1)[1:-1]))
    return _within_groups(np.where(known, np.searchsorted(edges, numbers), len(edges) + 1), truth, regression)


def _gini(numbers: np.ndarray, truth: np.ndarray) -> float:
    """How well ranks tell two classes apart, from 0 to 1: twice the distance of the AUC from one half."""
    ranks, n_ones = pd.Series(numbers).rank().to_numpy(), truth.sum()
    n_zeros = len(truth) - n_ones
    if n_ones == 0 or n_zeros == 0:
        return 0.0
    auc = (ranks[truth == 1].sum() - n_ones * (n_ones + 1) / 2) / (n_ones * n_zeros)
    return float(abs(2 * auc - 1))


def _within_groups(codes: np.ndarray, truth: np.ndarray, regression: bool) -> float:
    """The share of the target's variance, or of the errors of always guessing its mode, that groups take away."""
    known = np.isfinite(truth)
    codes, truth = codes[known], truth[known]
    if regression:
        means = np.bincount(codes, truth) / np.maximum(np.bincount(codes), 1)
        return float(1 - ((truth - means[codes]) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())
    classes = truth.astype(int)
    n_classes = classes.max() + 1
    counts = np.bincount(codes * n_classes + classes, minlength=(codes.max() + 1) * n_classes).reshape(-1, n_classes)
    base = counts.sum(axis=0).max()
    return float((counts.max(axis=1).sum() - base) / (len(codes) - base)) if base < len(codes) else 0.0
