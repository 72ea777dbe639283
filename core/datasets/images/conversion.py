"""Images: a user's file of images converted to one size and one mode, in batches, into one staged Parquet."""

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
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from core.datasets.files import archives, scratch
from core.datasets.files.findings import Finding
from core.datasets.images import arrays, folders, pixels
from core.datasets.images.folders import Source
from core.datasets.images.pixels import Shape
from core.errors import InputError
from core.store import database

SIDES = (4, 512)
MAX_BYTES = 2 * 2**30  # of all images, decoded
_SIDE = 64
_MAX_BROKEN_FRAC = 0.1
_GROUP_BYTES = 16 * 2**20
_OFFICE = {"[content_types].xml", "mimetype"}  # a workbook or a text document is a ZIP file too
_SCHEMA = pa.schema({"c0": pa.binary(), "c1": pa.string(), "part": pa.string(), "unit": pa.string(), "row": pa.int64()})


@dataclass(frozen=True, slots=True)
class Staged:
    """Converted images. `parquet` has the columns c0 (raw bytes, channels last), c1 (the class), part, unit and row.

    part: what the file says of the split (train, valid or test), or ''. unit: equal for equal images. row: the
    image's number in the file.
    """

    parquet: Path
    sha256: str  # of the file's bytes
    label_name: str
    shape: Shape
    n_images: int
    findings: tuple[Finding, ...]


def holds_images(path: Path) -> bool:
    """Whether a file is for this module: a ZIP that is no office document, or a Parquet with a column of images."""
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


def stage(path: Path, side: int | None = None, inner_folders: bool = False) -> Staged:
    """The images of a file, converted once for each content and side; dropped a day after their last use.

    Images of one size keep it if `side` is None; others become squares of `side` pixels, by default their median
    side, at most 64. With `inner_folders` a class is a folder within a folder of a ZIP. Raises InputError, which
    names the place and the remedy, when the images cannot be used, and MetascoutError when the disk is full.
    """
    if side is not None and not SIDES[0] <= side <= SIDES[1]:
        raise InputError(f"The side {side} cannot be used: choose {SIDES[0]} to {SIDES[1]} pixels.")
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
    return _about(folder)


def class_counts(staged: Staged) -> dict[str, int]:
    """The images of each class, by its name."""
    labels = pq.read_table(staged.parquet, columns=["c1"]).to_pandas()["c1"]
    return {str(label): int(n) for label, n in labels.value_counts().sort_index().items()}


def examples(parquet: Path, shape: Shape, labels: Sequence[str], each: int) -> dict[str, np.ndarray]:
    """The first `each` images of the classes in `labels`, from a staged or a registered Parquet: uint8 [N, H, W, C]."""
    keys = pq.read_table(parquet, columns=["c1"]).to_pandas()["c1"]
    chosen = keys[keys.isin(list(labels))].groupby(keys).head(each)
    found = take(parquet, shape, chosen.index.to_list())
    return {label: found[(chosen == label).to_numpy()] for label in labels}


def take(parquet: Path, shape: Shape, places: Sequence[int]) -> np.ndarray:
    """The images in these places of a staged or a registered Parquet, in the order asked for: uint8 [N, H, W, C].

    Only the row groups that hold one of them are read.
    """
    file = pq.ParquetFile(parquet)
    wanted, found, start = sorted(set(places)), dict[int, bytes](), 0
    for group in range(file.num_row_groups):
        end = start + file.metadata.row_group(group).num_rows
        here = [place for place in wanted if start <= place < end]
        if here:
            values = file.read_row_group(group, columns=["c0"]).column(0).take(pa.array([p - start for p in here]))
            found |= zip(here, values.to_pylist(), strict=True)
        start = end
    return _array([found[place] for place in places], shape).copy()  # else it could not be written to


def load(parquet: Path, shape: Shape, split: str, n: int) -> tuple[np.ndarray, list[str]]:
    """The `n` images of a split of a registered Parquet, uint8 [N, H, W, C], and their classes, in the file's order."""
    found = np.empty((n, *shape), np.uint8)
    labels: list[str] = []
    for batch in pq.ParquetFile(parquet).iter_batches(batch_size=1024, columns=["c0", "c1", "split"]):
        batch = batch.filter(pc.equal(batch.column("split"), split))
        found[len(labels) : len(labels) + batch.num_rows] = _array(batch.column("c0").to_pylist(), shape)
        labels += batch.column("c1").to_pylist()
    return found, labels


