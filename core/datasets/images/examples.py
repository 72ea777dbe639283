"""Examples for a few-shot task outside a dataset: uploaded or drawn images, stored as one file of plain arrays."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.datasets.files import scratch
from core.datasets.images import folders, pixels
from core.datasets.images.pixels import Shape
from core.errors import InputError
from core.store import artifacts, database

UNKNOWN = -1  # the class of an image to predict
MAX_IMAGES = 2_000  # of one file of examples
MAX_BYTES = 64 * 2**20  # of one encoded image


@dataclass(frozen=True, slots=True)
class Examples:
    """Images uint8 [n, height, width, channels], the class number of each (or UNKNOWN), and their names."""

    images: np.ndarray
    codes: np.ndarray
    labels: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of the user: uint8 [height, width, channels], its class (None: to predict), its name."""

    values: np.ndarray
    label: str | None
    name: str


def read_picture(content: bytes, name: str, label: str | None, shape: Shape) -> Picture:
    """Decode an image and convert it to a size and mode. Raises InputError if it cannot be read."""
    image = folders.open_image(content) if len(content) <= MAX_BYTES else None
    try:
        if image is None:
            raise ValueError("unknown format")
        values, _ = pixels.decode(image, shape)
    except Exception:  # a decoder may raise anything on broken bytes
        formats = ", ".join(folders.FORMATS)
        raise InputError(f"{name} is not a readable image.", remedy=f"Save it as one of {formats}.") from None
    return Picture(values, label, name)


def read_zip(path: Path, shape: Shape) -> tuple[list[Picture], int]:
    """Return the images of a ZIP of class folders, and the number that cannot be read.

    Raises InputError if there are too many, or none in a class folder.
    """
    source = folders.read_zip(path)
    if len(source.entries) > MAX_IMAGES:
        raise InputError(f"{path.name} has {len(source.entries):,} images.", remedy=f"Give at most {MAX_IMAGES:,}.")
    pictures = []
    for entry, image in zip(source.entries, source.images(), strict=True):
        try:
            if image is not None:
                pictures.append(Picture(pixels.decode(image, shape)[0], entry.label, entry.name))
        except Exception:  # as above
            continue
    return pictures, len(source.entries) - len(pictures)


def collect(pictures: Sequence[Picture]) -> Examples:
    """Return the pictures as one value. Raises InputError for fewer than two classes, or too many pictures."""
    labels = tuple(dict.fromkeys(one.label for one in pictures if one.label is not None))
    if len(labels) < 2:
        text = f"{labels[0]!r} is the only class." if labels else "There are no images yet."
        raise InputError(text, field="examples", remedy="Give images of 2 classes or more.")
    if len(pictures) > MAX_IMAGES:
        text = f"{len(pictures):,} images are too many."
        raise InputError(text, field="examples", remedy=f"Give at most {MAX_IMAGES:,}.")
    codes = np.array([UNKNOWN if one.label is None else labels.index(one.label) for one in pictures], np.int64)
    return Examples(np.stack([one.values for one in pictures]), codes, labels, tuple(one.name for one in pictures))


def find_conflict(pictures: Sequence[Picture]) -> str | None:
    """Return a sentence about an image that is in two classes, or None if there is none."""
    first: dict[bytes, Picture] = {}
    for one in pictures:
        if one.label is None:
            continue
        other = first.setdefault(one.values.tobytes(), one)
        if other.label != one.label:
            return (
                f"{other.name!r} in {other.label!r} and {one.name!r} in {one.label!r} are the same image. Remove it "
                "from the wrong class."
            )
    return None


def store(images: np.ndarray, codes: Sequence[int], labels: Sequence[str], names: Sequence[str]) -> str:
    """Store examples, and return the sha256 for a spec."""
    folder = scratch.folder()
    path = folder / f"examples.{uuid.uuid4().hex}"
    try:
        with database.explain_disk_full(), path.open("wb") as file:
            np.savez(
                file, images=images, codes=np.asarray(codes, np.int64), labels=np.array(labels, np.str_),
                names=np.array(names, np.str_),
            )  # fmt: skip
        return artifacts.store(path)[0]
    finally:
        path.unlink(missing_ok=True)


def load(sha256: str) -> Examples:
    """Return stored examples. Raises InputError if they are missing."""
    try:
        with np.load(artifacts.locate(sha256), allow_pickle=False) as file:
            labels, names = (tuple(str(value) for value in file[key]) for key in ("labels", "names"))
            return Examples(file["images"], file["codes"], labels, names)
    except (OSError, ValueError, KeyError):
        text = f"There is no stored file of examples {sha256[:12]}."
        raise InputError(text, field="examples", value=sha256, remedy="Give the examples again.") from None
