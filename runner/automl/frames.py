"""The dataset as H2O and the yardstick see it: CSV files with keys for names, H2O frames, arrays."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import datasets
from core.datasets import Column, Dataset, Split
from core.errors import MetascoutError
from core.scoring import Array
from runner.automl.rest import Rest

_TYPES = {"numeric": "Numeric", "datetime": "Numeric", "categorical": "Enum", "text": "String"}


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one split in the order of the exported CSV: features by key, and the actual codes or numbers."""

    features: pd.DataFrame
    actual: Array


def usable(dataset: Dataset) -> tuple[Column, ...]:
    """The columns that H2O and the yardstick predict from: no text, no image."""
    return tuple(column for column in dataset.features if column.type not in ("text", "image"))


def read(dataset: Dataset, split: Split) -> Rows:
    """One split in memory; a datetime is epoch seconds, an infinite number is missing."""
    table = datasets.load(dataset, split)
    features = pd.DataFrame({c.key: _plain(table[c.key], c) for c in usable(dataset)}, index=table.index)
    target = table[dataset.target_column.key]
    if dataset.task == "regression":
        return Rows(features, target.to_numpy(float))
    return Rows(features, pd.Categorical(target, categories=list(dataset.labels)).codes.astype(int))


def _plain(values: pd.Series, column: Column) -> pd.Series:
    if column.type == "categorical":
        return values.astype(object).where(values.notna(), None)
    if column.type == "datetime":
        seconds = values.astype("datetime64[us]").astype("int64") / 1e6
        return seconds.where(values.notna())
    return values.astype(float).replace([np.inf, -np.inf], np.nan)


def load(rest: Rest, dataset: Dataset, split: Split, directory: Path) -> tuple[str, ...]:
    """Brings one split into H2O as the frame named like it; returns the classes in H2O's order.

    Raises MetascoutError if what arrived is not what was sent.
    """
    path = directory / f"{split}.csv"
    datasets.export_csv(dataset, split, path)
    columns = _columns(path, dataset)
    sources = rest.get("/3/ImportFiles", path=str(path))["destination_frames"]
    job = rest.post(
        "/3/Parse",
        destination_frame=split, source_frames=json.dumps(sources), parse_type="CSV", separator=ord(","),
        number_columns=len(columns), single_quotes=False, check_header=1, delete_on_done=True, blocking=False,
        chunk_size=4 * 2**20, column_names=json.dumps([c.key for c in columns]),
        column_types=json.dumps([_type(c, dataset) for c in columns]),
    )["job"]  # fmt: skip
    rest.wait(job)
    path.unlink()
    return _verify(rest, dataset, split, len(columns))


def _columns(path: Path, dataset: Dataset) -> list[Column]:
    with path.open(encoding="utf-8") as file:
        keys = [key.strip('"') for key in file.readline().rstrip("\r\n").split(",")]
    known = {column.key: column for column in dataset.columns}
    return [known[key] for key in keys]


def _type(column: Column, dataset: Dataset) -> str:
    if column.name == dataset.target:
        return "Numeric" if dataset.task == "regression" else "Enum"
    return _TYPES[column.type]


def _verify(rest: Rest, dataset: Dataset, split: Split, n_columns: int) -> tuple[str, ...]:
    frame: dict[str, Any] = rest.get(f"/3/Frames/{split}", row_count=0)["frames"][0]
    found, expected = (frame["rows"], frame["total_column_count"]), (dataset.n_rows[split], n_columns)
    if found != expected:
        raise MetascoutError(f"H2O read {found} rows and columns of the {split} rows instead of {expected}.")
    target = next(c for c in frame["columns"] if c["label"] == dataset.target_column.key)
    if target["missing_count"]:
        raise MetascoutError(
            f"H2O read {target['missing_count']} values of the target {dataset.target!r} as missing: "
            "rename the classes that have no letters."
        )
    levels = tuple(target["domain"] or ())
    if unknown := sorted(set(levels) - set(dataset.labels)):
        raise MetascoutError(f"H2O read the classes {unknown[:5]} of {dataset.target!r} that are not in the dataset.")
    return levels
