"""Conversion: a user's file of images, brought to one size and one mode in one staged Parquet."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import statistics
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from core.datasets.files import archives, scratch
from core.datasets.files.findings import Finding, plural
from core.datasets.images import arrays, folders, image_table, pixels
from core.datasets.images.folders import Source
from core.datasets.images.pixels import Shape
from core.errors import InputError
from core.store import database

SIDES = (4, 512)
MAX_BYTES = 2 * 2**30  # of all decoded images
_DEFAULT_SIDE = 64
_MAX_BROKEN_FRAC = 0.1
_GROUP_BYTES = 16 * 2**20
_OFFICE = {"[content_types].xml", "mimetype"}  # a workbook or a text document is a ZIP file too
_SCHEMA = pa.schema({"c0": pa.binary(), "c1": pa.string(), "part": pa.string(), "unit": pa.string(), "row": pa.int64()})


@dataclass(frozen=True, slots=True)
class StagedImages:
    """Converted images. `parquet` has the columns c0 (raw bytes, channels last), c1 (the class), part, unit and row.

    part: train, valid or test where the file has its own split, otherwise ''. unit: equal for equal images. row: the
    image's number in the file.
    """

    parquet: Path
    sha256: str  # of the file's bytes
    label_name: str
    shape: Shape
    n_images: int
    findings: tuple[Finding, ...]


def holds_images(path: Path) -> bool:
    """Return whether a file is a ZIP (but not an office document), or a Parquet with a column of images."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
        if head.startswith(b"PK"):
            with archives.open_zip(path) as archive:
                return _OFFICE.isdisjoint(name.casefold() for name in archive.namelist())
        return head == b"PAR1" and arrays.image_column(pq.ParquetFile(path)) is not None
    except InputError:
        return True  # a broken ZIP: `stage` says what is wrong
    except (OSError, pa.ArrowException):
        return False


