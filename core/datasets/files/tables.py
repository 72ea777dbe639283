"""Tables: a user's CSV or Parquet file, checked and parsed out of core into one staged Parquet of texts.

Every value is staged as text, so that types are judged from the whole column, the same way for both formats.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
import os
import re
import shutil
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import duckdb

from core.datasets.files import scratch
from core.datasets.files.findings import Finding
from core.errors import InputError
from core.store.database import explain_disk_full

Declared = Literal["number", "time", "text", "nested"]
ENCODINGS = ("utf-8", "latin-1", "cp1252", "utf-16")
MAX_COLUMNS = 2_000
# "none" in small letters is left out: public tables use it as a category of its own.
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "nan", "NaN", "NAN", "-nan", "null", "NULL", "Null", "None", "?", "-")

_CHUNK_BYTES = 8 * 2**20
_SNIFF_BYTES = 2**20
_LINE_BYTES = 16 * 2**20
_DELIMITERS = ",;\t|"
_SAVE = "save it as CSV or Parquet"
_BINARY = {
    b"PK\x03\x04": ("a ZIP archive or an Excel workbook", "unpack it, or save the sheet as CSV"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", "save the sheet as CSV"),
    b"\x1f\x8b": ("a gzip archive", "unpack it"),
    b"BZh": ("a bzip2 archive", "unpack it"),
    b"\xfd7zXZ": ("an xz archive", "unpack it"),
    b"\x28\xb5\x2f\xfd": ("a zstd archive", "unpack it"),
    b"7z\xbc\xaf": ("a 7z archive", "unpack it"),
    b"%PDF": ("a PDF document", "export its table as CSV"),
    b"\x89PNG": ("a PNG image", "choose a table"),
    b"\xff\xd8\xff": ("a JPEG image", "choose a table"),
    b"ARROW1": ("an Arrow file", _SAVE),
    b"SQLite format 3": ("a SQLite database", "export the table as CSV"),
}
_NUMBERS = re.compile(r"(U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL\(.*)$")
_TIMES = re.compile(r"(TIMESTAMP.*|DATE)$")
_TEXTS = re.compile(r"(VARCHAR|BOOLEAN|ENUM\(.*|UUID|TIME.*|INTERVAL|\"NULL\")$")


@dataclass(frozen=True, slots=True)
class StagedTable:
    """A parsed file: `parquet` has the columns c0, c1, ... as text, a missing value as NULL, in the file's order.

    `declared` is what a Parquet file says of each column; None throughout for a CSV, which says nothing.
    """

    parquet: Path
    sha256: str  # of the file's bytes
    names: tuple[str, ...]
    declared: tuple[Declared | None, ...]
    n_rows: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Content:
    sha256: str
    parquet: bool
    mixed_newlines: bool


def stage(path: Path, encoding: str = "utf-8") -> StagedTable:
    """The file parsed, once for each content and encoding; staged files are swept a day after their last use.

    Raises InputError, which names the place and the remedy, when the file is not a readable table, and
    MetascoutError when the disk is full.
    """
    if encoding not in ENCODINGS:
        raise InputError(f"The encoding {encoding!r} is not known. Choose one of {', '.join(ENCODINGS)}.")
    path = Path(path).resolve()
    content = _scan(path, encoding)
    folder = scratch.folder() / "staged" / f"{content.sha256}-{encoding}"
    if not folder.exists():
        _parse(path, encoding, content, folder)
    os.utime(folder)
    return _about(folder)


def _about(folder: Path) -> StagedTable:
    body = json.loads((folder / "about.json").read_text("utf-8"))
    findings = tuple(Finding(**finding) for finding in body.pop("findings"))
    names, declared = tuple(body.pop("names")), tuple(body.pop("declared"))
    return StagedTable(parquet=folder / "table.parquet", names=names, declared=declared, findings=findings, **body)


def _parse(path: Path, encoding: str, content: _Content, folder: Path) -> None:
    work = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}")
    try:
        with explain_disk_full():
            work.mkdir(parents=True)
            source = work / "source"  # a link, because DuckDB reads * and [ in a path as a pattern
            if not content.parquet and (encoding != "utf-8" or content.mixed_newlines):
                _to_utf8(path, encoding, source)
            else:
                source.symlink_to(path)
            staged = (_parse_parquet if content.parquet else _parse_csv)(path.name, source, work, content.sha256)
            source.unlink()
            about = {key: value for key, value in asdict(staged).items() if key != "parquet"}
            (work / "about.json").write_text(json.dumps(about), "utf-8")
            if not folder.exists():
                work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _scan(path: Path, encoding: str) -> _Content:
    """Hash the file and prove that it is Parquet, or text of this encoding; in one pass."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(16)
            file.seek(0)
            _refuse_binary(path, head, size, encoding)
            if head.startswith(b"PAR1"):
                return _Content(hashlib.file_digest(file, "sha256").hexdigest(), True, False)
            return _scan_text(path, file, encoding)
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror}. Choose a CSV or Parquet file.") from None


