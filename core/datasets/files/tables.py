"""Tables: a user's CSV or Parquet file, checked and parsed into one staged Parquet of texts.

Every value is staged as text: types are then judged from the whole column, the same way for both formats. No table is
loaded into memory.
"""

from __future__ import annotations

import csv
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
from core.datasets.files.content import ENCODINGS, Content, copy_as_utf8, scan
from core.datasets.files.findings import Finding
from core.errors import InputError
from core.store.database import explain_disk_full

Declared = Literal["number", "time", "text", "nested"]
MAX_COLUMNS = 2_000
# Without "none" in lower case, which public tables use as a category.
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "nan", "NaN", "NAN", "-nan", "null", "NULL", "Null", "None", "?", "-")

_SNIFF_BYTES = 2**20
_LINE_BYTES = 16 * 2**20
_DELIMITERS = ",;\t|"
_NUMBERS = re.compile(r"(U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL\(.*)$")
_TIMES = re.compile(r"(TIMESTAMP.*|DATE)$")
_TEXTS = re.compile(r"(VARCHAR|BOOLEAN|ENUM\(.*|UUID|TIME.*|INTERVAL|\"NULL\")$")


@dataclass(frozen=True, slots=True)
class StagedTable:
    """A parsed file: `parquet` has the columns c0, c1, ... as text, a missing value as NULL, in the file's order.

    `declared` is the type of each column in a Parquet file; None for every column of a CSV.
    """

    parquet: Path
    sha256: str  # of the file's bytes
    names: tuple[str, ...]
    declared: tuple[Declared | None, ...]
    n_rows: int
    findings: tuple[Finding, ...]


def stage(path: Path, encoding: str = "utf-8") -> StagedTable:
    """Parse the file, once for each content and encoding; housekeeping deletes the result a day after its last use.

    Raises InputError, which names the place and the remedy, when the file is not a readable table, and
    MetascoutError when the disk is full.
    """
    if encoding not in ENCODINGS:
        remedy = f"Choose one of {', '.join(ENCODINGS)}."
        raise InputError(f"There is no encoding {encoding!r}.", value=encoding, remedy=remedy)
    path = Path(path).resolve()
    content = scan(path, encoding)
    folder = scratch.folder() / "staged" / f"{content.sha256}-{encoding}"
    if not folder.exists():
        _parse(path, encoding, content, folder)
    os.utime(folder)
    return _read_about(folder)


def _read_about(folder: Path) -> StagedTable:
    body = json.loads((folder / "about.json").read_text("utf-8"))
    findings = tuple(Finding(**finding) for finding in body.pop("findings"))
    names, declared = tuple(body.pop("names")), tuple(body.pop("declared"))
    return StagedTable(parquet=folder / "table.parquet", names=names, declared=declared, findings=findings, **body)


def _parse(path: Path, encoding: str, content: Content, folder: Path) -> None:
    work = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}")
    try:
        with explain_disk_full():
            work.mkdir(parents=True)
            source = work / "source"  # a link, because DuckDB reads * and [ in a path as a pattern
            if not content.is_parquet and (encoding != "utf-8" or content.mixes_line_ends):
                copy_as_utf8(path, encoding, source)
            else:
                source.symlink_to(path)
            table = (_parse_parquet if content.is_parquet else _parse_csv)(path.name, source, work, content.sha256)
            source.unlink()
            about = {key: value for key, value in asdict(table).items() if key != "parquet"}
            (work / "about.json").write_text(json.dumps(about), "utf-8")
            if not folder.exists():
                work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _parse_csv(name: str, source: Path, work: Path, sha256: str) -> StagedTable:
    header, delimiter, n_blank = _sniff(source)
    names, findings = _unique_names(name, header)
    if sum(_is_number(cell) for cell in header) * 2 >= len(header):
        text = f"The first row became the column names, but {header[0]!r} looks like a value. Add a header row."
        findings.append(Finding("header", text))
    columns = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(len(names)))
    tokens = ", ".join(f"'{space}{token}'" for token in MISSING for space in ("", " "))
    reader = f"""read_csv(?, auto_detect = false, columns = {{{columns}}}, header = true, skip = {n_blank},
        delim = '{delimiter}', quote = '"', escape = '"', strict_mode = true, null_padding = false,
        nullstr = [{tokens}], max_line_size = {_LINE_BYTES})"""
    try:
        n_rows = _copy(reader, [f"trim(c{i})" for i in range(len(names))], source, work)
    except duckdb.InvalidInputException as error:
        raise _csv_error(name, str(error)) from None
    if n_rows == 0:
        raise InputError(f"{name} has a header ({', '.join(names[:5])}) but no rows.", remedy="Add rows.")
    return StagedTable(work, sha256, names, (None,) * len(names), n_rows, tuple(findings))


