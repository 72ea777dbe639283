"""ASlib: an algorithm-selection scenario as a folder or a ZIP of one, read into staged tables.

The format: Bischl et al., "ASlib: A benchmark library for algorithm selection", 2016, Artificial Intelligence 237.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from core import archives, tables
from core.errors import InputError

DESCRIPTION, RUNS, FEATURES = "description.txt", "algorithm_runs.arff", "feature_values.arff"
MAX_FILE_BYTES = 256 * 2**20

_FILES = (DESCRIPTION, RUNS, FEATURES)
_BATCH_ROWS = 50_000
_ATTRIBUTE = re.compile(r"@attribute\s+('(?:\\.|[^'])*'|\"(?:\\.|[^\"])*\"|\S+)\s+\S", re.IGNORECASE)
_CELL = re.compile(r"\s*('(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|[^,'\"]*?)\s*(?:,|$)")


@dataclass(frozen=True, slots=True)
class Measure:
    """A performance measure of a scenario; a runtime is in seconds."""

    name: str
    maximize: bool
    runtime: bool


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario as its files have it: `runs` and `features` are staged tables of texts."""

    name: str
    measures: tuple[Measure, ...]
    cutoff_s: float | None  # after which a run was stopped; None where none was set
    runs: tables.Staged
    features: tables.Staged | None


def is_one(path: Path) -> bool:
    """Whether the path is a folder or a ZIP: what a scenario comes as."""
    if path.is_dir():
        return True
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PK\3\4"
    except OSError:
        return False


def read(path: Path, work: Path) -> Scenario:
    """The scenario at the path, its tables staged in the folder `work`.

    Raises InputError, which names the file, the line and the remedy, where it is none or is broken.
    """
    contents = _from_folder(path) if path.is_dir() else _from_archive(path)
    missing = [name for name in (DESCRIPTION, RUNS) if name not in contents]
    if missing:
        raise InputError(
            f"{path.name} is not an ASlib scenario: it has no {' and no '.join(missing)}. Choose the folder (or a ZIP "
            "of it) that has them, or a CSV or Parquet file."
        )
    told = _description(contents[DESCRIPTION])
    staged = {name: _staged(name, contents[name], work) for name in (RUNS, FEATURES) if name in contents}
    cutoff = _number(told.get("algorithm_cutoff_time", ["?"]))
    name = (told.get("scenario_id") or [path.stem])[0]
    return Scenario(name, _measures(told), cutoff, staged[RUNS], staged.get(FEATURES))


def _from_folder(path: Path) -> dict[str, bytes]:
    found = {}
    for name in _FILES:
        file = path / name
        if file.is_file():
            if file.stat().st_size > MAX_FILE_BYTES:
                raise _too_large(name)
            found[name] = file.read_bytes()
    return found


