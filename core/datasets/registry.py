"""Registry: the table of datasets, and the only module that writes it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from core.datasets.columns import Column
from core.datasets.files.findings import Finding
from core.errors import InputError
from core.scoring import Task
from core.store import database

Modality = Literal["table", "text", "image"]
Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")

_FIELDS = "id, name, target, task, labels, columns, n_train, n_valid, n_test, seed, fingerprint, table_path, findings"
_FIELDS += ", source, owner, created_at"


@dataclass(frozen=True, slots=True)
class Dataset:
    """A registered table or set of images: cleaned, fingerprinted and split once; `table` is a Parquet file.

    The Parquet's columns are the keys (c0, c1, ...) of all columns that are not ignored, including the target, then
    `split` ('train', 'valid' or 'test') and `row` (the row's number in the file, from 0).
    numeric -> DOUBLE, categorical and text -> VARCHAR, datetime -> TIMESTAMP; a missing value is NULL.
    image -> BLOB, the raw uint8 values row by row, channels last; the column's `shape` gives the size.
    """

    id: int
    name: str
    target: str  # the target's name
    task: Task
    labels: tuple[str, ...]  # the classes, sorted; empty for regression
    columns: tuple[Column, ...]  # all columns of the file in its order, including ignored ones
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
        """The kind of input: image, text (nothing but text columns), or table."""
        types = {column.type for column in self.features}
        return "image" if "image" in types else "text" if types == {"text"} else "table"


def get(id_or_name: int | str) -> Dataset:
    """Return the dataset with this id or name. Raises InputError that lists the datasets."""
    key = str(id_or_name)
    with database.transaction() as connection:
        query = f"SELECT {_FIELDS} FROM datasets WHERE name = ? OR CAST(id AS VARCHAR) = ? ORDER BY name = ? DESC"
        rows = connection.execute(query, [key, key, key]).fetchall()
    if isinstance(id_or_name, int):  # the name of one dataset may be the id of another
        rows = [row for row in rows if row[0] == id_or_name]
    if rows:
        return _from_row(rows[0])
    names = ", ".join(f"{dataset.name} ({dataset.id})" for dataset in all_datasets()[:20])
    remedy = f"The datasets are: {names}." if names else "Add one first."
    raise InputError(f"There is no dataset {id_or_name!r}.", value=id_or_name, remedy=remedy)


def all_datasets() -> list[Dataset]:
    """Return all datasets, newest first."""
    with database.transaction() as connection:
        rows = connection.execute(f"SELECT {_FIELDS} FROM datasets ORDER BY created_at DESC, id DESC").fetchall()
    return [_from_row(row) for row in rows]


def find(name: str, fingerprint: str) -> Dataset | None:
    """Return the dataset of this name, or None. Raises InputError where it has another fingerprint."""
    with database.transaction() as connection:
        rows = connection.execute(f"SELECT {_FIELDS} FROM datasets WHERE name = ?", [name]).fetchall()
    if not rows:
        return None
    dataset = _from_row(rows[0])
    if dataset.fingerprint != fingerprint:
        what = f"{dataset.source}, target {dataset.target!r}"
        text = f"The name {name!r} is taken by a dataset of other content or options ({what})."
        raise InputError(text, value=name, remedy="Choose another name.")
    return dataset


def insert(dataset: Dataset) -> Dataset:
    """Add a row for the dataset and return it with its id.

    Where another process was first with the same dataset, returns that one. Raises as `find` does.
    """
    body = asdict(dataset)
    values = [
        dataset.name, dataset.target, dataset.task, *(json.dumps(body[key]) for key in ("labels", "columns")),
        *(dataset.n_rows[split] for split in SPLITS), dataset.seed, dataset.fingerprint,
        str(dataset.table.relative_to(database.home())), json.dumps(body["findings"]), dataset.source, dataset.owner,
        dataset.created_at,
    ]  # fmt: skip
    with database.transaction(write=True) as connection:
        if not connection.execute("SELECT 1 FROM datasets WHERE name = ?", [dataset.name]).fetchall():
            marks = ", ".join("?" * len(values))
            fields = _FIELDS.removeprefix("id, ")
            connection.execute(f"INSERT INTO datasets ({fields}) VALUES ({marks})", values)
    return find(dataset.name, dataset.fingerprint) or get(dataset.name)


def to_json(dataset: Dataset) -> str:
    """Return the dataset as JSON, for a process that does not open the store."""
    return json.dumps({**asdict(dataset), "table": str(dataset.table)})


def from_json(text: str) -> Dataset:
    """Return the dataset that `to_json` wrote."""
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
    body = dict(zip(_FIELDS.split(", "), row, strict=True))
    return Dataset(
        id=body["id"], name=body["name"], target=body["target"], task=body["task"],
        labels=tuple(json.loads(body["labels"])), columns=_columns(json.loads(body["columns"])),
        n_rows={split: body[f"n_{split}"] for split in SPLITS}, seed=body["seed"], fingerprint=body["fingerprint"],
        table=database.home() / body["table_path"],
        findings=tuple(Finding(**finding) for finding in json.loads(body["findings"])),
        source=body["source"], owner=body["owner"], created_at=body["created_at"],
    )  # fmt: skip