def _refuse_binary(path: Path, head: bytes, size: int, encoding: str) -> None:
    if size == 0:
        raise InputError(f"{path.name} is empty (0 bytes). Choose a file with a header and rows.")
    for magic, (what, remedy) in _BINARY.items():
        if head.startswith(magic):
            raise InputError(f"{path.name} is {what}, not a CSV or Parquet file: {remedy}.")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and encoding != "utf-16":
        raise InputError(f"{path.name} is UTF-16 text: choose the encoding utf-16, or save it as UTF-8.")


def _scan_text(path: Path, file: io.BufferedReader, encoding: str) -> _Content:
    digest, decoder = hashlib.sha256(), codecs.getincrementaldecoder(encoding)()
    offset = n_lines = n_crlf = 0
    last = b""
    while True:
        chunk = file.read(_CHUNK_BYTES)
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeError as error:
            raise InputError(_encoding_sentence(path, encoding, error, offset + len(chunk), n_lines)) from None
        if "\0" in text:
            line = n_lines + text[: text.index("\0")].count("\n") + 1
            raise InputError(f"{path.name} is not text (a zero byte on line {line}): {_SAVE}.")
        if not chunk:
            return _Content(digest.hexdigest(), False, 0 < n_crlf < n_lines)
        digest.update(chunk)
        n_lines += chunk.count(b"\n")
        n_crlf += chunk.count(b"\r\n") + (last == b"\r" and chunk.startswith(b"\n"))
        offset, last = offset + len(chunk), chunk[-1:]


def _encoding_sentence(path: Path, encoding: str, error: UnicodeError, end: int, n_lines: int) -> str:
    remedy = "choose the encoding latin-1, or save it as UTF-8" if encoding == "utf-8" else "choose another encoding"
    if not isinstance(error, UnicodeDecodeError):
        return f"{path.name} is not {encoding} text: {remedy}."
    line = n_lines + error.object[: error.start].count(b"\n") + 1
    byte = end - len(error.object) + error.start
    value = error.object[error.start]
    return f"{path.name} is not {encoding} text: 0x{value:02x} on line {line} (byte {byte:,}); {remedy}."


def _to_utf8(path: Path, encoding: str, target: Path) -> None:
    """Copy as UTF-8 with plain line ends: DuckDB refuses a file that mixes them."""
    with path.open(encoding=encoding) as source, target.open("w", encoding="utf-8", newline="\n") as copy:
        while text := source.read(_CHUNK_BYTES):
            copy.write(text)


def _parse_csv(name: str, source: Path, work: Path, sha256: str) -> StagedTable:
    header, delimiter, n_blank = _sniff(source)
    names, findings = _named(name, header)
    if sum(_is_number(cell) for cell in header) * 2 >= len(header):
        text = f"The first row was taken as the column names, but {header[0]!r} looks like a value: add a header."
        findings.append(Finding("header", text))
    columns = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(len(names)))
    tokens = ", ".join(f"'{space}{token}'" for token in MISSING for space in ("", " "))
    reader = f"""read_csv(?, auto_detect = false, columns = {{{columns}}}, header = true, skip = {n_blank},
        delim = '{delimiter}', quote = '"', escape = '"', strict_mode = true, null_padding = false,
        nullstr = [{tokens}], max_line_size = {_LINE_BYTES})"""
    try:
        n_rows = _copy(reader, [f"trim(c{i})" for i in range(len(names))], source, work)
    except duckdb.InvalidInputException as error:
        raise InputError(_csv_sentence(name, str(error))) from None
    if n_rows == 0:
        raise InputError(f"{name} has a header ({', '.join(names[:5])}) but no rows.")
    return StagedTable(work, sha256, names, (None,) * len(names), n_rows, tuple(findings))


def _parse_parquet(name: str, source: Path, work: Path, sha256: str) -> StagedTable:
    try:
        with scratch.connect() as connection:
            described = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(source)]).fetchall()
        names, findings = _named(name, [row[0] for row in described])
        declared = tuple(_declared(row[1]) for row in described)
        texts = [_text_sql(f"c{i}", row[1], declared[i]) for i, row in enumerate(described)]
        aliases = ", ".join(f"c{i}" for i in range(len(names)))
        n_rows = _copy(f"read_parquet(?, hive_partitioning = false) AS t({aliases})", texts, source, work)
    except (duckdb.InvalidInputException, duckdb.IOException) as error:
        if "No space left" in str(error):
            raise
        reason = str(error).partition("\n")[0].replace(str(source), name)
        raise InputError(f"{name} is not a whole Parquet file ({reason}): write it again, or use CSV.") from None
    if n_rows == 0:
        raise InputError(f"{name} has columns ({', '.join(names[:5])}) but no rows.")
    return StagedTable(work, sha256, names, declared, n_rows, tuple(findings))


