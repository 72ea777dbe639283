"""A fitted pipeline as a skops file, and the files that are downloaded with it."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sklearn

from core.datasets import Dataset
from core.events import Artifact, Event, Message
from runner.shared.deploy import Readme, image_schema, table_schema, write_predictor
from runner.shared.pipelines import trusted_types

_MAX_BYTES = 200 * 2**20
_NOTES = """\
The skops format holds no program: only types of scikit-learn and numpy, which schema.json names, are loaded."""
_TABLE_NOTES = "A category that the train rows did not have counts as unknown."


def can_save() -> bool:
    """Return whether skops is installed; import it, so that forks of this process need not."""
    try:
        importlib.import_module("skops.io")  # takes seconds: it looks for every estimator of scikit-learn
    except ImportError:
        return False
    return True


def save(name: str, model: Any, directory: Path) -> Event:
    """Write a candidate's fitted pipeline as a skops file; return the artifact, or a warning if it is too large."""
    import skops.io

    if len(pickle.dumps(model)) > _MAX_BYTES:
        return Message(f"The model of {name} is not saved: it is too large.", "warning")
    path = directory / f"{name}.skops"
    skops.io.dump(model, path)
    return Artifact(path.name, str(path), "skops", name)


def write_shared_files(dataset: Dataset, directory: Path) -> Iterator[Artifact]:
    """Write predict.py with its files, once for all models of a job."""
    images = dataset.modality == "image"
    title = f"{dataset.name}: predict {dataset.target!r}"
    files = {"model.skops": "the model with its preprocessing, a scikit-learn pipeline in the skops format"}
    needs = f", scikit-learn {sklearn.__version__}, skops and pandas" + ", and Pillow" * images
    notes = _NOTES if images else f"{_TABLE_NOTES}\n{_NOTES}"
    readme = Readme(title, files, needs, notes, "images/" if images else "rows.csv")
    yield from write_predictor(directory, _schema(dataset), readme)


def _schema(dataset: Dataset) -> dict[str, Any]:
    trusted = list(trusted_types())
    if dataset.modality == "image":
        shape = next(column.shape for column in dataset.features if column.shape)
        return image_schema("skops", dataset.target, dataset.labels, shape, trusted=trusted)
    return table_schema(dataset, "skops", dataset.features, trusted=trusted)