def _from_archive(path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with archives.opened(path) as archive:
        for info in archive.infolist():
            name = (archives.steps(info.filename) or ("",))[-1]
            if name not in _FILES or "__MACOSX" in info.filename:
                continue
            if name in found:
                raise InputError(f"{path.name} has more than one {name}: pack one scenario a ZIP.")
            content = archives.read(archive, info, MAX_FILE_BYTES)
            if content is None:
                raise _too_large(name)
            found[name] = content
    return found


def _too_large(name: str) -> InputError:
    limit = f"{MAX_FILE_BYTES / 2**20:.0f} MB"
    return InputError(f"{name} is broken, or larger than the {limit} that are allowed. Pack it again, or shorten it.")


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8 text (byte {error.start:,}): save it as UTF-8.") from None


def _description(content: bytes) -> dict[str, list[str]]:
    """The values of each key at the left margin; what is nested deeper, the feature steps, is not needed."""
    told: dict[str, list[str]] = {}
    values: list[str] = []
    for line in _text(DESCRIPTION, content).splitlines():
        key, colon, rest = line.partition(":")
        if colon and line[0] not in " \t-#":
            values = told[key.strip().casefold()] = [_bare(v) for v in rest.strip().strip("[]").split(",") if v.strip()]
        elif line.strip().startswith("- "):
            values.append(_bare(line.strip()[2:]))
    return told


def _bare(text: str) -> str:
    return text.strip().strip("'\"")


def _number(values: list[str]) -> float | None:
    try:
        number = float(values[0])
    except (IndexError, ValueError):  # "?": none was set
        return None
    return number if 0 < number < float("inf") else None


def _measures(told: dict[str, list[str]]) -> tuple[Measure, ...]:
    keys = ("performance_measures", "maximize", "performance_type")
    names, maximize, types = (told.get(key, []) for key in keys)
    if not names or len({len(names), len(maximize), len(types)}) > 1:
        raise InputError(
            f"{DESCRIPTION} must give {', '.join(keys)} with one value for each measure; it gives "
            f"{len(names)}, {len(maximize)} and {len(types)}. Add what is missing."
        )
    return tuple(
        Measure(name, up.casefold() == "true", kind == "runtime")
        for name, up, kind in zip(names, maximize, types, strict=True)
    )


def _staged(name: str, content: bytes, work: Path) -> tables.Staged:
    """An ARFF file as a Parquet of texts, `?` as NULL."""
    lines = enumerate(_text(name, content).split("\n"), start=1)
    names = _attributes(name, lines)
    rows = _rows(name, lines, len(names))
    schema = pa.schema([(f"c{i}", pa.string()) for i in range(len(names))])
    target, n_rows = work / f"{name}.parquet", 0
    with pq.ParquetWriter(target, schema) as writer:
        while batch := list(islice(rows, _BATCH_ROWS)):
            writer.write_table(pa.table([pa.array(c, pa.string()) for c in zip(*batch, strict=True)], schema=schema))
            n_rows += len(batch)
    if n_rows == 0:
        raise InputError(f"{name} has no rows after @DATA. Choose a scenario with results.")
    return tables.Staged(target, "", names, (None,) * len(names), n_rows, ())


def _attributes(name: str, lines: Iterator[tuple[int, str]]) -> tuple[str, ...]:
    found: list[str] = []
    for number, line in lines:
        text = line.strip()
        if text.casefold().startswith("@data"):
            break
        if text.casefold().startswith("@attribute"):
            match = _ATTRIBUTE.match(text)
            if match is None:
                raise InputError(f"{name}, line {number:,}: {text[:60]!r} is not '@ATTRIBUTE name type'. Mend it.")
            found.append(_unquoted(match[1]))
    else:
        raise InputError(f"{name} is not a whole ARFF file: it has no line @DATA. Add it before the rows.")
    if not 0 < len(found) <= tables.MAX_COLUMNS:
        limit = f"1 to {tables.MAX_COLUMNS:,} are allowed"
        raise InputError(f"{name} has {len(found):,} attributes; {limit}. Leave some out.")
    return tuple(found)


def _rows(name: str, lines: Iterator[tuple[int, str]], width: int) -> Iterator[list[str | None]]:
    for number, line in lines:
        text = line.strip()
        if not text or text.startswith("%"):
            continue
        if text.startswith("{"):
            raise InputError(f"{name}, line {number:,}: sparse rows ({{...}}) are not read. Write plain rows.")
        cells = _cells(text)
        if not cells:
            raise InputError(f"{name}, line {number:,}: a quote stands wrongly. Close it, or put a \\ before it.")
        if len(cells) != width:
            raise InputError(
                f"{name}, line {number:,}: the header has {width} attributes, this line {len(cells)} values. Mend it."
            )
        yield [None if cell == "?" else _unquoted(cell) for cell in cells]


def _cells(text: str) -> list[str]:
    """The values of a row, quoted ones with their quotes; none where a quote stands wrongly."""
    if "'" not in text and '"' not in text:
        return [cell.strip() for cell in text.split(",")]
    cells, at = [], 0
    while match := _CELL.match(text, at):
        cells.append(match[1])
        at = match.end()
        if not match[0].endswith(","):
            return cells
    return []


def _unquoted(cell: str) -> str:
    return re.sub(r"\\(.)", r"\1", cell[1:-1]) if cell[:1] in ("'", '"') else cell
