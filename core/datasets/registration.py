"""Registration: a user's file becomes a dataset, cleaned, split and stored once."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from core.datasets import columns, image_sets, inspection, registry, samples, splits
from core.datasets.columns import ColumnType
from core.datasets.files import scratch, tables
from core.datasets.files.tables import StagedTable
from core.datasets.images import conversion
from core.datasets.inspection import Choices
from core.datasets.registry import SPLITS, Dataset, Split
from core.datasets.samples import SAMPLES
from core.datasets.target import TargetAnalysis
from core.errors import InputError
from core.scoring import Task
from core.store import database

_NAME = re.compile(r"[\w .\-]{1,80}")
_RULES = 1  # raise it when cleaning or splitting changes, so that old and new tables get different fingerprints


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

    `split_column` names a column with the file's own split (words such as train, dev and test), which is used as it
    is. The same content and choices under the same name return the dataset that exists. Raises InputError for
    what cannot be used, including a name that belongs to other content, and MetascoutError when the disk is full.
    """
    name = _check_name(name)
    table, choices = tables.stage(path, encoding), Choices(target, task, types, drop_rare_classes, split_column)
    analysis, findings = inspection.analyse(table, choices)
    fingerprint = _fingerprint(table, analysis, choices, encoding, seed)
    if existing := registry.find(name, fingerprint):
        return existing
    parquet = _store_table(fingerprint, lambda work: _write_table(table, analysis, split_column, seed, work))
    dataset = Dataset(
        id=0, name=name, target=target, task=analysis.task, labels=analysis.labels, columns=analysis.columns,
        n_rows=_count(parquet), seed=seed, fingerprint=fingerprint, table=parquet, findings=findings,
        source=source or Path(path).name, owner=owner, created_at=time.time(),
    )  # fmt: skip
    return registry.insert(dataset)


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

    `side` in pixels makes all images squares of that side; None keeps the size that all share, otherwise uses their
    median side, at most 64. With `inner_folders` the classes of a ZIP are the folders within its folders, named by
    both ("Greek/character03"). The file's own test part stays the test split. Raises as `register` does.
    """
    name = _check_name(name)
    images = conversion.stage(path, side, inner_folders)
    classes = image_sets.analyse(images, drop_rare_classes)
    fingerprint = image_sets.fingerprint(images, seed, drop_rare_classes, inner_folders)
    if existing := registry.find(name, fingerprint):
        return existing
    parquet = _store_table(fingerprint, lambda work: image_sets.write(images, classes, seed, work))
    dataset = Dataset(
        id=0, name=name, target=images.label_name, task=classes.task, labels=tuple(classes.counts),
        columns=image_sets.columns(images, classes), n_rows=_count(parquet), seed=seed, fingerprint=fingerprint,
        table=parquet, findings=classes.findings, source=source or Path(path).name, owner=owner,
        created_at=time.time(),
    )  # fmt: skip
    return registry.insert(dataset)


def add_sample(name: str, *, owner: str = "local") -> Dataset:
    """Register a built-in sample, one of SAMPLES, under its own name. Raises InputError for an unknown one."""
    if name not in SAMPLES:
        raise InputError(f"There is no sample {name!r}.", value=name, remedy=f"Choose one of {', '.join(SAMPLES)}.")
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


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name.strip()):
        remedy = "Use 1 to 80 letters, digits, spaces, hyphens, underscores and dots."
        raise InputError(f"The name {name!r} cannot be used.", value=name, remedy=remedy)
    return name.strip()


def _fingerprint(table: StagedTable, analysis: TargetAnalysis, choices: Choices, encoding: str, seed: int) -> str:
    """Return the hash of the content and of every choice that changes the stored table."""
    parts: dict[str, Any] = {
        "rules": _RULES,
        "content": table.sha256,
        "encoding": encoding,
        "target": analysis.column.name,
        "task": analysis.task,
        "types": [column.type for column in analysis.columns],
        "seed": seed,
        "drop_rare_classes": choices.drop_rare_classes,
    }
    if choices.split_column is not None:
        parts["split_column"] = choices.split_column
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _store_table(fingerprint: str, write: Callable[[Path], None]) -> Path:
    """Put the table in its final place, complete or not at all; `write` leaves it in a folder as table.parquet."""
    folder = database.home() / "datasets" / fingerprint
    if (folder / "table.parquet").exists():  # another name has the same content and choices
        return folder / "table.parquet"
    work = scratch.folder() / f"table.{uuid.uuid4().hex}"
    try:
        with database.explain_disk_full():
            work.mkdir()
            write(work)
            _sync(work / "table.parquet")
            folder.mkdir(parents=True, exist_ok=True)
            os.replace(work / "table.parquet", folder / "table.parquet")
            _sync(folder)
        return folder / "table.parquet"
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _sync(path: Path) -> None:
    """Make sure that a file or a folder is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_table(table: StagedTable, analysis: TargetAnalysis, split_column: str | None, seed: int, work: Path) -> None:
    """Write table.parquet into the folder `work`: the typed values of the usable rows with their split."""
    part = "'all'" if split_column is None else splits.part_sql(f"c{table.names.index(split_column)}")
    _clean(table, analysis, part, work / "clean.parquet")
    _add_split(work, analysis, seed)


def _clean(table: StagedTable, analysis: TargetAnalysis, part: str, path: Path) -> None:
    measures = columns.measure(table)
    values = [
        f"{columns.value_sql(column.key, column.type, measure)} AS {column.key}"
        for column, measure in zip(analysis.columns, measures, strict=True)
        if column.type != "ignored"
    ]
    query = f"""COPY (
        SELECT {", ".join(values)}, file_row_number AS "row", {part} AS part
        FROM read_parquet(?, file_row_number = true)
        WHERE ({analysis.value_sql}) IS NOT NULL AND NOT list_contains(?, CAST(({analysis.value_sql}) AS VARCHAR)))
        TO ? (FORMAT parquet)"""
    with scratch.connect(len(values)) as connection:
        connection.execute(query, [str(table.parquet), list(analysis.dropped_labels), str(path)])


def _add_split(work: Path, analysis: TargetAnalysis, seed: int) -> None:
    clean, keys = work / "clean.parquet", [c.key for c in analysis.columns if c.type != "ignored"]
    with scratch.connect(len(keys)) as connection:
        regression = analysis.task == "regression"
        splits.make(connection, clean, keys, analysis.column.key, regression=regression, seed=seed, part="part")
        query = f"""COPY (SELECT {", ".join(keys)}, split, "row" FROM read_parquet(?) POSITIONAL JOIN splits)
            TO ? (FORMAT parquet)"""
        connection.execute(query, [str(clean), str(work / "table.parquet")])
    clean.unlink()


def _count(parquet: Path) -> dict[Split, int]:
    query = "SELECT split, count(*) AS n FROM read_parquet(?) GROUP BY split"
    counts = scratch.query(query, [str(parquet)]).set_index("split")["n"]
    return {split: int(counts.get(split, 0)) for split in SPLITS}