def _copy(source_sql: str, texts: list[str], source: Path, work: Path) -> int:
    # One short expression a column: DuckDB holds a vector for each step of each, and tables may be wide.
    select = ", ".join(f"nullif({text}, '') AS c{i}" for i, text in enumerate(texts))
    group_rows = max(2_048, min(122_880, 10_000_000 // len(texts)))  # a row group is built in memory
    with scratch.connect(len(texts)) as connection:
        copy = f"COPY (SELECT {select} FROM {source_sql}) TO ? (FORMAT parquet, ROW_GROUP_SIZE {group_rows})"
        return connection.execute(copy, [str(source), str(work / "table.parquet")]).fetchall()[0][0]


def _declared(kind: str) -> Declared:
    if _NUMBERS.match(kind):
        return "number"
    if _TIMES.match(kind):
        return "time"
    return "text" if _TEXTS.match(kind) and not kind.endswith("]") else "nested"


def _text_sql(key: str, kind: str, declared: Declared) -> str:
    if declared == "nested":
        return "CAST(NULL AS VARCHAR)"
    if declared == "time":
        return f"CAST(CAST({key} AS TIMESTAMP) AS VARCHAR)"
    if kind in ("FLOAT", "DOUBLE"):
        return f"replace(CAST(CAST({key} AS DOUBLE) AS VARCHAR), 'nan', '')"
    if declared == "number":
        return f"CAST({key} AS VARCHAR)"
    tokens = "|".join(re.escape(token) for token in MISSING if token)
    return f"regexp_replace(trim(CAST({key} AS VARCHAR)), '^({tokens})$', '')"


def _sniff(source: Path) -> tuple[list[str], str, int]:
    """The header's cells, the delimiter, and how many blank lines stand before the header."""
    with source.open(encoding="utf-8-sig", newline="", errors="replace") as file:
        text = file.read(_SNIFF_BYTES)
    body = text.lstrip("\r\n")
    n_blank = len(text[: len(text) - len(body)].splitlines())
    rows = {delimiter: _first_rows(body, delimiter) for delimiter in _DELIMITERS}
    if not rows[","]:
        raise InputError("The file holds only blank lines. Choose a file with a header and rows.")

    def agreement(delimiter: str) -> tuple[float, int]:
        widths = [len(row) for row in rows[delimiter]]
        return (widths.count(widths[0]) / len(widths) if widths[0] > 1 else 0.0, widths[0])

    best = max(_DELIMITERS, key=agreement)  # the comma where nothing speaks for another
    return rows[best][0], best, n_blank


def _first_rows(text: str, delimiter: str, most: int = 20) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            rows += [row] if row else []
            if len(rows) == most:
                break
    except csv.Error:  # an overlong field: the rows before it say enough
        pass
    if rows or not text:
        return rows
    return [[text.partition("\n")[0]]]


def _named(file_name: str, cells: list[str]) -> tuple[tuple[str, ...], list[Finding]]:
    """The columns' names, each once (DuckDB and people fold case), with what had to be changed."""
    if len(cells) > MAX_COLUMNS:
        raise InputError(
            f"{file_name} has {len(cells):,} columns; at most {MAX_COLUMNS:,} are allowed. Leave some out."
        )
    names: list[str] = []
    findings: list[Finding] = []
    taken = {" ".join(cell.split()).casefold() for cell in cells}
    seen: set[str] = set()
    for number, cell in enumerate(cells, start=1):
        plain = name = " ".join(cell.split()) or f"column {number}"
        count = 1
        while name.casefold() in seen or (count > 1 and name.casefold() in taken):
            count += 1
            name = f"{plain} ({count})"
        if count > 1:
            findings.append(Finding("duplicate_name", f"A second column {plain!r} was renamed {name!r}.", name))
        seen.add(name.casefold())
        names.append(name)
    return tuple(names), findings


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _csv_sentence(name: str, text: str) -> str:
    # DuckDB counts records: in a file with quoted line breaks the line's number is that of the record.
    line = re.search(r"Line: (\d+)", text)
    place = f"{name}, line {int(line[1]):,}" if line else name
    if widths := re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text):
        return f"{place}: the header has {widths[1]} columns, this line {widths[2]}. Mend it or leave it out."
    if "unterminated quote" in text:
        return (
            f'{place}: a quote (") opens a value and does not close it rightly. Close it, or double it inside a value.'
        )
    if "Maximum line size" in text:
        return f"{place}: the line is longer than {_LINE_BYTES // 2**20} MB. Shorten it, or close its quote."
    return f"{place} cannot be read as CSV: {text.partition(chr(10))[0]}. Save it again as plain CSV."