def _parse_parquet(name: str, source: Path, work: Path, sha256: str) -> StagedTable:
    try:
        with scratch.connect() as connection:
            described = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(source)]).fetchall()
        names, findings = _unique_names(name, [row[0] for row in described])
        declared = tuple(_declared_type(row[1]) for row in described)
        texts = [_text_sql(f"c{i}", row[1], declared[i]) for i, row in enumerate(described)]
        aliases = ", ".join(f"c{i}" for i in range(len(names)))
        n_rows = _copy(f"read_parquet(?, hive_partitioning = false) AS t({aliases})", texts, source, work)
    except (duckdb.InvalidInputException, duckdb.IOException) as error:
        if "No space left" in str(error):
            raise
        reason = str(error).partition("\n")[0].replace(str(source), name)
        text = f"{name} is not a complete Parquet file ({reason})."
        raise InputError(text, remedy="Save it again, or use CSV.") from None
    if n_rows == 0:
        raise InputError(f"{name} has columns ({', '.join(names[:5])}) but no rows.", remedy="Add rows.")
    return StagedTable(work, sha256, names, declared, n_rows, tuple(findings))


def _copy(source_sql: str, texts: list[str], source: Path, work: Path) -> int:
    # One short expression for each column: DuckDB holds a vector for every step, and tables may be wide.
    select = ", ".join(f"nullif({text}, '') AS c{i}" for i, text in enumerate(texts))
    group_rows = max(2_048, min(122_880, 10_000_000 // len(texts)))  # a row group is built in memory
    with scratch.connect(len(texts)) as connection:
        copy = f"COPY (SELECT {select} FROM {source_sql}) TO ? (FORMAT parquet, ROW_GROUP_SIZE {group_rows})"
        return connection.execute(copy, [str(source), str(work / "table.parquet")]).fetchall()[0][0]


def _declared_type(kind: str) -> Declared:
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
    """Return the header's cells, the delimiter, and the number of blank lines before the header."""
    with source.open(encoding="utf-8-sig", newline="", errors="replace") as file:
        text = file.read(_SNIFF_BYTES)
    body = text.lstrip("\r\n")
    n_blank = len(text[: len(text) - len(body)].splitlines())
    rows = {delimiter: _first_rows(body, delimiter) for delimiter in _DELIMITERS}
    if not rows[","]:
        raise InputError("The file has only blank lines.", remedy="Choose a file with a header and rows.")

    def agreement(delimiter: str) -> tuple[float, int]:
        widths = [len(row) for row in rows[delimiter]]
        return (widths.count(widths[0]) / len(widths) if widths[0] > 1 else 0.0, widths[0])

    best = max(_DELIMITERS, key=agreement)  # the first, a comma, where several agree
    return rows[best][0], best, n_blank


def _first_rows(text: str, delimiter: str, limit: int = 20) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            rows += [row] if row else []
            if len(rows) == limit:
                break
    except csv.Error:  # a field is too long: the rows before it are enough
        pass
    if rows or not text:
        return rows
    return [[text.partition("\n")[0]]]


def _unique_names(file_name: str, cells: list[str]) -> tuple[tuple[str, ...], list[Finding]]:
    """Return the columns' names, unique when case is ignored (as DuckDB does), with findings on renamed ones."""
    if len(cells) > MAX_COLUMNS:
        text = f"{file_name} has {len(cells):,} columns; at most {MAX_COLUMNS:,} are allowed."
        raise InputError(text, remedy="Remove some.")
    names: list[str] = []
    findings: list[Finding] = []
    headers = {" ".join(cell.split()).casefold() for cell in cells}
    used: set[str] = set()
    for number, cell in enumerate(cells, start=1):
        plain = name = " ".join(cell.split()) or f"column {number}"
        count = 1
        while name.casefold() in used or (count > 1 and name.casefold() in headers):
            count += 1
            name = f"{plain} ({count})"
        if count > 1:
            findings.append(
                Finding(
                    "duplicate_name", f"Another column is named {plain!r}, so this one was renamed to {name!r}.", name
                )
            )
        used.add(name.casefold())
        names.append(name)
    return tuple(names), findings


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _csv_error(name: str, text: str) -> InputError:
    """Return DuckDB's complaint about a CSV as an error that names the line and the remedy."""
    # DuckDB counts records: in a file with quoted line breaks the line's number is that of the record.
    line = re.search(r"Line: (\d+)", text)
    place = f"{name}, line {int(line[1]):,}" if line else name
    if widths := re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text):
        sentence = f"{place}: the header has {widths[1]} columns, this line has {widths[2]}."
        return InputError(sentence, remedy="Correct or remove the line.")
    if "unterminated quote" in text:
        return InputError(
            f'{place}: a quote (") opens a value and is not closed correctly.',
            remedy="Close it, or write it twice inside a value.",
        )
    if "Maximum line size" in text:
        sentence = f"{place}: the line is longer than {_LINE_BYTES // 2**20} MB."
        return InputError(sentence, remedy="Shorten it, or close its quote.")
    reason = text.partition(chr(10))[0]
    return InputError(f"{place} cannot be read as CSV: {reason}.", remedy="Save it again as plain CSV.")
