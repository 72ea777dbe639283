"""Uploaded images for the playground: a ZIP of class folders or class by class, and images to predict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from core.datasets.files import uploads
from core.datasets.images import examples, folders
from core.datasets.images.examples import Picture
from core.datasets.images.pixels import Shape
from core.errors import InputError, MetascoutError
from pages import words
from pages.parts.fewshot import canvas, gallery

MAX_CLASSES = 20
PROBLEMS = 5  # that are shown in full
EACH = 10  # images of a class that are shown
ZIP, BY_CLASS = "A ZIP of class folders", "Class by class"


def pictures(shape: Shape) -> list[Picture]:
    """Draw the uploaders; returns the images, those to predict without a label."""
    way = st.radio("Examples as", [ZIP, BY_CLASS], horizontal=True, key="play_way")
    labelled, problems = _from_zip(shape) if way == ZIP else _by_class(shape)
    files = _uploader(st, "Images to predict", "play_predict")
    unlabelled, more_problems = _read(files, None, shape)
    every, problems = [*labelled, *unlabelled], [*problems, *more_problems]
    if (conflict := examples.find_conflict(every)) is not None:
        problems.append(conflict)
    for problem in problems[:PROBLEMS]:
        st.warning(words.plain(problem), icon=":material/warning:")
    if len(problems) > PROBLEMS:
        st.caption(f"{len(problems) - PROBLEMS:,} more files cannot be read")
    return every


def _uploader(place: Any, label: str, key: str) -> list[Any]:
    """Draw where images are chosen."""
    types = ["png", "jpg", "jpeg", "bmp", "gif", "webp"]
    limit_mb = examples.MAX_BYTES // 2**20
    return list(place.file_uploader(label, types, accept_multiple_files=True, key=key, max_upload_size=limit_mb))


def _from_zip(shape: Shape) -> tuple[list[Picture], list[str]]:
    """Draw the upload of a ZIP; returns its images and a sentence for each problem."""
    file = st.file_uploader("ZIP of class folders", type=["zip"], key="play_zip")
    if file is None:
        return [], []
    try:
        images, n_broken = _read_zip(uploads.receive(file), shape)
    except MetascoutError as error:
        return [], [uploads.restore_names(str(error), file)]
    n = "1 image" if n_broken == 1 else f"{n_broken:,} images"
    return images, [f"{n} of {file.name} cannot be read. Ignored."] if n_broken else []


@st.cache_data(ttl=3600, max_entries=8, show_spinner="Reading the images")
def _read_zip(path: Path, shape: Shape) -> tuple[list[Picture], int]:
    """Return the images of a ZIP, read once for all reruns; an upload never changes."""
    return examples.read_zip(path, shape)


def _by_class(shape: Shape) -> tuple[list[Picture], list[str]]:
    """Draw an uploader for each class; returns the images and a sentence for each problem."""
    n_classes = st.number_input("Number of classes", 2, MAX_CLASSES, 2, 1, key="play_n_classes")
    images: list[Picture] = []
    problems: list[str] = []
    names: set[str] = set()
    for number in range(int(n_classes or 2)):
        left, right = st.columns([1, 2])
        name = folders.plain_label(
            left.text_input(f"Class {number + 1}", chr(ord("A") + number), max_chars=80, key=f"play_name_{number}")
        )
        files = _uploader(right, f"Images of class {number + 1}", f"play_files_{number}")
        if not name or name in names:
            problems.append(f"Class {number + 1} is named {name!r}. Give each class a different name.")
            continue
        names.add(name)
        more_images, more_problems = _read(files, name, shape)
        images, problems = [*images, *more_images], [*problems, *more_problems]
    return images, problems


def _read(files: Sequence[Any], label: str | None, shape: Shape) -> tuple[list[Picture], list[str]]:
    """Return the images of some uploads, and a sentence for each file that is not an image."""
    images, problems = [], []
    for file in files:
        try:
            images.append(_read_picture(uploads.receive(file), file.name, label, shape))
        except MetascoutError as error:
            problems.append(str(error))
    return images, problems


@st.cache_data(ttl=3600, max_entries=512, show_spinner=False)
def _read_picture(path: Path, name: str, label: str | None, shape: Shape) -> Picture:
    """Return an image, read once for all reruns."""
    if path.stat().st_size > examples.MAX_BYTES:
        raise InputError(f"{name} is larger than {words.size(examples.MAX_BYTES)}.", remedy="Make it smaller.")
    return examples.read_picture(path.read_bytes(), name, label, shape)


def show(images: Sequence[Picture], shape: Shape) -> None:
    """Draw how many images of each class there are, and some of them."""
    if not images:
        return
    by_label: dict[str | None, list[Picture]] = {}
    for image in images:
        by_label.setdefault(image.label, []).append(image)
    for label, group in by_label.items():
        name = canvas.PREDICT if label is None else words.plain(label)
        st.markdown(f"**{name}** :gray[{len(group):,} image{'s' if len(group) > 1 else ''}]")
        gallery.plain([image.values for image in group[:EACH]])
    height, width, channels = shape
    colours = "grey" if channels == 1 else "RGB"
    st.caption(f"Converted to {width} x {height} pixels, {colours}, like the images of the initialisation")
