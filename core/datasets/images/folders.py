"""Folders: the images of a ZIP of class folders with their classes, before anything is converted."""

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
from core.datasets.files.findings import Finding, plural
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

Names = tuple[str, ...]  # the folders and the file of an entry's name


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of a file: a name to show, its class, and the part that the file assigns to it ("": none)."""

    name: str
    label: str
    part: str  # "", train, valid or test


@dataclass(frozen=True, slots=True)
class Source:
    """A file of images: `images` opens them one by one in the order of `entries`, None where one cannot be read.

    An opened image is not decoded yet: its size and mode are known, but its pixels may be broken.
    """

    label_name: str
    entries: tuple[Entry, ...]
    findings: tuple[Finding, ...]
    images: Callable[[], Iterator[Image.Image | None]]


@dataclass(frozen=True, slots=True)
class _Listing:
    """A ZIP's entries by kind, without the folders that all of them share."""

    images: tuple[tuple[Names, zipfile.ZipInfo], ...]
    folders: frozenset[Names]
    others: Counter[str]  # numbers of files that are not images, by kind


def open_image(content: bytes | None) -> Image.Image | None:
    """Return an encoded image, opened but not decoded; None where it is broken, too large or of an unknown format."""
    if content is None:
        return None
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Exception:  # a decoder may raise anything on broken bytes
        return None
    return image if image.width * image.height <= MAX_PIXELS else None


def plain_label(text: str) -> str:
    """Return a class's name as it is stored: composed letters, no control characters, at most 200 characters."""
    letters = unicodedata.normalize("NFC", text)
    return " ".join("".join(c if c.isprintable() else " " for c in letters).split())[:_LABEL_LETTERS]


def read_zip(path: Path, inner: bool = False) -> Source:
    """Return the images of a ZIP file; its folders are the classes, perhaps below train, valid and test folders.

    With `inner` the folders within those are the classes, named by both ("Greek/character03"). Raises InputError where
    no image is in a class folder, and what `archives.open_zip` raises.
    """
    with archives.open_zip(path) as archive:
        listing = _list(archive, 2 if inner else 1)
    if not listing.images:
        formats = ", ".join(FORMATS)
        remedy = "Put the images of each class in a separate folder."
        raise InputError(f"{path.name} holds no images ({formats}).", remedy=remedy)
    has_parts, depth = _has_parts(listing), 2 if inner else 1
    entries, infos, n_loose, n_deep = [], [], 0, 0
    for names, info in listing.images:
        below = names[1:] if has_parts else names
        label = plain_label("/".join(below[:depth])) if len(below) > depth else ""
        n_loose, n_deep = n_loose + (not label), n_deep + (len(below) > depth + 1)
        if label:
            entries.append(Entry("/".join(names), label, PARTS[names[0].casefold()] if has_parts else ""))
            infos.append(info)
    if not entries:
        where = "a folder within a folder" if inner else "a class folder"
        remedy = "Choose the outer folders as classes." if inner else "Put those of each class in a separate folder."
        raise InputError(f"No image of {path.name} is in {where}.", remedy=remedy)
    findings = _findings(listing, {entry.label for entry in entries}, has_parts, n_loose, n_deep, depth)
    return Source("label", tuple(entries), findings, lambda: _images(path, infos))


def _images(path: Path, infos: list[zipfile.ZipInfo]) -> Iterator[Image.Image | None]:
    with archives.open_zip(path) as archive:
        for info in infos:
            yield open_image(archives.read(archive, info))


def _list(archive: zipfile.ZipFile, depth: int) -> _Listing:
    images: list[tuple[Names, zipfile.ZipInfo]] = []
    folders: set[Names] = set()
    others: Counter[str] = Counter()
    for info in archive.infolist():
        names = archives.path_names(info.filename)
        if not names or not _JUNK.isdisjoint(name.casefold() for name in names):
            continue
        folders.add(names if info.is_dir() else names[:-1])
        if not info.is_dir():
            kind = _kind(names)
            others.update([kind] if kind else [])
            images += [] if kind else [(names, info)]
    shared = _shared([names for names, _ in images if len(names) > 1], depth)
    inner = frozenset(names[len(shared) :] for names in folders if names[: len(shared)] == shared != names)
    cut = tuple((names[min(len(shared), len(names) - 1) :], info) for names, info in images)
    return _Listing(cut, inner, others)


def _kind(names: Names) -> str:
    """Return the kind of a file that is not an image, or "" for an image."""
    suffix = Path(names[-1]).suffix.casefold()
    if any(name.startswith(".") for name in names):
        return "hidden"
    if suffix in _SUFFIXES:
        return ""
    return "archive" if suffix in _ARCHIVES else "of another type"


def _shared(paths: list[Names], depth: int) -> Names:
    """Return the folders above the class folders (of `depth` levels): all images are in them, and some are deeper."""
    n = 0
    while any(len(names) > n + depth + 1 for names in paths) and len({names[n : n + 1] for names in paths}) == 1:
        n += 1
    return paths[0][:n] if paths else ()


def _has_parts(listing: _Listing) -> bool:
    """Return whether the outer folders are train, valid and test rather than classes."""
    outer = {names[0].casefold() for names, _ in listing.images if len(names) > 1}
    labelled = {names[0].casefold() for names, _ in listing.images if len(names) > 2}
    return outer <= set(PARTS) and "train" in {PARTS[name] for name in labelled}


def _findings(
    listing: _Listing, labels: set[str], has_parts: bool, n_loose: int, n_deep: int, depth: int
) -> tuple[Finding, ...]:
    findings = []
    if listing.others:
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in sorted(listing.others.items()))
        files = plural(listing.others.total(), "file is", "files are")
        findings.append(Finding("other_files", f"{files} ignored: {kinds}."))
    if n_loose:
        images = plural(n_loose, "image is", "images are")
        findings.append(Finding("no_class", f"{images} not in a class folder. Ignored."))
    if n_deep:
        text = plural(n_deep, "image is", "images are") + " in a folder within a class folder."
        choice = " If those folders are the classes, choose inner folders." if depth == 1 else ""
        findings.append(Finding("deep_folders", text + choice))
    first = 1 if has_parts else 0
    last = first + depth
    all_labels = {plain_label("/".join(names[first:last])) for names in listing.folders if len(names) >= last}
    if empty := sorted(all_labels - labels - {""}):
        text = plural(len(empty), "class folder has no images", "class folders have no images")
        findings.append(Finding("empty_class", f"{text}: {', '.join(repr(label) for label in empty[:5])}. Ignored."))
    return tuple(findings)
