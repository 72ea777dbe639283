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
class AslibFiles:
    """A scenario as Parquet files; the notes are sentences.

    `runs` has instance_id, algorithm, repetition, value (of the measure) and fit_s; `features` has instance_id and
    columns of numbers.
    """

    name: str
    measures: tuple[Measure, ...]
    measure: Measure
    runs: Path
    features: Path | None
    notes: tuple[str, ...]


def is_scenario(path: Path) -> bool:
    """Return whether the path is a folder or a ZIP, the two forms of a scenario."""
    if path.is_dir():
        return True
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PK\3\4"
    except OSError:
        return False


def convert(path: Path, work: Path, metric: str | None = None) -> AslibFiles:
    """Return the scenario at the path, by one of its measures (None: the first), as files in the folder `work`.

    A run that did not end well counts as ten times the limit if the measure is a runtime (PAR10), or is left out if
    there is no limit; values of other measures are used as they are. Raises InputError, which names the file, the line
    and the remedy, if the path is no scenario or a broken one.
    """
    contents = _from_folder(path) if path.is_dir() else _from_archive(path)
    missing = [name for name in (DESCRIPTION, RUNS) if name not in contents]
    if missing:
        raise InputError(
            f"{path.name} is not an ASlib scenario: it has no {' and no '.join(missing)}.",
            remedy="Choose the folder (or a ZIP of it) that has them, or a CSV or Parquet file.",
        )
    description = _description(contents[DESCRIPTION])
    measures = _measures(description)
    measure = next((each for each in measures if each.name == (metric or measures[0].name)), None)
    if measure is None:
        listed = ", ".join(each.name for each in measures)
        raise InputError(
            f"{path.name} has no measure {metric!r}.", field="metric", value=metric, remedy=f"It has {listed}."
        )
    cutoff_s = _number(description.get("algorithm_cutoff_time", ["?"]))
    frame, notes = _runs(contents[RUNS], measure, next((each for each in measures if each.runtime), None), cutoff_s)
    frame.to_parquet(work / "runs.parquet", index=False)
    features = None
    if FEATURES in contents:
        features = work / "features.parquet"
        _means(contents[FEATURES]).to_parquet(features, index=False)
    name = (description.get("scenario_id") or [path.stem])[0]
    return AslibFiles(name, measures, measure, work / "runs.parquet", features, notes)


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
        return (f"{runs}: {measure.name} was used as it is.",)
    if cutoff_s is None:
        return (f"{runs}: left out, because the scenario gives no time limit.",)
    return (f"{runs}: counted as {_PAR} times the limit of {cutoff_s:,g} s (PAR{_PAR}).",)


def _means(content: bytes) -> pd.DataFrame:
    """Return the features as means over the repetitions; a column without any number is left out."""
    table = _table(FEATURES, content, ("instance_id",))
    numbers = table.drop(columns=["instance_id", "repetition"], errors="ignore").apply(pd.to_numeric, errors="coerce")
    numbers = numbers.replace([float("inf"), -float("inf")], float("nan")).dropna(axis="columns", how="all")
    return numbers.groupby(table["instance_id"]).mean().reset_index()


def _from_folder(path: Path) -> dict[str, bytes]:
    contents = {}
    for name in _FILES:
        file = path / name
        if file.is_file():
            if file.stat().st_size > MAX_FILE_BYTES:
                raise _too_large(name)
            contents[name] = file.read_bytes()
    return contents


def _from_archive(path: Path) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    with archives.open_zip(path) as archive:
        for info in archive.infolist():
            name = (archives.path_names(info.filename) or ("",))[-1]
            if name not in _FILES or "__MACOSX" in info.filename:
                continue
            if name in contents:
                raise InputError(f"{path.name} has more than one {name}.", remedy="Pack one scenario per ZIP.")
            content = archives.read(archive, info, MAX_FILE_BYTES)
            if content is None:
                raise _too_large(name)
            contents[name] = content
    return contents


def _too_large(name: str) -> InputError:
    limit = f"{MAX_FILE_BYTES / 2**20:.0f} MB"
    return InputError(f"{name} is broken, or larger than {limit}.", remedy="Pack it again, or shorten it.")


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8 text (byte {error.start:,}).", remedy="Save it as UTF-8.") from None


