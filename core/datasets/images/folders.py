"""Image files: the images of a ZIP of class folders with their classes, before anything is converted."""

from __future__ import annotations

import io
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from core.datasets.files import archives
from core.datasets.files.findings import Finding
from core.errors import InputError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
MAX_PIXELS = 50_000_000  # of one image, before it is made smaller
PARTS = {
    "train": "train", "training": "train", "val": "valid", "valid": "valid", "validation": "valid", "test": "test",
    "testing": "test",
}  # fmt: skip
_SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp")
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
_JUNK = {"__macosx", ".ds_store", "thumbs.db", "desktop.ini"}
_LABEL_LETTERS = 200

Steps = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of a file: a name to speak of it, its class, and the part that the file puts it into ("": none)."""

    name: str
    label: str
    part: str  # "", train, valid or test


@dataclass(frozen=True, slots=True)
class Source:
    """A file of images: `images` opens them one by one in the order of `entries`, None where one cannot be read.

    An opened image is not decoded yet: its size and mode are known, its pixels may still turn out to be broken.
    """

    label_name: str
    entries: tuple[Entry, ...]
    findings: tuple[Finding, ...]
    images: Callable[[], Iterator[Image.Image | None]]


@dataclass(frozen=True, slots=True)
class _Listing:
    """A ZIP's entries by what they are; without the folders that all of them share."""

    images: tuple[tuple[Steps, zipfile.ZipInfo], ...]
    folders: frozenset[Steps]
    others: Counter[str]  # how many files that are no images, by what they are


def open_image(content: bytes | None) -> Image.Image | None:
    """An encoded image, opened but not decoded; None where it is of no known format, broken or far too large."""
    if content is None:
        return None
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Exception:  # a decoder may raise anything on broken bytes
        return None
    return image if image.width * image.height <= MAX_PIXELS else None


def plain_label(text: str) -> str:
    """A class's name as it is kept: letters composed, no control characters, not endless."""
    letters = unicodedata.normalize("NFC", text)
    return " ".join("".join(c if c.isprintable() else " " for c in letters).split())[:_LABEL_LETTERS]


def folders(path: Path, inner: bool = False) -> Source:
    """The images of a ZIP file, whose folders are their classes, perhaps below train, valid and test folders.

    With `inner` the folders within those are the classes, named by both ("Greek/character03"). Raises InputError where
    no image lies in a class folder, and what `archives.open_zip` raises.
    """
    with archives.open_zip(path) as archive:
        listing = _list(archive, 2 if inner else 1)
    if not listing.images:
        formats = ", ".join(FORMATS)
        raise InputError(f"{path.name} holds no images ({formats}). Put the images of each class in its own folder.")
    parted, depth = _parted(listing), 2 if inner else 1
    entries, infos, n_loose, n_deep = [], [], 0, 0
    for steps, info in listing.images:
        below = steps[1:] if parted else steps
        label = plain_label("/".join(below[:depth])) if len(below) > depth else ""
        n_loose, n_deep = n_loose + (not label), n_deep + (len(below) > depth + 1)
        if label:
            entries.append(Entry("/".join(steps), label, PARTS[steps[0].casefold()] if parted else ""))
            infos.append(info)
    if not entries:
        where = "no folder within a folder: let the outer ones be the classes" if inner else "no class folder"
        raise InputError(f"The images of {path.name} lie in {where}. Put those of each class in its own one.")
    findings = _findings(listing, {entry.label for entry in entries}, parted, n_loose, n_deep, depth)
    return Source("label", tuple(entries), findings, lambda: _images(path, infos))


def _images(path: Path, infos: list[zipfile.ZipInfo]) -> Iterator[Image.Image | None]:
    with archives.open_zip(path) as archive:
        for info in infos:
            yield open_image(archives.read(archive, info))


def _list(archive: zipfile.ZipFile, depth: int) -> _Listing:
    images: list[tuple[Steps, zipfile.ZipInfo]] = []
    seen: set[Steps] = set()
    others: Counter[str] = Counter()
    for info in archive.infolist():
        steps = archives.path_parts(info.filename)
        if not steps or not _JUNK.isdisjoint(step.casefold() for step in steps):
            continue
        seen.add(steps if info.is_dir() else steps[:-1])
        if not info.is_dir():
            kind = _kind(steps)
            others.update([kind] if kind else [])
            images += [] if kind else [(steps, info)]
    shared = _shared([steps for steps, _ in images if len(steps) > 1], depth)
    inner = frozenset(steps[len(shared) :] for steps in seen if steps[: len(shared)] == shared != steps)
    cut = tuple((steps[min(len(shared), len(steps) - 1) :], info) for steps, info in images)
    return _Listing(cut, inner, others)


def _kind(steps: Steps) -> str:
    """What a file is that is no image; "" for an image."""
    suffix = Path(steps[-1]).suffix.casefold()
    if any(step.startswith(".") for step in steps):
        return "hidden"
    if suffix in _SUFFIXES:
        return ""
    return "archives within" if suffix in _ARCHIVES else "no images"


def _shared(paths: list[Steps], depth: int) -> Steps:
    """The folders above the class folders, which are `depth` levels: all images lie in them, and some lie deeper."""
    n = 0
    while any(len(steps) > n + depth + 1 for steps in paths) and len({steps[n : n + 1] for steps in paths}) == 1:
        n += 1
    return paths[0][:n] if paths else ()


def _parted(listing: _Listing) -> bool:
    """Whether the outer folders are train, valid and test rather than classes."""
    outer = {steps[0].casefold() for steps, _ in listing.images if len(steps) > 1}
    labelled = {steps[0].casefold() for steps, _ in listing.images if len(steps) > 2}
    return outer <= set(PARTS) and "train" in {PARTS[name] for name in labelled}


def _findings(
    listing: _Listing, labels: set[str], parted: bool, n_loose: int, n_deep: int, depth: int
) -> tuple[Finding, ...]:
    found = []
    if listing.others:
        told = ", ".join(f"{n:,} {kind}" for kind, n in sorted(listing.others.items()))
        found.append(Finding("other_files", f"{listing.others.total():,} files are left out: {told}."))
    if n_loose:
        found.append(Finding("no_class", f"{n_loose:,} images lie in no class folder and are left out."))
    if n_deep:
        text = f"{n_deep:,} images lie deeper in their class folder and belong to it."
        choice = " If the inner folders are the classes, choose so." if depth == 1 else ""
        found.append(Finding("deep_folders", text + choice))
    first = 1 if parted else 0
    last = first + depth
    found_empty = {plain_label("/".join(steps[first:last])) for steps in listing.folders if len(steps) >= last}
    empty = sorted(found_empty - labels - {""})
    if empty:
        told = ", ".join(repr(label) for label in empty[:5])
        found.append(Finding("empty_class", f"{len(empty)} class folders hold no image and are no classes: {told}."))
    return tuple(found)
