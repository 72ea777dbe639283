"""Datasets: files of a user's, looked at, registered once, split once, and loaded anywhere."""

from core.datasets.columns import Column, ColumnType
from core.datasets.files.findings import Finding
from core.datasets.files.tables import ENCODINGS
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

__all__ = [
    "ENCODINGS", "SAMPLES", "SPLITS", "Column", "ColumnType", "Dataset", "Finding", "Inspection", "Split",
    "add_sample", "all_datasets", "check", "export_csv", "from_json", "get", "inspect", "load", "load_images",
    "register", "register_images", "rows", "to_json",
]  # fmt: skip
