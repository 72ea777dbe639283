"""Examples for a few-shot task that are no dataset: uploaded or drawn images, kept as one file of plain arrays."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core import artifacts, db, tables
from core.errors import InputError

UNKNOWN = -1  # the class of an image that is to be predicted


@dataclass(frozen=True, slots=True)
class Examples:
    """Images uint8 [n, height, width, channels], the number of each one's class or UNKNOWN, and their names."""

    images: np.ndarray
    codes: np.ndarray
    labels: tuple[str, ...]
    names: tuple[str, ...]


def keep(images: np.ndarray, codes: Sequence[int], labels: Sequence[str], names: Sequence[str]) -> str:
    """Put examples into the store of artifacts; returns the sha256 by which a spec names them."""
    folder = tables.temporary()
    path = folder / f"examples.{uuid.uuid4().hex}"
    try:
        with db.disk_full_told(), path.open("wb") as file:
            np.savez(
                file, images=images, codes=np.asarray(codes, np.int64), labels=np.array(labels, np.str_),
                names=np.array(names, np.str_),
            )  # fmt: skip
        return artifacts.keep(path)[0]
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
