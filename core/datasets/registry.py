"""Datasets: inspect and check a table, register it once, load it anywhere."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from core.datasets import columns as column_module
from core.datasets import image_sets, samples, splits, target
from core.datasets.columns import Column, ColumnType
from core.datasets.files import scratch, tables
from core.datasets.files.findings import Finding
from core.datasets.files.tables import ENCODINGS
from core.datasets.images import conversion
from core.datasets.samples import SAMPLES
from core.errors import InputError
from core.scoring import Task
from core.store import database

__all__ = [
    "ENCODINGS", "SAMPLES", "SPLITS", "Column", "ColumnType", "Dataset", "Finding", "Inspection", "Split",
    "add_sample", "all_datasets", "check", "export_csv", "from_json", "get", "inspect", "load", "load_images",
    "register", "register_images", "to_json",
]  # fmt: skip

Modality = Literal["table", "text", "image"]
Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")

_NAME = re.compile(r"[\w .\-]{1,80}")
_USUAL_TARGETS = ("target", "class", "label", "y", "outcome")
_PREVIEW_ROWS = 20
_RULES = 1  # raise it when cleaning or splitting changes, so that old and new tables are told apart
_STORED = "id, name, target, task, labels, columns, n_train, n_valid, n_test, seed, fingerprint, table_path, findings"
_STORED += ", source, owner, created_at"


@dataclass(frozen=True, slots=True)
class Dataset:
    """A registered table or set of images: cleaned, fingerprinted and split once; `table` is a Parquet file.

    The Parquet's columns are the keys (c0, c1, ...) of all columns that are not ignored, the target among them,
    then `split` ('train', 'valid' or 'test') and `row` (the row's number in the file, from 0).
    numeric -> DOUBLE, categorical and text -> VARCHAR, datetime -> TIMESTAMP; a missing value is NULL.
    image -> BLOB, the raw uint8 values in rows, channels last; the column's `shape` says of what size.
    """

    id: int
    name: str
    target: str  # the target's name
    task: Task
    labels: tuple[str, ...]  # the classes, sorted; empty for regression
    columns: tuple[Column, ...]  # all columns of the file in its order, ignored ones too
    n_rows: dict[Split, int]
    seed: int
    fingerprint: str
    table: Path  # absolute
    findings: tuple[Finding, ...]
    source: str  # where it came from: the file's name, or "scikit-learn sample"
    owner: str
    created_at: float

    @property
    def target_column(self) -> Column:
        """The column to predict."""
        return next(column for column in self.columns if column.name == self.target)

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns to predict from."""
        return tuple(c for c in self.columns if c.type != "ignored" and c.name != self.target)

    @property
    def modality(self) -> Modality:
        """What there is to learn from: images, texts and nothing else, or a table."""
        types = {column.type for column in self.features}
        return "image" if "image" in types else "text" if types == {"text"} else "table"


@dataclass(frozen=True, slots=True)
class Inspection:
    """A file before it is registered: its columns with inferred types, and what looks wrong whatever the target."""

    path: Path
    encoding: str
    n_rows: int
    columns: tuple[Column, ...]
    preview: pd.DataFrame  # the first 20 rows as text, under the user's names
    findings: tuple[Finding, ...]
    suggested_target: str
    own_splits: tuple[str, ...]  # names of the columns that tell train from test rows
    staged: tables.StagedTable = field(repr=False)


def inspect(path: Path, *, encoding: str = "utf-8") -> Inspection:
    """What a CSV or Parquet file holds. `encoding` (one of ENCODINGS) is for CSV.

    Raises InputError, with the place and the remedy, when the file is not a readable table.
    """
    staged = tables.stage(path, encoding)
    described, findings = column_module.describe(staged, column_module.sample(staged))
    findings += _duplicates(staged, described)
    preview = scratch.query("SELECT * FROM read_parquet(?) LIMIT ?", [str(staged.parquet), _PREVIEW_ROWS])
    preview.columns = list(staged.names)
    own = tuple(column.name for column in described if _is_split(column))
    suggested = _suggest([column for column in described if column.name not in own] or described)
    return Inspection(Path(path), encoding, staged.n_rows, described, preview, findings, suggested, own, staged)


def check(
    inspection: Inspection,
    *,
    target: str,
    types: Mapping[str, ColumnType] | None = None,
    task: Task | None = None,
    drop_rare_classes: bool = False,
    split_column: str | None = None,
) -> tuple[Task, tuple[Finding, ...]]:
    """The task that a target makes, and all findings of the table under these choices; nothing is registered.

    Raises the InputError that `register` would raise.
    """
    staged = inspection.staged
    if not staged.parquet.exists():  # dropped a day after its last use
        staged = tables.stage(inspection.path, inspection.encoding)
    verdict, findings = _judge(staged, target, task, types, drop_rare_classes, split_column)
    return verdict.task, findings


def register(
    path: Path,
    *,
    name: str,
    target: str,
    task: Task | None = None,
    types: Mapping[str, ColumnType] | None = None,
    seed: int = 1,
    encoding: str = "utf-8",
    drop_rare_classes: bool = False,
    split_column: str | None = None,
    owner: str = "local",
    source: str | None = None,
) -> Dataset:
    """Clean, split and store a CSV or Parquet file as a dataset, and return it.

    `split_column` names a column with the file's own split (words such as train, dev and test), which is kept. The
    same content and choices under the same name give the dataset that exists. Raises InputError for what cannot
    be used, among it a name that other content has, and MetascoutError when the disk is full.
    """
    name = _checked_name(name)
    staged = tables.stage(path, encoding)
    verdict, findings = _judge(staged, target, task, types, drop_rare_classes, split_column)
    fingerprint = _fingerprint(staged, verdict, encoding, seed, drop_rare_classes, split_column)
    if existing := _existing(name, fingerprint):
        return existing
    table = _stored(fingerprint, lambda work: _write_table(staged, verdict, seed, split_column, work))
    dataset = Dataset(
        0, name, target, verdict.task, verdict.labels, verdict.columns, _count(table), seed, fingerprint, table,
        findings, source or Path(path).name, owner, time.time(),
    )  # fmt: skip
    return _insert(dataset)


def register_images(
    path: Path,
    *,
    name: str,
    seed: int = 1,
    side: int | None = None,
    drop_rare_classes: bool = False,
    inner_folders: bool = False,
    owner: str = "local",
    source: str | None = None,
) -> Dataset:
    """Convert, split and store a ZIP of class folders, an .npz or a Parquet of images as a dataset, and return it.

    `side` in pixels makes all images squares of it; None keeps the size that all share, else takes their median
    side, at most 64. With `inner_folders` the classes of a ZIP are the folders within its folders, named by both
    ("Greek/character03"). A test part of the file's own stays the test split. Raises as `register` does.
    """
    name = _checked_name(name)
    staged = conversion.stage(path, side, inner_folders)
    verdict = image_sets.judge(staged, drop_rare_classes)
    fingerprint = image_sets.fingerprint(staged, seed, drop_rare_classes, inner_folders)
    if existing := _existing(name, fingerprint):
        return existing
    table = _stored(fingerprint, lambda work: image_sets.write(staged, verdict, seed, work))
    dataset = Dataset(
        0, name, staged.label_name, verdict.task, tuple(verdict.counts), image_sets.columns(staged, verdict),
        _count(table), seed, fingerprint, table, verdict.findings, source or Path(path).name, owner, time.time(),
    )  # fmt: skip
    return _insert(dataset)


def add_sample(name: str, *, owner: str = "local") -> Dataset:
    """Register a built-in sample, one of SAMPLES, under its own name. Raises InputError for an unknown one."""
    if name not in SAMPLES:
        raise InputError(f"There is no sample {name!r}. Choose one of {', '.join(SAMPLES)}.")
    sample, path = SAMPLES[name], scratch.folder() / f"{name}.{uuid.uuid4().hex}"
    about: dict[str, Any] = {"name": name, "owner": owner, "source": "scikit-learn sample"}
    try:
        with database.explain_disk_full():
            samples.write(name, path)
        if sample.images:
            return register_images(path, **about)
        return register(path, target=sample.target, task=sample.task, **about)
    finally:
        path.unlink(missing_ok=True)


def get(id_or_name: int | str) -> Dataset:
    """The dataset with this id or name. Raises InputError that lists what exists."""
    with database.transaction() as connection:
        query = f"SELECT {_STORED} FROM datasets WHERE name = ? OR CAST(id AS VARCHAR) = ? ORDER BY name = ? DESC"
        wanted = str(id_or_name)
        rows = connection.execute(query, [wanted, wanted, wanted]).fetchall()
    if isinstance(id_or_name, int):  # a dataset may be named like another one's id
        rows = [row for row in rows if row[0] == id_or_name]
    if rows:
        return _from_row(rows[0])
    known = ", ".join(f"{dataset.name} ({dataset.id})" for dataset in all_datasets()[:20])
    raise InputError(f"There is no dataset {id_or_name!r}. " + (f"There are: {known}." if known else "Add one first."))


def all_datasets() -> list[Dataset]:
    """Every dataset, the newest first."""
    with database.transaction() as connection:
        rows = connection.execute(f"SELECT {_STORED} FROM datasets ORDER BY created_at DESC, id DESC").fetchall()
    return [_from_row(row) for row in rows]


def load(dataset: Dataset, split: Split | None = None) -> pd.DataFrame:
    """The rows of one split, or of all, in the file's order: columns are keys (c0, ...), the index is `row`."""
    # Not "= ANY", which DuckDB turns into a join that loses the order.
    query = "SELECT * EXCLUDE split FROM read_parquet(?) WHERE list_contains(?, split)"
    return scratch.query(query, [str(dataset.table), [split] if split else list(SPLITS)]).set_index("row")


def rows(dataset: Dataset, numbers: Sequence[int]) -> pd.DataFrame:
    """The rows of these numbers, as `load` gives them and in its order; those there are not are left out."""
    query = "SELECT * EXCLUDE split FROM read_parquet(?) WHERE list_contains(?, row)"
    return scratch.query(query, [str(dataset.table), [int(number) for number in numbers]]).set_index("row")


def load_images(dataset: Dataset, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """The images of one split, uint8 [N, H, W, C], and their classes as int64 codes into `labels`; in file order."""
    shape = next(column.shape for column in dataset.columns if column.shape)
    found, labels = conversion.load(dataset.table, shape, split, dataset.n_rows[split])
    return found, pd.Categorical(labels, categories=list(dataset.labels)).codes.astype(np.int64)


def export_csv(dataset: Dataset, split: Split, path: Path) -> int:
    """Write a split as UTF-8 CSV, out of core, in the file's order; returns the number of rows.

    The header is the keys, the target among them; times are seconds since the epoch; a missing value is an empty
    field without quotes. Raises MetascoutError when the disk is full.
    """
    used = [column for column in dataset.columns if column.type != "ignored"]
    select = ", ".join(f"epoch({c.key}) AS {c.key}" if c.type == "datetime" else c.key for c in used)
    # Texts are quoted whatever they hold: a reader may trim the blanks around a bare value.
    texts = ", ".join(c.key for c in used if c.type in ("categorical", "text"))
    quoted = f", FORCE_QUOTE ({texts})" if texts else ""
    query = f"""COPY (SELECT {select} FROM read_parquet(?) WHERE split = ?)
        TO ? (FORMAT csv, HEADER, DELIMITER ',', QUOTE '"', ESCAPE '"', NULLSTR ''{quoted})"""
    with database.explain_disk_full(), scratch.connect(len(used)) as connection:
        return connection.execute(query, [str(dataset.table), split, str(path)]).fetchall()[0][0]


def to_json(dataset: Dataset) -> str:
    """The dataset as JSON text, for a process that does not open the store; `from_json` gives it back."""
    return json.dumps({**asdict(dataset), "table": str(dataset.table)})


def from_json(text: str) -> Dataset:
    """The dataset that `to_json` wrote."""
    body = json.loads(text)
    return Dataset(
        **body
        | {
            "labels": tuple(body["labels"]),
            "columns": _columns(body["columns"]),
            "findings": tuple(Finding(**finding) for finding in body["findings"]),
            "table": Path(body["table"]),
        }
    )


def _columns(bodies: list[dict[str, Any]]) -> tuple[Column, ...]:
    plain: list[dict[str, Any]] = [
        {k: tuple(v) if isinstance(v, list) else v for k, v in body.items()} for body in bodies
    ]
    return tuple(Column(**body) for body in plain)


def _from_row(row: tuple[Any, ...]) -> Dataset:
    body = dict(zip(_STORED.split(", "), row, strict=True))
    return Dataset(
        id=body["id"], name=body["name"], target=body["target"], task=body["task"],
        labels=tuple(json.loads(body["labels"])), columns=_columns(json.loads(body["columns"])),
        n_rows={split: body[f"n_{split}"] for split in SPLITS}, seed=body["seed"], fingerprint=body["fingerprint"],
        table=database.home() / body["table_path"],
        findings=tuple(Finding(**finding) for finding in json.loads(body["findings"])),
        source=body["source"], owner=body["owner"], created_at=body["created_at"],
    )  # fmt: skip


def _existing(name: str, fingerprint: str) -> Dataset | None:
    with database.transaction() as connection:
        rows = connection.execute(f"SELECT {_STORED} FROM datasets WHERE name = ?", [name]).fetchall()
    if not rows:
        return None
    dataset = _from_row(rows[0])
    if dataset.fingerprint != fingerprint:
        what = f"to predict {dataset.target!r} from {dataset.source}"
        raise InputError(
            f"The name {name!r} is taken by a dataset {what}, of other content or choices. Choose another."
        )
    return dataset


def _insert(dataset: Dataset) -> Dataset:
    body = asdict(dataset)
    values = [
        dataset.name, dataset.target, dataset.task, *(json.dumps(body[key]) for key in ("labels", "columns")),
        *(dataset.n_rows[split] for split in SPLITS), dataset.seed, dataset.fingerprint,
        str(dataset.table.relative_to(database.home())), json.dumps(body["findings"]), dataset.source, dataset.owner,
        dataset.created_at,
    ]  # fmt: skip
    with database.transaction(write=True) as connection:
        taken = connection.execute("SELECT 1 FROM datasets WHERE name = ?", [dataset.name]).fetchall()
        if not taken:
            marks = ", ".join("?" * len(values))
            names = _STORED.removeprefix("id, ")
            connection.execute(f"INSERT INTO datasets ({names}) VALUES ({marks})", values)
    return _existing(dataset.name, dataset.fingerprint) or get(dataset.name)


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name.strip()):
        raise InputError(f"The name {name!r} cannot be used: 1 to 80 letters, digits, spaces, _ - and dots.")
    return name.strip()


def _judge(
    staged: tables.StagedTable,
    name: str,
    task: Task | None,
    types: Mapping[str, ColumnType] | None,
    drop_rare_classes: bool,
    split_column: str | None,
) -> tuple[target.Verdict, tuple[Finding, ...]]:
    if split_column is not None:
        if split_column not in staged.names or split_column == name:
            raise InputError(
                f"The split column {split_column!r} is not among the columns that can tell train from test."
            )
        types = {**(types or {}), split_column: "ignored"}
    rows = column_module.sample(staged)
    described, findings = column_module.describe(staged, rows, types)
    measures = column_module.measure(staged)
    verdict = target.judge(staged, described, measures, rows, name, task, drop_rare_classes)
    # What makes a column a poor feature says nothing against it as the target.
    general = tuple(finding for finding in findings if finding.column not in (name, split_column))
    if split_column is not None:
        general += splits.judge(staged, split_column, verdict)
    return verdict, general + _duplicates(staged, verdict.columns) + verdict.findings


def _duplicates(staged: tables.StagedTable, described: tuple[Column, ...]) -> tuple[Finding, ...]:
    keys = ", ".join(column.key for column in described if column.type != "ignored")
    if not keys:
        return ()
    with database.explain_disk_full(), scratch.connect(len(described)) as connection:
        query = f"SELECT count(*) - count(DISTINCT hash({keys})) FROM read_parquet(?)"
        n_rows = connection.execute(query, [str(staged.parquet)]).fetchall()[0][0]
    if not n_rows:
        return ()
    text = f"{n_rows:,} of {staged.n_rows:,} rows repeat another row. Equal rows are kept in one split."
    return (Finding("duplicate_rows", text),)


def _is_split(column: Column) -> bool:
    parts = {splits.PARTS.get(example.strip().lower()) for example in column.examples}
    return column.cardinality <= 3 and {"train", "test"} <= parts and None not in parts


def _suggest(described: Sequence[Column]) -> str:
    usable = [column.name for column in described if column.type != "ignored"] or [described[-1].name]
    return next((name for name in usable if name.casefold() in _USUAL_TARGETS), usable[-1])


def _fingerprint(
    staged: tables.StagedTable,
    verdict: target.Verdict,
    encoding: str,
    seed: int,
    drop_rare_classes: bool,
    split_column: str | None,
) -> str:
    choices: dict[str, Any] = {
        "rules": _RULES,
        "content": staged.sha256,
        "encoding": encoding,
        "target": verdict.column.name,
        "task": verdict.task,
        "types": [column.type for column in verdict.columns],
        "seed": seed,
        "drop_rare_classes": drop_rare_classes,
    }
    if split_column is not None:
        choices["split_column"] = split_column
    return hashlib.sha256(json.dumps(choices, sort_keys=True).encode()).hexdigest()


def _write_table(
    staged: tables.StagedTable, verdict: target.Verdict, seed: int, split_column: str | None, work: Path
) -> None:
    part = "'all'" if split_column is None else splits.part_sql(f"c{staged.names.index(split_column)}")
    _clean(staged, verdict, part, work / "clean.parquet")
    _add_split(work, verdict, seed)


def _stored(fingerprint: str, write: Callable[[Path], None]) -> Path:
    """The split table in its final place, whole or not at all; `write` leaves it in a folder as table.parquet."""
    folder = database.home() / "datasets" / fingerprint
    if (folder / "table.parquet").exists():  # another name has the same content and choices
        return folder / "table.parquet"
    work = scratch.folder() / f"table.{uuid.uuid4().hex}"
    try:
        with database.explain_disk_full():
            work.mkdir()
            write(work)
            _to_disk(work / "table.parquet")
            folder.mkdir(parents=True, exist_ok=True)
            os.replace(work / "table.parquet", folder / "table.parquet")
            _to_disk(folder)
        return folder / "table.parquet"
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _clean(staged: tables.StagedTable, verdict: target.Verdict, part: str, path: Path) -> None:
    measures = column_module.measure(staged)
    values = [
        f"{column_module.value_sql(column.key, column.type, measure)} AS {column.key}"
        for column, measure in zip(verdict.columns, measures, strict=True)
        if column.type != "ignored"
    ]
    query = f"""COPY (
        SELECT {", ".join(values)}, file_row_number AS "row", {part} AS part
        FROM read_parquet(?, file_row_number = true)
        WHERE ({verdict.value_sql}) IS NOT NULL AND NOT list_contains(?, CAST(({verdict.value_sql}) AS VARCHAR)))
        TO ? (FORMAT parquet)"""
    with scratch.connect(len(values)) as connection:
        connection.execute(query, [str(staged.parquet), list(verdict.dropped_labels), str(path)])


def _add_split(work: Path, verdict: target.Verdict, seed: int) -> None:
    clean, keys = work / "clean.parquet", [c.key for c in verdict.columns if c.type != "ignored"]
    with scratch.connect(len(keys)) as connection:
        regression = verdict.task == "regression"
        splits.make(connection, clean, keys, verdict.column.key, regression=regression, seed=seed, part="part")
        query = f"""COPY (SELECT {", ".join(keys)}, split, "row" FROM read_parquet(?) POSITIONAL JOIN splits)
            TO ? (FORMAT parquet)"""
        connection.execute(query, [str(clean), str(work / "table.parquet")])
    clean.unlink()


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _count(table: Path) -> dict[Split, int]:
    query = "SELECT split, count(*) AS n FROM read_parquet(?) GROUP BY split"
    counts = scratch.query(query, [str(table)]).set_index("split")["n"]
    return {split: int(counts.get(split, 0)) for split in SPLITS}
