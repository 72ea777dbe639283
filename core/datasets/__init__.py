"""Datasets: a user's files, inspected, registered and split once, then loaded anywhere."""

from core.datasets.columns import Column, ColumnType
from core.datasets.files.content import ENCODINGS
from core.datasets.files.findings import Finding
from core.datasets.inspection import Inspection, check, inspect
from core.datasets.loading import export_csv, load, load_images, rows
from core.datasets.registration import add_sample, register, register_images
from core.datasets.registry import SPLITS, Dataset, Split, all_datasets, from_json, get, to_json
from core.datasets.samples import SAMPLES

__all__ = [
    "ENCODINGS", "SAMPLES", "SPLITS", "Column", "ColumnType", "Dataset", "Finding", "Inspection", "Split",
    "add_sample", "all_datasets", "check", "export_csv", "from_json", "get", "inspect", "load", "load_images",
    "register", "register_images", "rows", "to_json",
]  # fmt: skip