def stage(path: Path, side: int | None = None, inner_folders: bool = False) -> StagedImages:
    """Convert the images of a file, once for each content and side; housekeeping deletes them a day after the last use.

    Images of one size keep it if `side` is None; others become squares of `side` pixels, by default their median
    side, at most 64. With `inner_folders` a class is a folder within a folder of a ZIP. Raises InputError, which
    names the place and the remedy, when the images cannot be used, and MetascoutError when the disk is full.
    """
    if side is not None and not SIDES[0] <= side <= SIDES[1]:
        remedy = f"Choose {SIDES[0]} to {SIDES[1]} pixels."
        raise InputError(f"The side {side} cannot be used.", value=side, remedy=remedy)
    path = Path(path).resolve()
    sha256 = _sha256(path)
    name = f"{sha256}-images-{side or 'own'}" + ("-inner" if inner_folders else "")
    folder = scratch.folder() / "staged" / name
    if not folder.exists():
        work = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}")
        try:
            with database.explain_disk_full():
                work.mkdir(parents=True)
                _convert(path, sha256, side, inner_folders, work)
                if not folder.exists():
                    work.rename(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    os.utime(folder)
    return _read_about(folder)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        text = f"{path.name} cannot be read: {error.strerror}."
        raise InputError(text, remedy="Choose a file of images.") from None


def _read_about(folder: Path) -> StagedImages:
    body = json.loads((folder / "about.json").read_text("utf-8"))
    findings = tuple(Finding(**finding) for finding in body.pop("findings"))
    return StagedImages(folder / "images.parquet", shape=tuple(body.pop("shape")), findings=findings, **body)


def _source(path: Path, inner_folders: bool) -> Source:
    with path.open("rb") as file:
        head = file.read(4)
    if head == b"PAR1":
        return arrays.read_parquet(path)
    if not head.startswith(b"PK"):
        remedy = "Choose a ZIP of class folders, an .npz or a Parquet file."
        raise InputError(f"{path.name} holds no images.", remedy=remedy)
    with archives.open_zip(path) as archive:
        names = [info.filename for info in archive.infolist()]
    only_arrays = names and all(name.endswith(".npy") for name in names)
    return arrays.read_npz(path) if only_arrays else folders.read_zip(path, inner_folders)


@dataclass(frozen=True, slots=True)
class _Conversion:
    """How many images were changed in what way, and the names of the broken ones."""

    changes: Counter[str]
    broken: tuple[str, ...]
    coloured: bool  # whether any image is not grey


def _convert(path: Path, sha256: str, side: int | None, inner_folders: bool, work: Path) -> None:
    source = _source(path, inner_folders)
    parts, findings = _parts(source)
    sizes, n_grey = _survey(path, source)
    shape = _shape(path, sizes, n_grey, side)
    parquet = work / "images.parquet"
    counts = _write(source, parts, shape, parquet)
    _check_broken(path, len(source.entries), counts.broken)
    if shape[2] == 3 and not counts.coloured:
        shape = (*shape[:2], 1)
        _keep_one_channel(parquet)
    keys = pq.read_table(parquet, columns=["c1", "part", "unit", "row"]).to_pandas()
    changes = _changes(counts, sizes, shape, n_grey)
    findings = [*source.findings, *findings, *changes, *_repeats(keys, source)]
    about = {
        "sha256": sha256, "label_name": source.label_name, "shape": shape, "n_images": len(keys),
        "findings": [asdict(finding) for finding in findings],
    }  # fmt: skip
    (work / "about.json").write_text(json.dumps(about), "utf-8")


def _parts(source: Source) -> tuple[dict[str, str], list[Finding]]:
    """Return the split of each part of the file, and a finding where the file has its own split."""
    present = {entry.part for entry in source.entries}
    if "train" not in present or len(present) == 1:
        return dict.fromkeys(present, ""), []
    if present == {"train", "valid"}:
        text = (
            "The file has no test part. Its valid part becomes the test set, and a fifth of train the validation set."
        )
        return {"train": "train", "valid": "test"}, [Finding("given_split", text)]
    text = "The file's own split is used."
    if "valid" not in present:
        text += " A fifth of train becomes the validation set."
    return {part: part for part in present}, [Finding("given_split", text)]


def _survey(path: Path, source: Source) -> tuple[Counter[tuple[int, int]], int]:
    """Return the number of images of each size, and of those with a grey mode."""
    sizes: Counter[tuple[int, int]] = Counter()
    broken, n_grey = [], 0
    for entry, image in zip(source.entries, source.images(), strict=True):
        if image is None:
            broken.append(entry.name)
        else:
            sizes[pixels.upright_size(image)] += 1
            n_grey += pixels.is_grey(image)
    _check_broken(path, len(source.entries), broken)
    return sizes, n_grey


def _check_broken(path: Path, n: int, names: Sequence[str]) -> None:
    if len(names) > _MAX_BROKEN_FRAC * n or len(names) == n:
        text = f"{len(names):,} of {n:,} images of {path.name} cannot be read: {_some(names)}."
        text = f"{text} At most {_MAX_BROKEN_FRAC:.0%} may be broken."
        raise InputError(text, remedy="Repair or remove them.")


def _shape(path: Path, sizes: Counter[tuple[int, int]], n_grey: int, side: int | None) -> Shape:
    """Return the size and the channels of the converted images, as far as they are known before decoding."""
    n = sizes.total()
    channels = 1 if n_grey == n else 3
    if side is None and len(sizes) == 1:
        width, height = next(iter(sizes))
    else:
        median = statistics.median(size for pair, n_pair in sizes.items() for size in [max(pair)] * n_pair)
        width = height = side or max(SIDES[0], min(_DEFAULT_SIDE, round(median)))
    if n * width * height * channels > MAX_BYTES:
        fits = int((MAX_BYTES / (n * channels)) ** 0.5)
        text = f"{n:,} images of {width} x {height} pixels take {n * width * height * channels / 2**30:.1f} GB"
        text = f"{path.name}: {text}; at most 2 GB are allowed."
        raise InputError(text, remedy=f"Choose a side of at most {fits} pixels.")
    return height, width, channels


def _write(source: Source, parts: dict[str, str], shape: Shape, parquet: Path) -> _Conversion:
    changes: Counter[str] = Counter()
    broken: list[str] = []
    coloured = False
    group_size = max(1, _GROUP_BYTES // (shape[0] * shape[1] * shape[2]))
    rows: list[dict[str, object]] = []
    with pq.ParquetWriter(parquet, _SCHEMA, compression="zstd", use_dictionary=["c1", "part"]) as writer:
        for row, (entry, image) in enumerate(zip(source.entries, source.images(), strict=True)):
            values, changed = _decode(image, shape)
            if values is None:
                broken.append(entry.name)
                continue
            changes.update(changed)
            coloured = coloured or (shape[2] == 3 and bool((values != values[:, :, :1]).any()))
            content = values.tobytes()
            unit = hashlib.blake2b(content, digest_size=16).hexdigest()
            rows.append({"c0": content, "c1": entry.label, "part": parts[entry.part], "unit": unit, "row": row})
            if len(rows) == group_size:
                writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
    return _Conversion(changes, tuple(broken), coloured)


def _decode(image: Image.Image | None, shape: Shape) -> tuple[np.ndarray | None, set[str]]:
    if image is None:
        return None, set()
    try:
        return pixels.decode(image, shape)
    except Exception:  # a decoder may raise anything on broken bytes
        return None, set()


def _keep_one_channel(parquet: Path) -> None:
    """Rewrite RGB images that are all grey with one channel."""
    whole = parquet.with_name("grey.parquet")
    with pq.ParquetWriter(whole, _SCHEMA, compression="zstd", use_dictionary=["c1", "part"]) as writer:
        for batch in image_table.groups(parquet):
            values = [value.as_py()[::3] for value in batch.column("c0")]
            writer.write_table(batch.set_column(0, "c0", pa.array(values, pa.binary())))
    whole.replace(parquet)


def _changes(counts: _Conversion, sizes: Counter[tuple[int, int]], shape: Shape, n_grey: int) -> Iterator[Finding]:
    n = sizes.total()
    if counts.broken:
        images = plural(len(counts.broken), "image", "images")
        yield Finding("broken", f"{images} cannot be read: {_some(counts.broken)}. Ignored.")
    texts = {
        "resized": f"of {len(sizes):,} sizes were resized to {shape[1]} x {shape[0]} pixels. Nothing is cut off: "
        "the edge is repeated to fill the rest",
        "transparent": "are partly transparent and were put on white",
        "turned": "were turned upright as their EXIF data says",
        "deep": "have more than 8 bits per pixel and were reduced to 8",
        "moving": "are animated; only the first frame is used",
    }
    for kind, text in texts.items():
        if n_changed := counts.changes[kind]:
            yield Finding(kind, f"{n_changed:,} of {n:,} images {text}.")
    if shape[2] == 3 and n_grey:
        yield Finding("modes", f"{n_grey:,} of {n:,} images are grey and were converted to RGB like the others.")
    elif shape[2] == 1 and n_grey < n:
        text = f"All images are grey, though {n - n_grey:,} are stored in colour. They were reduced to one channel."
        yield Finding("modes", text)


def _repeats(keys: pd.DataFrame, source: Source) -> Iterator[Finding]:
    """Yield findings about equal images: within a class, in two classes, in train and test."""
    if n_repeats := int(keys.duplicated(["c1", "unit"]).sum()):
        text = f"{n_repeats:,} of {len(keys):,} images repeat another image of their class."
        one_split = " Equal images stay in one split." if (keys["part"] == "").all() else ""
        yield Finding("duplicate_rows", text + one_split)
    first = keys.drop_duplicates(["unit", "c1"])
    if len(ambiguous := first[first.duplicated("unit", keep=False)]):
        pair = ambiguous[ambiguous["unit"] == ambiguous["unit"].iloc[0]].head(2)
        names = " and ".join(repr(source.entries[row].name) for row in pair["row"])
        classes = " and ".join(map(repr, pair["c1"]))
        images = plural(ambiguous["unit"].nunique(), "image is", "images are")
        text = f"{images} in more than one class, such as {names} in {classes}. Remove each from the wrong class."
        yield Finding("leak", text)
    in_train = set(keys["unit"][keys["part"] == "train"])
    shared = keys[(keys["part"] == "test") & keys["unit"].isin(in_train)]
    if len(shared):
        name = source.entries[shared["row"].iloc[0]].name
        images = plural(len(shared), "test image is", "test images are")
        text = f"{images} also in train, such as {name!r}. Test scores will be too good. Remove them from one part."
        yield Finding("leak", text)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
