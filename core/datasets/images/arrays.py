"""Arrays: the images of an .npz file of arrays, or of a Parquet file with a column of encoded images."""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy
from PIL import Image

from core.datasets.files import archives
from core.datasets.files.findings import Finding, plural
from core.datasets.images.folders import MAX_PIXELS, PARTS, Entry, Source, open_image, plain_label
from core.errors import InputError

_ROLES = {
    "images": "images", "image": "images", "imgs": "images", "x": "images", "data": "images",
    "labels": "labels", "label": "labels", "y": "labels", "targets": "labels", "target": "labels",
    "classes": "names", "class names": "names", "label names": "names",
}  # fmt: skip
_IMAGE_NAMES = ("image", "img", "images", "picture", "photo", "pixels")
_LABEL_NAMES = ("label", "labels", "class", "target", "y", "category", "fine_label")
_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"GIF8", b"RIFF")
_READ_BYTES = 8 * 2**20
_BATCH = 32


@dataclass(frozen=True, slots=True)
class _Array:
    """The header of an array in an .npz file."""

    key: str
    info: zipfile.ZipInfo
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    start: int  # offset of the values


def read_npz(path: Path) -> Source:
    """Return the images of an .npz file: uint8 arrays named such as x and y, or x_train, y_train, x_test, y_test.

    Raises InputError that names the array and the remedy where they cannot be used.
    """
    with archives.open_zip(path) as archive:
        headers = [_header(path, archive, info) for info in archive.infolist()]
        roles = {_role(array.key): array for array in headers}
        parts = sorted({part for part, role in roles if role == "images" and (part, "labels") in roles})
        if not parts:
            keys = ", ".join(f"{array.key} {array.shape}" for array in headers[:8])
            text = f"{path.name} has no arrays of images and labels. It holds {keys}."
            raise InputError(text, remedy="Name them x and y.")
        names = _texts(archive, roles["", "names"]) if ("", "names") in roles else []
        pixels = [_check_pixels(roles[part, "images"]) for part in parts]
        entries: list[Entry] = []
        for part, array in zip(parts, pixels, strict=True):
            labels = _label_texts(_texts(archive, roles[part, "labels"]), names)
            if len(labels) != array.shape[0]:
                numbers = f"{array.shape[0]:,} images but {len(labels):,} labels"
                text = f"{path.name} has {numbers} in {array.key!r} and {roles[part, 'labels'].key!r}."
                raise InputError(text, remedy="Save one label for each image.")
            own_part = part or ("train" if len(parts) > 1 else "")
            entries += [Entry(f"image {i} of {array.key}", label, own_part) for i, label in enumerate(labels)]
    return Source("label", tuple(entries), (), lambda: _pixels(path, pixels))


def _role(key: str) -> tuple[str, str]:
    """Return the part and the role of an array by its name, such as ("test", "images") for x_test."""
    words = re.split(r"[^a-z0-9]+", key.casefold())
    part = next((PARTS[word] for word in words if word in PARTS), "")
    rest = " ".join(word for word in words if word not in PARTS)
    return part, _ROLES.get(rest, key)


