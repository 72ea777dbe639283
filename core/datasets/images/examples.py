"""Examples for a few-shot task that are no dataset: uploaded or drawn images, kept as one file of plain arrays."""

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

UNKNOWN = -1  # the class of an image that is to be predicted
MOST = 2_000  # images of one file of examples
MAX_BYTES = 64 * 2**20  # of one encoded image


@dataclass(frozen=True, slots=True)
class Examples:
    """Images uint8 [n, height, width, channels], the number of each one's class or UNKNOWN, and their names."""

    images: np.ndarray
    codes: np.ndarray
    labels: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """One image given: uint8 [height, width, channels], its class or None where it is to be predicted, its name."""

    values: np.ndarray
    label: str | None
    name: str


def picture(content: bytes, name: str, label: str | None, shape: Shape) -> Picture:
    """An encoded image brought to a size and mode. Raises InputError where it cannot be read."""
    image = folders.open_image(content) if len(content) <= MAX_BYTES else None
    try:
        if image is None:
            raise ValueError("of no known format")
        values, _ = pixels.decode(image, shape)
    except Exception:  # a decoder may raise anything on broken bytes
        formats = ", ".join(folders.FORMATS)
        raise InputError(f"{name} is no image that can be read. Save it as one of {formats}.") from None
    return Picture(values, label, name)


def unpacked(path: Path, shape: Shape) -> tuple[list[Picture], int]:
    """The images of a ZIP of class folders, and how many cannot be read.

    Raises InputError where there are too many, or none lies in a class folder.
    """
    source = folders.folders(path)
    if len(source.entries) > MOST:
        raise InputError(f"{path.name} holds {len(source.entries):,} images; at most {MOST:,} are taken as examples.")
    found = []
    for entry, image in zip(source.entries, source.images(), strict=True):
        try:
            if image is not None:
                found.append(Picture(pixels.decode(image, shape)[0], entry.label, entry.name))
        except Exception:  # as above
            continue
    return found, len(source.entries) - len(found)


def gathered(pictures: Sequence[Picture]) -> Examples:
    """The pictures as one value. Raises InputError where there is nothing to tell apart, or too much."""
    labels = tuple(dict.fromkeys(one.label for one in pictures if one.label is not None))
    if len(labels) < 2:
        told = f"{labels[0]!r} alone tells nothing apart" if labels else "there are none yet"
        raise InputError(f"{told}.", field="examples", remedy="Give images of 2 classes or more.")
    if len(pictures) > MOST:
        raise InputError(f"examples: {len(pictures):,} images are given, and at most {MOST:,} are taken.")
    codes = np.array([UNKNOWN if one.label is None else labels.index(one.label) for one in pictures], np.int64)
    return Examples(np.stack([one.values for one in pictures]), codes, labels, tuple(one.name for one in pictures))


def torn(pictures: Sequence[Picture]) -> str | None:
    """A sentence on an image that stands in two classes; None where there is none."""
    seen: dict[bytes, Picture] = {}
    for one in pictures:
        if one.label is None:
            continue
        other = seen.setdefault(one.values.tobytes(), one)
        if other.label != one.label:
            return (
                f"{other.name!r} in {other.label!r} and {one.name!r} in {one.label!r} are the same image: take it out "
                "of the wrong class."
            )
    return None


def keep(images: np.ndarray, codes: Sequence[int], labels: Sequence[str], names: Sequence[str]) -> str:
    """Put examples into the store of artifacts; returns the sha256 by which a spec names them."""
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
    """The examples of this content. Raises InputError where they are not kept."""
    try:
        with np.load(artifacts.locate(sha256), allow_pickle=False) as file:
            labels, names = (tuple(str(value) for value in file[key]) for key in ("labels", "names"))
            return Examples(file["images"], file["codes"], labels, names)
    except (OSError, ValueError, KeyError):
        raise InputError(f"examples: no file of examples is kept as {sha256[:12]}. Give the examples again.") from None
