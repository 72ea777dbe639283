"""The memory of initialisations: what classes look like, and which initialisation was trained on the likest ones.

Descriptors depend on no network, so that those of any two trainings compare. Numpy only.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.errors import InputError

Profile = dict[str, list[float]]  # the descriptor of each class
ROWS = 50  # of a class that are looked at
_SIDE, _CELLS, _ORIENTATIONS = 32, 4, 6
_COLOUR_WEIGHT = 0.5  # of the colours against the shapes
_BUCKETS = 256  # of hashed words
_WORD = re.compile(r"\w{4,}")  # shorter words are the same in all texts


@dataclass(frozen=True, slots=True)
class Known:
    """What is asked of an initialisation: its job and its profile, empty where its training has left none.

    Of equally near ones that count whose tasks had about as many classes (`ways`), and then what it is worth on
    held-out classes, higher is better.
    """

    job_id: int
    profile: Profile
    ways: int = 1
    worth: float | None = None


@dataclass(frozen=True, slots=True)
class Near:
    """How near an initialisation is: the mean over the new classes of the distance to the nearest train class (None:
    unknown), the name of that class for each of them, and a sentence why it stands where it does."""

    job_id: int
    distance: float | None
    like: dict[str, str]
    why: str


def describe(inputs: Any, labels: Sequence[str], kind: str) -> Profile:
    """The descriptor of each class, from its first rows.

    `inputs` of kind "image" are uint8 [n, height, width, channels] (or a tensor [n, channels, height, width]), of
    "text" strings, of "table" standardised numbers [n, columns], of "waves" standardised [n, inputs and output].
    Images: a histogram of oriented gradients (Dalal & Triggs 2005) and the colours; texts: hashed words (Weinberger et
    al. 2009); both have the length 1. Tables: means of the columns, divided by the root of their number; only those of
    the same columns by the same scales compare. Waves: deviations beside them.
    """
    places: dict[str, list[int]] = {}
    for place, label in enumerate(labels):
        found = places.setdefault(str(label), [])
        if len(found) < ROWS:
            found.append(place)
    rows = _channels_last(inputs) if kind == "image" else inputs
    return {label: [round(float(v), 3) for v in _KINDS[kind](_taken(rows, found))] for label, found in places.items()}


def nearest(known: Sequence[Known], support: Callable[[Known], Profile] | Profile) -> list[Near]:
    """The initialisations by their distance to the classes of a support set, the nearest first, unknown ones last.

    `support` is the new classes' profile, or gives the one by an initialisation's own scales. Raises InputError where
    there is no initialisation.
    """
    if not known:
        raise InputError(
            "No initialisation is kept that can take such examples. Meta-train one first, on a dataset of the same "
            "kind with many classes."
        )
    profiles = [support(one) if callable(support) else support for one in known]
    found = sorted((_near(*pair) for pair in zip(known, profiles, strict=True)), key=lambda one: one.order)
    return [Near(one.known.job_id, one.distance, one.like, _why(found, place)) for place, one in enumerate(found)]


@dataclass(frozen=True, slots=True)
class _Compared:
    known: Known
    distance: float | None
    like: dict[str, str]
    ways_off: float  # as a logarithm

    @property
    def order(self) -> tuple[float, float, float, int]:
        """What they are sorted by."""
        worth = -np.inf if self.known.worth is None else self.known.worth
        return np.inf if self.distance is None else self.distance, self.ways_off, -worth, -self.known.job_id


def _near(one: Known, support: Profile) -> _Compared:
    width = len(next(iter(support.values()), []))
    ways_off = round(float(abs(np.log(one.ways / max(1, len(support))))), 3)
    names = [name for name, values in one.profile.items() if len(values) == width]
    if not names or not support:
        return _Compared(one, None, {}, ways_off)
    theirs, mine = np.array([one.profile[name] for name in names]), np.array(list(support.values()))
    squares = (mine**2).sum(1)[:, None] + (theirs**2).sum(1) - 2 * mine @ theirs.T
    distances = np.sqrt(np.maximum(squares, 0.0))
    like = {label: names[place] for label, place in zip(support, distances.argmin(1), strict=True)}
    return _Compared(one, round(float(distances.min(1).mean()), 3), like, ways_off)


def _why(found: Sequence[_Compared], place: int) -> str:
    one = found[place]
    if one.distance is None:
        return f"Job {one.known.job_id} has no description of its training classes to compare with."
    alike = ", ".join(f"{theirs!r} is like your {mine!r}" for mine, theirs in list(one.like.items())[:2])
    others = [other for other in found if other is not one and other.distance is not None]
    if not others:
        return f"It is the only one to choose from; its training classes lie {one.distance:.2f} away, {alike}."
    first, far = others[0], others[0].distance or 0.0
    if place and one.distance > far:
        return (
            f"Its training classes lie {one.distance:.2f} away, {one.distance - far:.2f} farther than those of job "
            + (f"{first.known.job_id}; {alike}.")
        )
    if one.distance == far:
        return (
            f"Its training classes lie as near as those of job {first.known.job_id}, {far:.2f} away{_tie(one, first)}."
        )
    return (
        f"Its training classes lie nearest: {one.distance:.2f} against {far:.2f} for job {first.known.job_id}; {alike}."
    )


def _tie(one: _Compared, other: _Compared) -> str:
    """What tells two equally near ones apart."""
    if one.ways_off != other.ways_off:
        return f"; it was trained on tasks of {one.known.ways} classes, that one of {other.known.ways}"
    if one.known.worth is None or other.known.worth is None:
        return ""
    if one.known.worth < 0:
        return f"; on held-out groups its squared error is {-one.known.worth:.3g}, that one's {-other.known.worth:.3g}"
    return f"; on held-out classes it reaches {one.known.worth:.3f}, that one {other.known.worth:.3f}"


def _taken(rows: Any, places: Sequence[int]) -> Any:
    return [rows[place] for place in places] if isinstance(rows, list | tuple) else np.asarray(rows)[list(places)]


def _channels_last(images: Any) -> np.ndarray:
    if isinstance(images, np.ndarray):
        return images
    return np.asarray(images).transpose(0, 2, 3, 1)


def _of_images(images: np.ndarray) -> np.ndarray:
    small = _resized(images.astype(np.float32) / 255)
    grey = small.mean(3)
    down, right = np.gradient(grey, axis=(1, 2))
    strength = np.hypot(down, right)
    # Which side is the darker one tells nothing: half a turn is no turn.
    turns = np.floor(np.arctan2(down, right) % np.pi / np.pi * _ORIENTATIONS).astype(int) % _ORIENTATIONS
    cell = _SIDE // _CELLS
    bins = [
        np.where(turns == turn, strength, 0.0).reshape(len(images), _CELLS, cell, _CELLS, cell).sum((2, 4))
        for turn in range(_ORIENTATIONS)
    ]
    shapes = np.sqrt(np.stack(bins, 3).reshape(len(images), -1))
    shapes /= np.linalg.norm(shapes, axis=1, keepdims=True) + 1e-6
    colours = np.concatenate([small.mean((1, 2)), small.std((1, 2))], 1)
    if images.shape[3] == 1:
        colours = colours.repeat(3, axis=1)
    return _unit(np.concatenate([shapes.mean(0), _COLOUR_WEIGHT * colours.mean(0)]))


def _resized(images: np.ndarray) -> np.ndarray:
    """Images [n, height, width, channels] as squares of the common side: each pixel the mean of what it covers."""
    down, right = (_shares(size) for size in images.shape[1:3])
    return np.einsum("ah,nhwc,bw->nabc", down, images, right, optimize=True)


def _shares(size: int) -> np.ndarray:
    """How much of each new pixel [side, size] every old one makes up."""
    edges = np.linspace(0, size, _SIDE + 1)
    low, high = np.maximum(edges[:-1, None], np.arange(size)), np.minimum(edges[1:, None], np.arange(1, size + 1))
    covered = np.maximum(high - low, 0.0)
    return (covered / covered.sum(1, keepdims=True)).astype(np.float32)


def _of_texts(texts: Sequence[str]) -> np.ndarray:
    found = np.zeros((len(texts), _BUCKETS))
    for row, text in zip(found, texts, strict=True):
        for word in _WORD.findall(str(text).lower()):
            code = zlib.crc32(word.encode())
            row[code % _BUCKETS] += 1 if code >> 31 else -1  # words of one bucket cancel out rather than add up
        row /= np.linalg.norm(row) + 1e-6
    return _unit(found.mean(0))


def _of_table(rows: np.ndarray) -> np.ndarray:
    return rows.mean(0) / np.sqrt(rows.shape[1])


def _of_waves(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([rows.mean(0), rows.std(0)]) / np.sqrt(rows.shape[1])


def _unit(values: np.ndarray) -> np.ndarray:
    return values / (np.linalg.norm(values) + 1e-6)


_KINDS: dict[str, Callable[[Any], np.ndarray]] = {
    "image": _of_images, "text": _of_texts, "table": _of_table, "waves": _of_waves,
}  # fmt: skip
