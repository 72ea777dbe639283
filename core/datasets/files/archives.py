"""Archives: a user's ZIP file, read within limits. Nothing is written to disk, and no name in it is used as a path."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import InputError

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # other methods unpack a few bytes into megabytes at once
MAX_ENTRIES = 250_000
MAX_BYTES = 8 * 2**30  # of all entries, unpacked
MAX_RATIO = 100  # unpacked to packed size; images are hardly compressed
MAX_ENTRY_BYTES = 64 * 2**20
_SMALL_BYTES = 256 * 2**20  # below it any ratio is harmless: flat drawings are compressed a thousandfold
_DIRECTORY_BYTES = 64 * 2**20
_END, _END64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q")
_LOCATOR_BYTES = 20


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a ZIP file whose directory and unpacked size are within the limits.

    Raises InputError with the value and the remedy for one that is broken, protected or too large.
    """
    with _open(path) as archive:
        yield archive


def _open(path: Path) -> zipfile.ZipFile:
    try:
        _check_directory(path)
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, struct.error, UnicodeError, NotImplementedError) as error:
        raise InputError(f"{path.name} is not a complete ZIP file ({error}).", remedy="Pack it again.") from None
    except OSError as error:
        text = f"{path.name} cannot be read: {error.strerror}."
        raise InputError(text, remedy="Choose the file again.") from None
    try:
        _check(path, archive.infolist())
    except InputError:
        archive.close()
        raise
    return archive


def read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit_bytes: int = MAX_ENTRY_BYTES) -> bytes | None:
    """Return the content of an entry; None where it is broken or larger than the limit, even if it declares less."""
    if info.file_size > limit_bytes or info.compress_type not in METHODS:
        return None
    try:
        with archive.open(info) as entry:
            content = entry.read(limit_bytes + 1)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, UnicodeError, OSError):
        return None
    return content if len(content) <= limit_bytes else None


def path_names(name: str) -> tuple[str, ...]:
    """Return the folders and the file of an entry's name; parts such as .. and C: are dropped."""
    parts = (part.strip() for part in name.replace("\\", "/").split("/"))
    return tuple(part for part in parts if part.strip(".") and not (len(part) == 2 and part[1] == ":"))


def _check(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    _check_count(path, len(infos))
    if any(info.flag_bits & 1 for info in infos):
        raise InputError(f"{path.name} is protected by a password.", remedy="Pack it again without one.")
    total = sum(info.file_size for info in infos)
    if total > MAX_BYTES:
        raise InputError(
            f"{path.name} unpacks into {total / 2**30:,.1f} GB; at most {MAX_BYTES / 2**30:.0f} GB are allowed.",
            remedy="Make the images smaller, or remove some.",
        )
    if total > max(_SMALL_BYTES, MAX_RATIO * path.stat().st_size):
        raise InputError(
            f"{path.name} unpacks into {total / path.stat().st_size:,.0f} times its size, as a ZIP bomb does; at most "
            f"{MAX_RATIO} times are allowed.",
            remedy="Save the images as PNG or JPEG.",
        )


def _check_count(path: Path, n_entries: int) -> None:
    if n_entries > MAX_ENTRIES:
        text = f"{path.name} holds {n_entries:,} files; at most {MAX_ENTRIES:,} are allowed."
        raise InputError(text, remedy="Remove some.")


def _check_directory(path: Path) -> None:
    """Check what the directory says of itself before the standard library reads all of it into memory."""
    with path.open("rb") as file:
        start = max(0, path.stat().st_size - _END.size - 2**16)
        file.seek(start)
        tail = file.read()
        at = tail.rfind(b"PK\5\6")
        if at < 0:
            raise zipfile.BadZipFile("its directory is missing")
        *_, n_entries, n_bytes, _, _ = _END.unpack_from(tail, at)
        file.seek(max(0, start + at - _LOCATOR_BYTES - _END64.size))
        large = file.read(_END64.size)  # the record of a ZIP64, before the locator before the end
    if large.startswith(b"PK\6\6"):
        n_entries, n_bytes = _END64.unpack(large)[7:9]
    _check_count(path, n_entries)
    if n_bytes > _DIRECTORY_BYTES:
        raise InputError(
            f"{path.name} has a directory of {n_bytes / 2**20:,.0f} MB; at most {_DIRECTORY_BYTES / 2**20:.0f} MB are "
            "allowed.",
            remedy="Remove some files.",
        )
