"""The examples that someone gives to the playground: from a dataset, uploaded or drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from core import datasets
from core.datasets import Dataset
from core.datasets.files import uploads
from core.datasets.images import examples, folders, image_table
from core.datasets.images.examples import Picture
from core.datasets.images.pixels import Shape
from core.errors import InputError, MetascoutError
from core.queue import jobs
from core.results.initialisations import Initialisation
from core.specs import FewShotSpec
from pages import reads, words
from pages.parts import canvas, gallery, sample_episodes

SHAPE: Shape = (28, 28, 1)  # of images where no initialisation says otherwise
WAYS, QUERIES = 5, 15  # at first
MOST_CLASSES, SHOTS = 20, 20


@dataclass(frozen=True, slots=True)
class Given:
    """Fields of the spec, and pictures that are kept as its examples once it is submitted."""

    fields: dict[str, Any]
    pictures: tuple[Picture, ...] | None = None

    def asked(self) -> dict[str, Any]:
        """The fields of the spec; pictures are kept. Raises InputError where they tell nothing apart."""
        if self.pictures is None:
            return self.fields
        found = examples.collect(self.pictures)
        return self.fields | {"examples": examples.store(found.images, found.codes.tolist(), found.labels, found.names)}


def kind_of(dataset: Dataset) -> str:
    """What its few-shot tasks are of: "image", "text", "table" or "waves"."""
    return "waves" if dataset.task == "regression" else dataset.modality


def shape_for(dataset: Dataset | None) -> Shape:
    """The size and mode that pictures are brought to."""
    return (sample_episodes.shape_of(dataset) if dataset else None) or SHAPE


# From a dataset


def from_dataset(known: Sequence[Dataset], trained: Sequence[Initialisation]) -> Given:
    """Classes of a dataset, and how many examples of each; `trained` are the initialisations, the chosen one first."""
    names = [dataset.name for dataset in known]
    home = next((dataset.name for dataset in known if dataset.id == trained[0].dataset_id), names[0])
    for key, value in {"play_dataset": home, "play_shots": WAYS, "play_queries": QUERIES}.items():
        st.session_state.setdefault(key, value)
    one, two, three = st.columns([2, 1, 1])
    name = one.selectbox("Dataset", names, key="play_dataset")
    dataset = next(dataset for dataset in known if dataset.name == name)
    shots = two.number_input("Shots", step=1, key="play_shots",
                             help="Examples of each class to learn from, 1 to 20.")  # fmt: skip
    queries = three.number_input("Queries", step=1, key="play_queries",
                                 help="Further examples of each class, by whose prediction it is judged.")  # fmt: skip
    own = [one for one in trained if one.dataset_id == dataset.id]
    classes = _wave(dataset, own) if dataset.task == "regression" else _classes(dataset, own)
    return Given({"dataset_id": dataset.id, "classes": classes, "shots": shots, "queries": queries})


def _classes(dataset: Dataset, home: Sequence[Initialisation]) -> list[str]:
    """The classes to tell apart; at first some that the initialisation has not seen."""
    held_out = [label for one in home[:1] for label in one.about.get("held_out") or () if label in dataset.labels]
    st.session_state.setdefault(f"play_classes_{dataset.id}", (held_out or list(dataset.labels))[:WAYS])
    chosen = st.multiselect(
        "Classes", dataset.labels, key=f"play_classes_{dataset.id}",
        help="At first some that meta-training has not seen.",
    )  # fmt: skip
    seen = set(chosen) & {label for one in home[:1] for label in one.about.get("classes") or ()}
    if seen:
        told = f"{len(seen)} of these were seen in meta-training, so that the accuracy says little about new classes."
        st.caption(f":material/info: {told}")
    shape = sample_episodes.shape_of(dataset)
    if shape is not None and chosen:
        shown = tuple(chosen[:MOST_CLASSES])
        found = _faces(dataset.table, shape, shown)
        gallery.plain([found[label][0] for label in shown if len(found[label])])
    return chosen


@st.cache_data(ttl=3600, max_entries=64, show_spinner=False)
def _faces(parquet: Path, shape: Shape, labels: tuple[str, ...]) -> dict[str, np.ndarray]:
    """One image of each class; a registered set never changes."""
    return image_table.examples(parquet, shape, labels, 1)


def _wave(dataset: Dataset, home: Sequence[Initialisation]) -> list[str]:
    """The one task to be learned: a value of the column of tasks."""
    values = [str(value) for one in home[:1] for value in one.about.get("held_out") or ()]
    if not values and home:
        spec = reads.read(jobs.get, home[0].job_id).spec
        values = list(_values(dataset, spec.group)) if isinstance(spec, FewShotSpec) and spec.group else []
    if not values:
        st.info("No meta-training on this dataset says which column holds its tasks.", icon=":material/info:")
        return []
    value = st.selectbox("Task", values, key=f"play_wave_{dataset.id}", help="One that meta-training has not seen.")
    return [value]


@st.cache_data(ttl=3600, max_entries=16, show_spinner=False)
def _values(dataset: Dataset, group: str) -> tuple[str, ...]:
    """The values of a column as text, in order."""
    key = next(column.key for column in dataset.columns if column.name == group)
    return tuple(str(value) for value in sorted(datasets.load(dataset)[key].dropna().unique()))


# Uploaded


def uploaded(dataset: Dataset) -> Given:
    """Images of a ZIP of class folders or class by class, and further ones to be predicted."""
    shape = shape_for(dataset)
    way = st.radio("Examples as", ["A ZIP of class folders", "Class by class"], horizontal=True, key="play_way")
    pictures, problems = _zipped(shape) if way == "A ZIP of class folders" else _by_class(shape)
    files = _uploader(st, "Images to be predicted", "play_predict")
    more, wrong = _read(files, None, shape)
    pictures, problems = [*pictures, *more], [*problems, *wrong]
    if (told := examples.find_conflict(pictures)) is not None:
        problems.append(told)
    for problem in problems[:5]:
        st.warning(words.plain(problem), icon=":material/warning:")
    if len(problems) > 5:
        st.caption(f"{len(problems) - 5:,} more files cannot be read")
    shots = st.number_input(
        "Shots", value=5, step=1, key="play_upload_shots",
        help="So many of each class are learned from, 1 to 20; the others judge the result.",
    )  # fmt: skip
    _counted(pictures, shape)
    return Given({"dataset_id": dataset.id, "shots": shots, "queries": 100}, tuple(pictures))


def _uploader(place: Any, label: str, key: str) -> list[Any]:
    """Where images are chosen."""
    kinds = ["png", "jpg", "jpeg", "bmp", "gif", "webp"]
    most = examples.MAX_BYTES // 2**20
    return list(place.file_uploader(label, kinds, accept_multiple_files=True, key=key, max_upload_size=most))


def _zipped(shape: Shape) -> tuple[list[Picture], list[str]]:
    file = st.file_uploader("ZIP of class folders", type=["zip"], key="play_zip")
    if file is None:
        return [], []
    try:
        found, n_broken = _unpacked(uploads.receive(file), shape)
    except MetascoutError as error:
        return [], [uploads.restore_names(str(error), file)]
    told = "1 image" if n_broken == 1 else f"{n_broken:,} images"
    return found, [f"Left out, as it cannot be read: {told} of {file.name}."] if n_broken else []


@st.cache_data(ttl=3600, max_entries=8, show_spinner="Reading the images")
def _unpacked(path: Path, shape: Shape) -> tuple[list[Picture], int]:
    """Read once for all reruns; an upload never changes."""
    return examples.read_zip(path, shape)


def _by_class(shape: Shape) -> tuple[list[Picture], list[str]]:
    """An uploader for each class."""
    n_classes = st.number_input("Number of classes", 2, MOST_CLASSES, 2, 1, key="play_n_classes")
    pictures: list[Picture] = []
    problems: list[str] = []
    taken: set[str] = set()
    for number in range(int(n_classes or 2)):
        left, right = st.columns([1, 2])
        default = chr(ord("A") + number)
        name = folders.plain_label(left.text_input(f"Name of class {number + 1}", default, max_chars=80,
                                                      key=f"play_name_{number}"))  # fmt: skip
        files = _uploader(right, f"Images of class {number + 1}", f"play_files_{number}")
        if not name or name in taken:
            problems.append(f"Class {number + 1} is named {name!r}: give each class a name of its own.")
            continue
        taken.add(name)
        found, wrong = _read(files, name, shape)
        pictures, problems = [*pictures, *found], [*problems, *wrong]
    return pictures, problems


def _read(files: Sequence[Any], label: str | None, shape: Shape) -> tuple[list[Picture], list[str]]:
    """The images of some uploads, and a sentence for each that is none."""
    found, problems = [], []
    for file in files:
        try:
            found.append(_picture(uploads.receive(file), file.name, label, shape))
        except MetascoutError as error:
            problems.append(str(error))
    return found, problems


@st.cache_data(ttl=3600, max_entries=512, show_spinner=False)
def _picture(path: Path, name: str, label: str | None, shape: Shape) -> Picture:
    """Read once for all reruns."""
    if path.stat().st_size > examples.MAX_BYTES:
        raise InputError(f"{name} is larger than {words.size(examples.MAX_BYTES)}. Make it smaller.")
    return examples.read_picture(path.read_bytes(), name, label, shape)


def _counted(pictures: Sequence[Picture], shape: Shape) -> None:
    """How many images of each class there are, and some of them."""
    if not pictures:
        return
    counts: dict[str | None, list[Picture]] = {}
    for one in pictures:
        counts.setdefault(one.label, []).append(one)
    for label, some in counts.items():
        name = canvas.PREDICT if label is None else words.plain(label)
        st.markdown(f"**{name}** :gray[{len(some):,} image{'s' if len(some) > 1 else ''}]")
        gallery.plain([one.values for one in some[:10]])
    height, width, channels = shape
    st.caption(f"All as {width} x {height} pixels, {'grey' if channels == 1 else 'RGB'}, as the initialisation has it")


# Drawn


def drawn(dataset: Dataset) -> Given:
    """Drawings; all of a class are learned from."""
    shape = shape_for(dataset)
    bright = st.toggle(
        "Bright ink on dark paper", _bright(dataset), key=f"play_bright_{dataset.id}",
        help="As the images have it that the initialisation was trained on.",
    )  # fmt: skip
    pictures = canvas.draw(shape, bright, "play_canvas")
    most = max((sum(one.label == label for one in pictures) for label in {one.label for one in pictures if one.label}),
               default=1)  # fmt: skip
    fields = {"dataset_id": dataset.id, "shots": min(SHOTS, most), "queries": 100}
    return Given(fields, tuple(pictures))


@st.cache_data(ttl=3600, max_entries=32, show_spinner=False)
def _bright(dataset: Dataset) -> bool:
    """Whether the dataset's images are mostly dark, as bright ink leaves them."""
    shape = sample_episodes.shape_of(dataset)
    if shape is None:
        return False
    found = image_table.examples(dataset.table, shape, dataset.labels[:3], 5)
    return bool(np.mean([values.mean() for values in found.values() if len(values)]) < 128)
