"""ASlib: an algorithm-selection scenario as a folder or a ZIP of one, turned into Parquet files.

The format: Bischl et al., "ASlib: A benchmark library for algorithm selection", 2016, Artificial Intelligence 237.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from core.datasets.files import archives, findings, tables
from core.errors import InputError

DESCRIPTION, RUNS, FEATURES = "description.txt", "algorithm_runs.arff", "feature_values.arff"
MAX_FILE_BYTES = 256 * 2**20

_FILES = (DESCRIPTION, RUNS, FEATURES)
_TRUE = ("true", "yes", "on")  # as YAML has it
_PAR = 10  # a runtime of a run that did not end well is ten times the limit
_ATTRIBUTE = re.compile(r"@attribute\s+('(?:\\.|[^'])*'|\"(?:\\.|[^\"])*\"|\S+)\s+\S", re.IGNORECASE)
_CELL = re.compile(r"\s*('(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|[^,'\"]*?)\s*(?:,|$)")


@dataclass(frozen=True, slots=True)
class Measure:
    """A performance measure of a scenario; a runtime is in seconds."""

    name: str
    maximize: bool
    runtime: bool


@dataclass(frozen=True, slots=True)
class Converted:
    """A scenario as Parquet files: `runs` has instance_id, algorithm, repetition, value of the measure and fit_s;
    `features` instance_id and a number a column. The notes are sentences."""

    name: str
    measures: tuple[Measure, ...]
    measure: Measure
    runs: Path
    features: Path | None
    notes: tuple[str, ...]


def is_one(path: Path) -> bool:
    """Whether the path is a folder or a ZIP: what a scenario comes as."""
    if path.is_dir():
        return True
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PK\3\4"
    except OSError:
        return False


def convert(path: Path, work: Path, metric: str | None = None) -> Converted:
    """The scenario at the path, by a measure of its own (None: its first), as files in the folder `work`.

    A run that did not end well counts as ten times the limit where the measure is a runtime (PAR10), or is left out
    where no limit was set; another measure is taken as it stands. Raises InputError, which names the file, the line
    and the remedy, where the path is no scenario or a broken one.
    """
    contents = _from_folder(path) if path.is_dir() else _from_archive(path)
    missing = [name for name in (DESCRIPTION, RUNS) if name not in contents]
    if missing:
        raise InputError(
            f"{path.name} is not an ASlib scenario: it has no {' and no '.join(missing)}. Choose the folder (or a ZIP "
            "of it) that has them, or a CSV or Parquet file."
        )
    told = _description(contents[DESCRIPTION])
    measures = _measures(told)
    measure = next((each for each in measures if each.name == (metric or measures[0].name)), None)
    if measure is None:
        raise InputError(f"{path.name} has no measure {metric!r}; it has {', '.join(m.name for m in measures)}.")
    cutoff_s = _number(told.get("algorithm_cutoff_time", ["?"]))
    frame, notes = _runs(contents[RUNS], measure, next((each for each in measures if each.runtime), None), cutoff_s)
    frame.to_parquet(work / "runs.parquet", index=False)
    features = None
    if FEATURES in contents:
        features = work / "features.parquet"
        _means(contents[FEATURES]).to_parquet(features, index=False)
    name = (told.get("scenario_id") or [path.stem])[0]
    return Converted(name, measures, measure, work / "runs.parquet", features, notes)


def _runs(
    content: bytes, measure: Measure, runtime: Measure | None, cutoff_s: float | None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    table = _table(RUNS, content, ("instance_id", "repetition", "algorithm", measure.name, "runstatus"))
    ended = table["runstatus"].fillna("ok").str.casefold() == "ok"
    frame = table[["instance_id", "algorithm", "repetition"]].copy()
    frame["value"] = pd.to_numeric(table[measure.name], errors="coerce")
    frame["fit_s"] = float("nan")
    if runtime is not None and runtime.name in table:
        frame["fit_s"] = pd.to_numeric(table[runtime.name], errors="coerce").where(ended)
    if measure.runtime:
        frame["value"] = frame["value"].where(ended, float("nan") if cutoff_s is None else _PAR * cutoff_s)
    return frame, _status_notes(int((~ended).sum()), measure, cutoff_s)


def _status_notes(n: int, measure: Measure, cutoff_s: float | None) -> tuple[str, ...]:
    if not n:
        return ()
    runs = findings.plural(n, "run that did not end well", "runs that did not end well")
    if not measure.runtime:
        return (f"{runs}: {measure.name} was taken as it stands.",)
    if cutoff_s is None:
        return (f"{runs}: left out, as the scenario gives no limit of time.",)
    return (f"{runs}: counted as {_PAR} times the limit of {cutoff_s:,g} s (PAR{_PAR}).",)


def _means(content: bytes) -> pd.DataFrame:
    """The features, means over the repetitions; a column without any number is left out."""
    table = _table(FEATURES, content, ("instance_id",))
    numbers = table.drop(columns=["instance_id", "repetition"], errors="ignore").apply(pd.to_numeric, errors="coerce")
    numbers = numbers.replace([float("inf"), -float("inf")], float("nan")).dropna(axis="columns", how="all")
    return numbers.groupby(table["instance_id"]).mean().reset_index()


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
    with archives.open_zip(path) as archive:
        for info in archive.infolist():
            name = (archives.path_names(info.filename) or ("",))[-1]
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
        Measure(name, up.casefold() in _TRUE, kind == "runtime")
        for name, up, kind in zip(names, maximize, types, strict=True)
    )


def _table(name: str, content: bytes, needed: tuple[str, ...]) -> pd.DataFrame:
    """An ARFF file as texts, a `?` as missing."""
    lines = enumerate(_text(name, content).split("\n"), start=1)
    names = _attributes(name, lines)
    lacking = [attribute for attribute in needed if attribute not in names]
    if lacking:
        raise InputError(f"{name} has no attribute {' and no '.join(lacking)}. Add it, as ASlib asks for.")
    rows = list(_rows(name, lines, len(names)))
    if not rows:
        raise InputError(f"{name} has no rows after @DATA. Choose a scenario with results.")
    return pd.DataFrame(rows, columns=list(names), dtype="str")


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
    twice = next((attribute for attribute in found if found.count(attribute) > 1), None)
    if twice is not None:
        raise InputError(f"{name} has the attribute {twice!r} twice. Rename one.")
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
