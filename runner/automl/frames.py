"""The dataset as H2O frames: each split goes through a CSV file with keys for names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from core import datasets
from core.datasets import Column, Dataset, Split
from core.errors import MetascoutError
from runner.automl.rest import Rest

_TYPES = {"numeric": "Numeric", "datetime": "Numeric", "categorical": "Enum", "text": "String"}


def load(rest: Rest, dataset: Dataset, split: Split, directory: Path) -> tuple[str, ...]:
    """Import one split into H2O as the frame of its name; return the classes in H2O's order.

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
    by_key = {column.key: column for column in dataset.columns}
    return [by_key[key] for key in keys]


def _type(column: Column, dataset: Dataset) -> str:
    if column.name == dataset.target:
        return "Numeric" if dataset.task == "regression" else "Enum"
    return _TYPES[column.type]


def _verify(rest: Rest, dataset: Dataset, split: Split, n_columns: int) -> tuple[str, ...]:
    frame: dict[str, Any] = rest.get(f"/3/Frames/{split}", row_count=0)["frames"][0]
    size, expected = (frame["rows"], frame["total_column_count"]), (dataset.n_rows[split], n_columns)
    if size != expected:
        raise MetascoutError(f"H2O read {size} rows and columns of the {split} rows instead of {expected}.")
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