def _header(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Array:
    key = info.filename.removesuffix(".npy")
    try:
        if info.compress_type not in archives.METHODS:
            raise ValueError("unknown compression")
        with archive.open(info) as file:
            readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
            shape, fortran, dtype = readers[npy.read_magic(file)](file)
            start = file.tell()
    except (ValueError, KeyError, zipfile.BadZipFile, NotImplementedError, OSError) as error:
        text = f"{key!r} in {path.name} is not a plain array ({error})."
        raise InputError(text, remedy="Save it again with numpy.") from None
    if dtype.hasobject:
        text = f"{key!r} in {path.name} holds Python objects, which are not read."
        raise InputError(text, remedy="Save it as plain numbers.")
    if start + math.prod(shape) * dtype.itemsize > info.file_size:
        text = f"{key!r} in {path.name} is shorter than its header says."
        raise InputError(text, remedy="Save the file again.")
    return _Array(key, info, shape, dtype, fortran, start)


def _check_pixels(array: _Array) -> _Array:
    key, shape = array.key, array.shape
    if array.dtype != np.uint8:
        remedy = f"Save whole numbers from 0 to 255: {key}.astype('uint8')."
        raise InputError(f"{key!r} holds {array.dtype} instead of uint8.", remedy=remedy)
    if not (len(shape) == 3 or (len(shape) == 4 and (shape[3] in (1, 3, 4) or shape[1] in (1, 3, 4)))):
        allowed = "(N, H, W), (N, H, W, C) or (N, C, H, W) with 1, 3 or 4 channels"
        raise InputError(f"{key!r} has the shape {shape}.", value=shape, remedy=f"Save it as {allowed}.")
    if array.fortran and shape[0] > 1:
        remedy = "Save it again with numpy.ascontiguousarray."
        raise InputError(f"{key!r} is stored column by column.", remedy=remedy)
    if not all(shape) or math.prod(shape[1:]) > 4 * MAX_PIXELS or shape[0] > archives.MAX_ENTRIES:
        text = f"{key!r} has the shape {shape}; 1 to {archives.MAX_ENTRIES:,} images are allowed, of at most"
        raise InputError(f"{text} {MAX_PIXELS:,} pixels each.", value=shape, remedy="Save fewer or smaller images.")
    return array


def _texts(archive: zipfile.ZipFile, array: _Array) -> list[str]:
    """Return the labels in an array of whole numbers or texts."""
    if array.dtype.kind not in "biuUS" or not array.shape or math.prod(array.shape) != array.shape[0]:
        text = f"{array.key!r} holds {array.dtype} of shape {array.shape}."
        raise InputError(text, remedy="Save one whole number or text for each image.")
    content = archives.read(archive, array.info)
    try:
        values = np.load(io.BytesIO(content or b""), allow_pickle=False)
        values = values.astype(str) if array.dtype.kind == "S" else values
    except (ValueError, EOFError):
        raise InputError(f"{array.key!r} is broken or larger than 64 MB.", remedy="Save it again.") from None
    return [str(value) for value in values.reshape(-1).tolist()]


def _label_texts(labels: list[str], names: list[str]) -> list[str]:
    """Return the labels, with numbers replaced by class names where there is a name for each."""
    if names and all(label.isdecimal() and int(label) < len(names) for label in set(labels)):
        labels = [names[int(label)] for label in labels]
    return [plain_label(label) or "(no name)" for label in labels]


def _pixels(path: Path, pixels: list[_Array]) -> Iterator[Image.Image]:
    with archives.open_zip(path) as archive:
        for array in pixels:
            shape = array.shape[1:]
            n_bytes = math.prod(shape)
            step = max(1, _READ_BYTES // n_bytes)
            with _explain_broken(array.key), archive.open(array.info) as file:
                file.seek(array.start)
                for start in range(0, array.shape[0], step):
                    block = file.read(min(step, array.shape[0] - start) * n_bytes)
                    for values in np.frombuffer(block, np.uint8).reshape(-1, *shape):
                        yield Image.fromarray(_channels_last(values))


@contextmanager
def _explain_broken(key: str) -> Iterator[None]:
    """Turn what a broken array raises into an InputError."""
    try:
        yield
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise InputError(f"{key!r} is broken ({error}).", remedy="Save the file again.") from None


def _channels_last(values: np.ndarray) -> np.ndarray:
    if values.ndim == 3 and values.shape[2] not in (1, 3, 4):
        values = np.ascontiguousarray(values.transpose(1, 2, 0))
    return values[:, :, 0] if values.ndim == 3 and values.shape[2] == 1 else values


def read_parquet(path: Path) -> Source:
    """Return the images of a Parquet file: a column of encoded images, or of structs with `bytes`, and one of labels.

    Raises InputError that names the columns where either is missing.
    """
    with _explain_parquet(path):
        file = pq.ParquetFile(path)
        n_bytes = sum(file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups))
        if file.metadata.num_rows > archives.MAX_ENTRIES or n_bytes > archives.MAX_BYTES:
            text = f"{path.name} has {file.metadata.num_rows:,} rows and {n_bytes / 2**30:,.1f} GB; at most"
            text = f"{text} {archives.MAX_ENTRIES:,} rows and 8 GB are allowed."
            raise InputError(text, remedy="Remove some rows.")
        column = image_column(file)
        if column is None:
            text = f"{path.name} has no column of PNG, JPEG, BMP, GIF or WEBP images."
            raise InputError(text, remedy="Save the encoded images as a column of bytes.")
        label = _label_column(path, file, column)
        values = file.read(columns=[label]).column(0).to_pylist()
        texts = iter(_label_texts([str(value) for value in values if value is not None], _names(file, label)))
    labels = [None if value is None else next(texts) for value in values]
    entries = tuple(Entry(f"row {i}", text, "") for i, text in enumerate(labels) if text is not None)
    n_missing = len(labels) - len(entries)
    text = f"{plural(n_missing, 'image has', 'images have')} no {label!r}. Dropped."
    findings = (Finding("missing_target", text, label),) if n_missing else ()
    return Source(label, entries, findings, lambda: _images(path, column, labels))


def image_column(file: pq.ParquetFile) -> str | None:
    """Return the name of the column that holds encoded images, judged by its first values, or None."""
    schema = file.schema_arrow
    fields = [field for field in schema if _is_bytes(_bytes_type(field.type))]
    for field in sorted(fields, key=lambda field: field.name.casefold() not in _IMAGE_NAMES):
        batch = next(file.iter_batches(batch_size=_BATCH, columns=[field.name]), None)
        if batch is not None and any((value or b"").startswith(_MAGIC) for value in _bytes(batch.column(0))):
            return field.name
    return None


def _bytes_type(kind: pa.DataType) -> pa.DataType:
    is_struct = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    return kind.field("bytes").type if is_struct else kind


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _bytes(column: pa.Array) -> Iterator[bytes | None]:
    for value in column:
        content = value.as_py()
        yield content.get("bytes") if isinstance(content, dict) else content


def _label_column(path: Path, file: pq.ParquetFile, image: str) -> str:
    others = [field.name for field in file.schema_arrow if field.name != image and _is_label(field.type)]
    usual = [name for name in others if name.casefold() in _LABEL_NAMES]
    if usual or len(others) == 1:
        return (usual or others)[0]
    names = ", ".join(file.schema_arrow.names[:20])
    text = f"{path.name} has no single column of labels beside {image!r}. Its columns are {names}."
    raise InputError(text, remedy="Name the column of labels 'label'.")


def _is_label(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    tests = (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string, pa.types.is_boolean)
    return any(test(kind) for test in tests)


def _names(file: pq.ParquetFile, label: str) -> list[str]:
    """Return the class names that Hugging Face stores for label numbers; empty where there are none."""
    try:
        text = (file.schema_arrow.metadata or {})[b"huggingface"]
        return [str(name) for name in json.loads(text)["info"]["features"][label]["names"]]
    except (KeyError, TypeError, ValueError):
        return []


def _images(path: Path, column: str, labels: list[str | None]) -> Iterator[Image.Image | None]:
    row = 0
    with _explain_parquet(path):
        for batch in pq.ParquetFile(path).iter_batches(batch_size=_BATCH, columns=[column]):
            for content in _bytes(batch.column(0)):
                if labels[row] is not None:
                    small = content is not None and len(content) <= archives.MAX_ENTRY_BYTES
                    yield open_image(content if small else None)
                row += 1


@contextmanager
def _explain_parquet(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises on a broken file into an InputError."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path.name} is not a complete Parquet file ({reason}).", remedy="Save it again.") from None
