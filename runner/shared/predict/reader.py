"""A user's CSV file or images as values of the columns that a model was trained on."""

import csv
import datetime
import math
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SPACES = " \u00a0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
DELIMITERS = ",;\t|"
_TIME = re.compile(
    r"(\d{1,4})([-/\\ ])(\d{1,2})\2(\d{1,2})"  # the day
    r"(?:(?: +|T)(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d*))?)?(?: ?(?:[A-Za-z]|[-+]\d)[\w:/+-]*)?)?$"
)


def read_rows(source: str, encoding: str, schema: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield the rows of a CSV file as cells in the order of the schema's columns; "" where a value is missing.

    Ends the program with a message where a column or a value is missing. Values that are not of their column's type
    are counted on the standard error output, and are missing.
    """
    csv.field_size_limit(2**31 - 1)
    columns, missing = schema["columns"], schema["missing"]
    n_unread = 0
    with open(source, newline="", encoding=encoding) as file:
        reader = csv.reader(file, delimiter=find_delimiter(source, encoding, columns), skipinitialspace=True)
        header = column_names(next(filter(None, reader), []))
        if absent := [column["name"] for column in columns if column["name"] not in header]:
            sys.exit(f"{source} lacks the columns {absent}.")
        places = [(header.index(column["name"]), column["type"]) for column in columns]
        for row in reader:
            if not row and len(header) > 1:  # a blank line is a row only of a single column
                continue
            row = row or [""]
            if len(row) != len(header):
                sys.exit(f"{source}, line {reader.line_num}: {len(row)} values under {len(header)} names.")
            cells = [clean(row[place], missing) for place, _ in places]
            values = [convert(cell, kind) for cell, (_, kind) in zip(cells, places, strict=True)]
            n_unread += sum(value == "" != cell for value, cell in zip(values, cells, strict=True))
            yield values
    if n_unread:
        print(f"{n_unread} values are not of their column's type and count as missing.", file=sys.stderr)


def find_delimiter(source: str, encoding: str, columns: list[dict[str, Any]]) -> str:
    """Return the delimiter under which the header names the most of the model's columns; a comma if none does."""
    names = {column["name"] for column in columns}

    def n_columns(delimiter: str) -> int:
        with open(source, newline="", encoding=encoding) as file:
            reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
            return len(names.intersection(column_names(next(filter(None, reader), []))))

    return max(DELIMITERS, key=n_columns)


def column_names(cells: list[str]) -> list[str]:
    """Return the names of a header as those of the training table were made: single blanks, each name once."""
    plain = [" ".join(cell.split()) for cell in cells]
    header, names = {name.casefold() for name in plain}, []
    before: set[str] = set()
    for number, cell in enumerate(plain, start=1):
        first = name = cell or f"column {number}"
        count = 1
        while name.casefold() in before or (count > 1 and name.casefold() in header):
            count += 1
            name = f"{first} ({count})"
        before.add(name.casefold())
        names.append(name)
    return names


def clean(text: str, missing: list[str]) -> str:
    """Return a value as the training table holds it: no blanks around it, "" for a word that means missing."""
    return "" if text.removeprefix(" ") in missing else text.strip(SPACES)


def convert(text: str, kind: str) -> str:
    """Return a value as the model was trained on it, "" where it is not of its kind.

    The kinds: "numeric", "text", "datetime" (seconds since 1970), "number as text" (a category 3.0 is 3).
    """
    try:
        if kind == "datetime":
            return repr(seconds(text))
        if kind == "text":
            return text
        number = float(text)
        if kind == "number as text" and number == int(number) and abs(number) < 1e15:
            return str(int(number))
        return repr(number) if math.isfinite(number) else ""
    except (ValueError, OverflowError):
        return ""


def seconds(text: str) -> float:
    """Return the time as it is written, without its time zone, as the training table has it; ValueError if none."""
    match = _TIME.match(text)
    if not match:
        raise ValueError(text)
    year, _, month, day, hour, minute, second, fraction = match.groups(default="0")
    date = datetime.datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=datetime.UTC)
    return date.replace(microsecond=int(fraction[:6].ljust(6, "0"))).timestamp()


def read_images(source: str, shape: list[int]) -> tuple[list[str], Any]:
    """Return the names and the pixels, uint8 [images, height, width, channels], of an image file or a folder of them.

    Ends the program with a message where there is no image, or one cannot be read.
    """
    import numpy as np
    from PIL import Image

    path, (height, width, channels) = Path(source), shape
    files = [file for file in (sorted(path.rglob("*")) if path.is_dir() else [path]) if file.suffix.lower() in IMAGES]
    if not files:
        sys.exit(f"{source} has no images.")
    pixels = np.zeros((len(files), height, width, channels), np.uint8)
    for place, file in enumerate(files):
        try:
            with Image.open(file) as image:
                colours = image.convert("L" if channels == 1 else "RGB")
        except OSError as error:
            sys.exit(f"{file} cannot be read as an image ({error}): repair or remove it. Nothing was written.")
        plain = colours.resize((width, height), Image.Resampling.BILINEAR)
        pixels[place] = np.asarray(plain).reshape(height, width, channels)
    return [str(file.relative_to(path)) if path.is_dir() else file.name for file in files], pixels
