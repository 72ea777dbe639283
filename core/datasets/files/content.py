"""Content: what a user's file is (Parquet, text of an encoding, or something else), found in one pass."""

from __future__ import annotations

import codecs
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError

ENCODINGS = ("utf-8", "latin-1", "cp1252", "utf-16")
_CHUNK_BYTES = 8 * 2**20
_SAVE = "Save it as CSV or Parquet."
_BINARY = {
    b"PK\x03\x04": ("a ZIP archive or an Excel workbook", "Unpack it, or save the sheet as CSV."),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", "Save the sheet as CSV."),
    b"\x1f\x8b": ("a gzip archive", "Unpack it."),
    b"BZh": ("a bzip2 archive", "Unpack it."),
    b"\xfd7zXZ": ("an xz archive", "Unpack it."),
    b"\x28\xb5\x2f\xfd": ("a zstd archive", "Unpack it."),
    b"7z\xbc\xaf": ("a 7z archive", "Unpack it."),
    b"%PDF": ("a PDF document", "Export its table as CSV."),
    b"\x89PNG": ("a PNG image", "Choose a table."),
    b"\xff\xd8\xff": ("a JPEG image", "Choose a table."),
    b"ARROW1": ("an Arrow file", _SAVE),
    b"SQLite format 3": ("a SQLite database", "Export the table as CSV."),
}


@dataclass(frozen=True, slots=True)
class Content:
    """A file's hash, whether it is Parquet, and, of a text, whether it mixes line ends."""

    sha256: str
    is_parquet: bool
    mixes_line_ends: bool


def scan(path: Path, encoding: str) -> Content:
    """Return the content of a file that is Parquet, or text of this encoding.

    Raises InputError, which names the place and the remedy, for every other file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(16)
            file.seek(0)
            _refuse_binary(path, head, size, encoding)
            if head.startswith(b"PAR1"):
                return Content(hashlib.file_digest(file, "sha256").hexdigest(), True, False)
            return _scan_text(path, file, encoding)
    except OSError as error:
        text = f"{path.name} cannot be read: {error.strerror}."
        raise InputError(text, remedy="Choose a CSV or Parquet file.") from None


def copy_as_utf8(path: Path, encoding: str, target: Path) -> None:
    """Copy a text as UTF-8 with plain line ends; DuckDB refuses a file that mixes them."""
    with path.open(encoding=encoding) as source, target.open("w", encoding="utf-8", newline="\n") as copy:
        while text := source.read(_CHUNK_BYTES):
            copy.write(text)


def _refuse_binary(path: Path, head: bytes, size: int, encoding: str) -> None:
    if size == 0:
        raise InputError(f"{path.name} is empty (0 bytes).", remedy="Choose a file with a header and rows.")
    for magic, (what, remedy) in _BINARY.items():
        if head.startswith(magic):
            raise InputError(f"{path.name} is {what}, not a CSV or Parquet file.", remedy=remedy)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and encoding != "utf-16":
        remedy = "Choose the encoding utf-16, or save it as UTF-8."
        raise InputError(f"{path.name} is UTF-16 text.", value=encoding, remedy=remedy)


def _scan_text(path: Path, file: io.BufferedReader, encoding: str) -> Content:
    digest, decoder = hashlib.sha256(), codecs.getincrementaldecoder(encoding)()
    offset = n_lines = n_crlf = 0
    last = b""
    while True:
        chunk = file.read(_CHUNK_BYTES)
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeError as error:
            raise _encoding_error(path, encoding, error, offset + len(chunk), n_lines) from None
        if "\0" in text:
            line = n_lines + text[: text.index("\0")].count("\n") + 1
            raise InputError(f"{path.name} is not text: there is a zero byte on line {line}.", remedy=_SAVE)
        if not chunk:
            return Content(digest.hexdigest(), False, 0 < n_crlf < n_lines)
        digest.update(chunk)
        n_lines += chunk.count(b"\n")
        n_crlf += chunk.count(b"\r\n") + (last == b"\r" and chunk.startswith(b"\n"))
        offset, last = offset + len(chunk), chunk[-1:]


def _encoding_error(path: Path, encoding: str, error: UnicodeError, end: int, n_lines: int) -> InputError:
    """Return the error with the line and the byte; `end` is the offset of the chunk's end."""
    remedy = "Choose the encoding latin-1, or save it as UTF-8." if encoding == "utf-8" else "Choose another encoding."
    text = f"{path.name} is not {encoding} text"
    if isinstance(error, UnicodeDecodeError):
        line = n_lines + error.object[: error.start].count(b"\n") + 1
        byte = end - len(error.object) + error.start
        text = f"{text}: 0x{error.object[error.start]:02x} on line {line} (byte {byte:,})"
    return InputError(f"{text}.", value=encoding, remedy=remedy)