def _array(values: list[bytes], shape: Shape) -> np.ndarray:
    return np.frombuffer(b"".join(values), np.uint8).reshape(-1, *shape)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror}. Choose a file of images.") from None


def _about(folder: Path) -> Staged:
    body = json.loads((folder / "about.json").read_text("utf-8"))
    findings = tuple(Finding(**finding) for finding in body.pop("findings"))
    return Staged(folder / "images.parquet", shape=tuple(body.pop("shape")), findings=findings, **body)


def _source(path: Path, inner_folders: bool) -> Source:
    with path.open("rb") as file:
        head = file.read(4)
    if head == b"PAR1":
        return arrays.parquet(path)
    if not head.startswith(b"PK"):
        raise InputError(f"{path.name} holds no images: choose a ZIP of class folders, an .npz or a Parquet file.")
    with archives.open_zip(path) as archive:
        names = [info.filename for info in archive.infolist()]
    only_arrays = names and all(name.endswith(".npy") for name in names)
    return arrays.arrays(path) if only_arrays else folders.folders(path, inner_folders)


@dataclass(frozen=True, slots=True)
class _Written:
    """What the conversion met: how many images were changed in what way, and the names of those that are broken."""

    changes: Counter[str]
    broken: tuple[str, ...]
    coloured: bool  # whether any image is more than grey


def _convert(path: Path, sha256: str, side: int | None, inner_folders: bool, work: Path) -> None:
    source = _source(path, inner_folders)
    parts, findings = _parts(source)
    sizes, n_grey = _survey(path, source)
    shape = _shape(path, sizes, n_grey, side)
    parquet = work / "images.parquet"
    written = _write(source, parts, shape, parquet)
    _check_broken(path, len(source.entries), written.broken)
    if shape[2] == 3 and not written.coloured:
        shape = (*shape[:2], 1)
        _keep_one_channel(parquet)
    keys = pq.read_table(parquet, columns=["c1", "part", "unit", "row"]).to_pandas()
    changes = _changes(written, sizes, shape, n_grey)
    findings = [*source.findings, *findings, *changes, *_repeats(keys, source)]
    about = {
        "sha256": sha256, "label_name": source.label_name, "shape": shape, "n_images": len(keys),
        "findings": [asdict(finding) for finding in findings],
    }  # fmt: skip
    (work / "about.json").write_text(json.dumps(about), "utf-8")


def _parts(source: Source) -> tuple[dict[str, str], list[Finding]]:
    """What each part of the file is for; the sentence that says so where the file has its own split."""
    present = {entry.part for entry in source.entries}
    if "train" not in present or len(present) == 1:
        return dict.fromkeys(present, ""), []
    if present == {"train", "valid"}:
        text = "The file has no test part: its valid part is taken as test, and valid is cut out of train."
        return {"train": "train", "valid": "test"}, [Finding("given_split", text)]
    cut = "" if "valid" in present else ", and valid is cut out of train"
    return {part: part for part in present}, [Finding("given_split", f"The file's own split is kept{cut}.")]


def _survey(path: Path, source: Source) -> tuple[Counter[tuple[int, int]], int]:
    """How many images have which size, and how many a grey mode."""
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
        told = f"{len(names):,} of {n:,} images of {path.name} cannot be read: {_some(names)}"
        raise InputError(f"{told}. At most {_MAX_BROKEN_FRAC:.0%} may be broken: mend or remove them.")


def _shape(path: Path, sizes: Counter[tuple[int, int]], n_grey: int, side: int | None) -> Shape:
    """The size and the channels of all converted images, as far as they are known before decoding."""
    n = sizes.total()
    channels = 1 if n_grey == n else 3
    if side is None and len(sizes) == 1:
        width, height = next(iter(sizes))
    else:
        median = statistics.median(size for pair, n_pair in sizes.items() for size in [max(pair)] * n_pair)
        width = height = side or max(SIDES[0], min(_SIDE, round(median)))
    if n * width * height * channels > MAX_BYTES:
        fits = int((MAX_BYTES / (n * channels)) ** 0.5)
        told = f"{n:,} images of {width} x {height} pixels take {n * width * height * channels / 2**30:.1f} GB"
        raise InputError(f"{path.name}: {told}; at most 2 GB are allowed. Choose a side of at most {fits} pixels.")
    return height, width, channels