def _description(content: bytes) -> dict[str, list[str]]:
    """Return the values of each key at the left margin; nested keys, the feature steps, are not needed."""
    description: dict[str, list[str]] = {}
    values: list[str] = []
    for line in _text(DESCRIPTION, content).splitlines():
        key, colon, rest = line.partition(":")
        if colon and line[0] not in " \t-#":
            values = [_bare(value) for value in rest.strip().strip("[]").split(",") if value.strip()]
            description[key.strip().casefold()] = values
        elif line.strip().startswith("- "):
            values.append(_bare(line.strip()[2:]))
    return description


def _bare(text: str) -> str:
    return text.strip().strip("'\"")


def _number(values: list[str]) -> float | None:
    try:
        number = float(values[0])
    except (IndexError, ValueError):  # "?": there is none
        return None
    return number if 0 < number < float("inf") else None


def _measures(description: dict[str, list[str]]) -> tuple[Measure, ...]:
    keys = ("performance_measures", "maximize", "performance_type")
    names, maximize, types = (description.get(key, []) for key in keys)
    if not names or len({len(names), len(maximize), len(types)}) > 1:
        raise InputError(
            f"{DESCRIPTION} must give {', '.join(keys)} with one value for each measure; it gives {len(names)},"
            f" {len(maximize)} and {len(types)}.",
            remedy="Add what is missing.",
        )
    return tuple(
        Measure(name, up.casefold() in _TRUE, measure_type == "runtime")
        for name, up, measure_type in zip(names, maximize, types, strict=True)
    )


def _table(name: str, content: bytes, needed: tuple[str, ...]) -> pd.DataFrame:
    """Return an ARFF file as texts, with `?` as missing."""
    lines = enumerate(_text(name, content).split("\n"), start=1)
    names = _attributes(name, lines)
    lacking = [attribute for attribute in needed if attribute not in names]
    if lacking:
        raise InputError(f"{name} has no attribute {' and no '.join(lacking)}.", remedy="Add it: ASlib requires it.")
    rows = list(_rows(name, lines, len(names)))
    if not rows:
        raise InputError(f"{name} has no rows after @DATA.", remedy="Choose a scenario with results.")
    return pd.DataFrame(rows, columns=list(names), dtype="str")


def _attributes(name: str, lines: Iterator[tuple[int, str]]) -> tuple[str, ...]:
    attributes: list[str] = []
    for number, line in lines:
        text = line.strip()
        if text.casefold().startswith("@data"):
            break
        if text.casefold().startswith("@attribute"):
            match = _ATTRIBUTE.match(text)
            if match is None:
                raise _line_error(name, number, f"{text[:60]!r} is not '@ATTRIBUTE name type'.", "Correct it.")
            attributes.append(_unquoted(match[1]))
    else:
        raise InputError(f"{name} is not a complete ARFF file: it has no line @DATA.", remedy="Add it before the rows.")
    if not 0 < len(attributes) <= tables.MAX_COLUMNS:
        limit = f"1 to {tables.MAX_COLUMNS:,} are allowed"
        raise InputError(f"{name} has {len(attributes):,} attributes; {limit}.", remedy="Leave some out.")
    twice = next((attribute for attribute in attributes if attributes.count(attribute) > 1), None)
    if twice is not None:
        raise InputError(f"{name} has the attribute {twice!r} twice.", value=twice, remedy="Rename one.")
    return tuple(attributes)


def _rows(name: str, lines: Iterator[tuple[int, str]], width: int) -> Iterator[list[str | None]]:
    for number, line in lines:
        text = line.strip()
        if not text or text.startswith("%"):
            continue
        if text.startswith("{"):
            raise _line_error(name, number, "sparse rows ({...}) are not supported.", "Write plain rows.")
        cells = _cells(text)
        if not cells:
            raise _line_error(name, number, "a quote is not closed.", "Close it, or put a \\ before it.")
        if len(cells) != width:
            counts = f"the header has {width} attributes, this line {len(cells)} values."
            raise _line_error(name, number, counts, "Correct the line.")
        yield [None if cell == "?" else _unquoted(cell) for cell in cells]


def _line_error(name: str, number: int, text: str, remedy: str) -> InputError:
    return InputError(f"{name}, line {number:,}: {text}", remedy=remedy)


def _cells(text: str) -> list[str]:
    """Return the values of a row, quoted ones with their quotes; an empty list if a quote is not closed."""
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
