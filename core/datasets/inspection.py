"""Inspection: what a CSV or Parquet file holds, and what is wrong with it for a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from core.datasets import columns as column_module
from core.datasets import splits, target
from core.datasets.columns import Column, ColumnType
from core.datasets.files import scratch, tables
from core.datasets.files.findings import Finding
from core.datasets.files.tables import StagedTable
from core.datasets.target import TargetAnalysis
from core.errors import InputError
from core.scoring import Task
from core.store.database import explain_disk_full

_USUAL_TARGETS = ("target", "class", "label", "y", "analysis")
_PREVIEW_ROWS = 20


@dataclass(frozen=True, slots=True)
class Inspection:
    """A file before it is registered: its columns with inferred types, and findings that hold for every target."""

    path: Path
    encoding: str
    n_rows: int
    columns: tuple[Column, ...]
    preview: pd.DataFrame  # the first 20 rows as text, under the user's names
    findings: tuple[Finding, ...]
    suggested_target: str
    split_columns: tuple[str, ...]  # names of the columns that mark train and test rows
    table: StagedTable = field(repr=False)


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user chooses for a table: the target and how it is used.

    `types` overrides inferred types by column name; `split_column` names the column with the file's own split.
    """

    target: str
    task: Task | None = None
    types: Mapping[str, ColumnType] | None = None
    drop_rare_classes: bool = False
    split_column: str | None = None


def inspect(path: Path, *, encoding: str = "utf-8") -> Inspection:
    """Return what a CSV or Parquet file holds. `encoding` (one of ENCODINGS) is for CSV.

    Raises InputError, with the place and the remedy, when the file is not a readable table.
    """
    table = tables.stage(path, encoding)
    columns, findings = column_module.describe(table, column_module.sample(table))
    findings += _duplicates(table, columns)
    preview = scratch.query("SELECT * FROM read_parquet(?) LIMIT ?", [str(table.parquet), _PREVIEW_ROWS])
    preview.columns = list(table.names)
    split_columns = tuple(column.name for column in columns if _is_split(column))
    suggested = _suggest([column for column in columns if column.name not in split_columns] or columns)
    return Inspection(Path(path), encoding, table.n_rows, columns, preview, findings, suggested, split_columns, table)


def check(
    inspection: Inspection,
    *,
    target: str,
    types: Mapping[str, ColumnType] | None = None,
    task: Task | None = None,
    drop_rare_classes: bool = False,
    split_column: str | None = None,
) -> tuple[Task, tuple[Finding, ...]]:
    """Return the task of a target, and all findings of the table under these choices; register nothing.

    Raises the InputError that `register` would raise.
    """
    table = inspection.table
    if not table.parquet.exists():  # swept a day after its last use
        table = tables.stage(inspection.path, inspection.encoding)
    analysis, findings = analyse(table, Choices(target, task, types, drop_rare_classes, split_column))
    return analysis.task, findings


def analyse(table: StagedTable, choices: Choices) -> tuple[TargetAnalysis, tuple[Finding, ...]]:
    """Return the target under these choices, and all findings of the table.

    Raises InputError with the value and the remedy where no model could be trained and scored.
    """
    types, split_column = choices.types, choices.split_column
    if split_column is not None:
        if split_column not in table.names or split_column == choices.target:
            text = f"The split column {split_column!r} is not a column of the file, or is the target."
            raise InputError(text, value=split_column, remedy="Choose another column.")
        types = {**(types or {}), split_column: "ignored"}
    rows = column_module.sample(table)
    columns, findings = column_module.describe(table, rows, types)
    measures = column_module.measure(table)
    analysis = target.analyse(table, columns, measures, rows, choices.target, choices.task, choices.drop_rare_classes)
    # What makes a column a poor feature says nothing against it as the target.
    general = tuple(finding for finding in findings if finding.column not in (choices.target, split_column))
    if split_column is not None:
        general += splits.analyse(table, split_column, analysis)
    return analysis, general + _duplicates(table, analysis.columns) + analysis.findings


def _duplicates(table: StagedTable, columns: tuple[Column, ...]) -> tuple[Finding, ...]:
    keys = ", ".join(column.key for column in columns if column.type != "ignored")
    if not keys:
        return ()
    with explain_disk_full(), scratch.connect(len(columns)) as connection:
        query = f"SELECT count(*) - count(DISTINCT hash({keys})) FROM read_parquet(?)"
        n_rows = connection.execute(query, [str(table.parquet)]).fetchall()[0][0]
    if not n_rows:
        return ()
    text = f"{n_rows:,} of {table.n_rows:,} rows are duplicates. Identical rows are kept in the same split."
    return (Finding("duplicate_rows", text),)


def _is_split(column: Column) -> bool:
    parts = {splits.PARTS.get(example.strip().lower()) for example in column.examples}
    return column.cardinality <= 3 and {"train", "test"} <= parts and None not in parts


def _suggest(columns: Sequence[Column]) -> str:
    usable = [column.name for column in columns if column.type != "ignored"] or [columns[-1].name]
    return next((name for name in usable if name.casefold() in _USUAL_TARGETS), usable[-1])
