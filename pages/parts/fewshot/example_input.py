"""The examples for the playground: from a dataset, uploaded or drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from core import datasets
from core.datasets import Dataset
from core.datasets.images import examples, image_table
from core.datasets.images.examples import Picture
from core.datasets.images.pixels import Shape
from core.queue import jobs
from core.results.initialisations import Initialisation
from core.specs import FewShotSpec
from pages import reads
from pages.parts.fewshot import canvas, example_uploads, gallery, sample_episodes

SHAPE: Shape = (28, 28, 1)  # of images where no initialisation says otherwise
WAYS, QUERIES = 5, 15  # at first
MAX_SHOTS = 20


@dataclass(frozen=True, slots=True)
class ExampleInput:
    """Fields of the spec, and pictures that are stored as its examples when it is submitted."""

    fields: dict[str, Any]
    pictures: tuple[Picture, ...] | None = None

    def spec_fields(self) -> dict[str, Any]:
        """Return the fields of the spec, and store the pictures. Raises InputError if they cannot be learned from."""
        if self.pictures is None:
            return self.fields
        images = examples.collect(self.pictures)
        sha256 = examples.store(images.images, images.codes.tolist(), images.labels, images.names)
        return self.fields | {"examples": sha256}


def kind_of(dataset: Dataset) -> str:
    """Return what a dataset's few-shot tasks consist of: "image", "text", "table" or "waves"."""
    return "waves" if dataset.task == "regression" else dataset.modality


def shape_for(dataset: Dataset | None) -> Shape:
    """Return the size and mode that pictures are converted to."""
    return (sample_episodes.shape_of(dataset) if dataset else None) or SHAPE


def from_dataset(offered: Sequence[Dataset], starts: Sequence[Initialisation]) -> ExampleInput:
    """Draw the choice of classes and numbers of examples; `starts` are the initialisations, the chosen one first."""
    names = [dataset.name for dataset in offered]
    home = next((dataset.name for dataset in offered if dataset.id == starts[0].dataset_id), names[0])
    for key, value in {"play_dataset": home, "play_shots": WAYS, "play_queries": QUERIES}.items():
        st.session_state.setdefault(key, value)
    one, two, three = st.columns([2, 1, 1])
    name = one.selectbox("Dataset", names, key="play_dataset")
    dataset = next(dataset for dataset in offered if dataset.name == name)
    shots = two.number_input("Shots", step=1, key="play_shots",
                             help="Examples per class to learn from, 1 to 20.")  # fmt: skip
    queries = three.number_input("Queries", step=1, key="play_queries",
                                 help="Further examples per class, which are predicted to evaluate it.")  # fmt: skip
    own = next((start for start in starts if start.dataset_id == dataset.id), None)
    classes = _choose_wave(dataset, own) if dataset.task == "regression" else _choose_classes(dataset, own)
    return ExampleInput({"dataset_id": dataset.id, "classes": classes, "shots": shots, "queries": queries})


def _choose_classes(dataset: Dataset, start: Initialisation | None) -> list[str]:
    """Draw the choice of classes; at first some that the initialisation has not seen."""
    about = start.about if start else {}
    unseen = [label for label in about.get("held_out") or () if label in dataset.labels]
    st.session_state.setdefault(f"play_classes_{dataset.id}", (unseen or list(dataset.labels))[:WAYS])
    classes = st.multiselect(
        "Classes", dataset.labels, key=f"play_classes_{dataset.id}",
        help="At first, some classes that meta-training has not seen.",
    )  # fmt: skip
    n_seen = len(set(classes) & set(about.get("classes") or ()))
    if n_seen:
        text = f"Meta-training has seen {n_seen} of these, so the accuracy says little about new classes."
        st.caption(f":material/info: {text}")
    shape = sample_episodes.shape_of(dataset)
    if shape is not None and classes:
        first = tuple(classes[: example_uploads.MAX_CLASSES])
        images = _first_images(dataset.table, shape, first)
        gallery.plain([images[label][0] for label in first if len(images[label])])
    return classes


@st.cache_data(ttl=3600, max_entries=64, show_spinner=False)
def _first_images(parquet: Path, shape: Shape, labels: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return one image of each class; a registered set never changes."""
    return image_table.examples(parquet, shape, labels, 1)


def _choose_wave(dataset: Dataset, start: Initialisation | None) -> list[str]:
    """Draw the choice of the one task to learn: a value of the column of tasks."""
    values = [str(value) for value in (start.about.get("held_out") if start else None) or ()]
    if not values and start:
        spec = reads.read(jobs.get, start.job_id).spec
        values = list(_values(dataset, spec.group)) if isinstance(spec, FewShotSpec) and spec.group else []
    if not values:
        st.info("No meta-training on this dataset names the column of its tasks.", icon=":material/info:")
        return []
    value = st.selectbox("Task", values, key=f"play_wave_{dataset.id}", help="One that meta-training has not seen.")
    return [value]


@st.cache_data(ttl=3600, max_entries=16, show_spinner=False)
def _values(dataset: Dataset, group: str) -> tuple[str, ...]:
    """Return the values of a column as text, in order."""
    key = next(column.key for column in dataset.columns if column.name == group)
    return tuple(str(value) for value in sorted(datasets.load(dataset)[key].dropna().unique()))


def from_uploads(dataset: Dataset) -> ExampleInput:
    """Draw the upload of examples and of images to predict."""
    pictures = example_uploads.pictures(shape_for(dataset))
    shots = st.number_input(
        "Shots", value=5, step=1, key="play_upload_shots",
        help="This many images per class are learned from, 1 to 20; the others evaluate the result.",
    )  # fmt: skip
    example_uploads.show(pictures, shape_for(dataset))
    return ExampleInput({"dataset_id": dataset.id, "shots": shots, "queries": 100}, tuple(pictures))


def from_drawings(dataset: Dataset) -> ExampleInput:
    """Draw the canvas; all drawings of a class are learned from."""
    bright = st.toggle(
        "Bright on dark", _is_bright(dataset), key=f"play_bright_{dataset.id}",
        help="Choose what the images look like that the initialisation was trained on.",
    )  # fmt: skip
    pictures = canvas.draw(shape_for(dataset), bright, "play_canvas")
    labels = [picture.label for picture in pictures if picture.label]
    shots = min(MAX_SHOTS, max((labels.count(label) for label in labels), default=1))
    return ExampleInput({"dataset_id": dataset.id, "shots": shots, "queries": 100}, tuple(pictures))


@st.cache_data(ttl=3600, max_entries=32, show_spinner=False)
def _is_bright(dataset: Dataset) -> bool:
    """Return whether the dataset's images are mostly dark, as with bright ink on dark paper."""
    shape = sample_episodes.shape_of(dataset)
    if shape is None:
        return False
    images = image_table.examples(dataset.table, shape, dataset.labels[:3], 5)
    return bool(np.mean([values.mean() for values in images.values() if len(values)]) < 128)
