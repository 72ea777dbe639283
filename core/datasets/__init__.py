"""Datasets: files of a user's, looked at, registered once, split once, and loaded anywhere."""

from core.datasets.columns import Column, ColumnType, Finding
from core.datasets.registry import (
    SPLITS,
    Dataset,
    Inspection,
    Split,
    add_sample,
    all_datasets,
    check,
    export_csv,
    from_json,
    get,
    inspect,
    load,
    load_images,
    register,
    register_images,
    rows,
    to_json,
)
from core.datasets.samples import SAMPLES
from core.datasets.tables import ENCODINGS

__all__ = [
    "ENCODINGS", "SAMPLES", "SPLITS", "Column", "ColumnType", "Dataset", "Finding", "Inspection", "Split",
    "add_sample", "all_datasets", "check", "export_csv", "from_json", "get", "inspect", "load", "load_images",
    "register", "register_images", "rows", "to_json",
]  # fmt: skip