def _write(source: Source, parts: dict[str, str], shape: Shape, parquet: Path) -> _Written:
    changes: Counter[str] = Counter()
    broken: list[str] = []
    coloured = False
    most = max(1, _GROUP_BYTES // (shape[0] * shape[1] * shape[2]))
    rows: list[dict[str, object]] = []
    with pq.ParquetWriter(parquet, _SCHEMA, compression="zstd", use_dictionary=["c1", "part"]) as writer:
        for row, (entry, image) in enumerate(zip(source.entries, source.images(), strict=True)):
            values, changed = _decoded(image, shape)
            if values is None:
                broken.append(entry.name)
                continue
            changes.update(changed)
            coloured = coloured or (shape[2] == 3 and bool((values != values[:, :, :1]).any()))
            content = values.tobytes()
            unit = hashlib.blake2b(content, digest_size=16).hexdigest()
            rows.append({"c0": content, "c1": entry.label, "part": parts[entry.part], "unit": unit, "row": row})
            if len(rows) == most:
                writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
    return _Written(changes, tuple(broken), coloured)


def _decoded(image: Image.Image | None, shape: Shape) -> tuple[np.ndarray | None, set[str]]:
    if image is None:
        return None, set()
    try:
        return pixels.decode(image, shape)
    except Exception:  # a decoder may raise anything on broken bytes
        return None, set()


def _keep_one_channel(parquet: Path) -> None:
    """Rewrite RGB images that are all grey as grey ones."""
    whole = parquet.with_name("grey.parquet")
    with pq.ParquetWriter(whole, _SCHEMA, compression="zstd", use_dictionary=["c1", "part"]) as writer:
        for batch in groups(parquet):
            values = [value.as_py()[::3] for value in batch.column("c0")]
            writer.write_table(batch.set_column(0, "c0", pa.array(values, pa.binary())))
    whole.replace(parquet)


def groups(parquet: Path) -> Iterator[pa.Table]:
    """The row groups of a staged Parquet one by one, each of some megabytes."""
    file = pq.ParquetFile(parquet)
    for group in range(file.num_row_groups):
        yield file.read_row_group(group)


def _changes(written: _Written, sizes: Counter[tuple[int, int]], shape: Shape, n_grey: int) -> Iterator[Finding]:
    n = sizes.total()
    if written.broken:
        text = f"{len(written.broken):,} images cannot be read and are left out: {_some(written.broken)}."
        yield Finding("broken", text)
    told = {
        "resized": f"of {len(sizes):,} sizes were brought to {shape[1]} x {shape[0]} pixels, the whole image kept and "
        "its edge repeated around it",
        "transparent": "are partly transparent and were laid on white",
        "turned": "were turned upright as their EXIF data says",
        "deep": "have more than 8 bits a pixel and were reduced to 8",
        "moving": "are moving: only the first frame is taken",
    }
    for kind, text in told.items():
        if n_changed := written.changes[kind]:
            yield Finding(kind, f"{n_changed:,} of {n:,} images {text}.")
    if shape[2] == 3 and n_grey:
        yield Finding("modes", f"{n_grey:,} of {n:,} images are grey and were made RGB like the others.")
    elif shape[2] == 1 and n_grey < n:
        yield Finding("modes", f"All images are grey, though {n - n_grey:,} are stored in colour: one channel is kept.")


def _repeats(keys: pd.DataFrame, source: Source) -> Iterator[Finding]:
    """Equal images: within a class, in two classes, in train and test."""
    n_repeats = int(keys.duplicated(["c1", "unit"]).sum())
    if n_repeats:
        text = f"{n_repeats:,} of {len(keys):,} images repeat another one of their class."
        kept = "Equal images are kept in one split." if (keys["part"] == "").all() else ""
        yield Finding("duplicate_rows", f"{text} {kept}".strip())
    first = keys.drop_duplicates(["unit", "c1"])
    if len(torn := first[first.duplicated("unit", keep=False)]):
        pair = torn[torn["unit"] == torn["unit"].iloc[0]].head(2)
        names = " and ".join(repr(source.entries[row].name) for row in pair["row"])
        classes = " and ".join(map(repr, pair["c1"]))
        text = f"{torn['unit'].nunique():,} images are in more than one class, such as {names} in {classes}"
        yield Finding("leak", f"{text}: take each out of the wrong one.")
    seen = set(keys["unit"][keys["part"] == "train"])
    tested = keys[(keys["part"] == "test") & keys["unit"].isin(seen)]
    if len(tested):
        name = source.entries[tested["row"].iloc[0]].name
        text = f"{len(tested):,} test images, such as {name!r}, are in train too: scores on test will be too good."
        yield Finding("leak", f"{text} Take them out of one.")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
