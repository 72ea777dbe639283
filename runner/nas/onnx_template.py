"""Predict with this network. Needs Python 3.11+, and either onnxruntime and numpy or torch.

    python predict.py INPUT predictions.csv

INPUT is a CSV file with the columns of the training table under their own names, in any order; for a network on
images it is an image file or a folder of them (Pillow is needed then). The output has one row for each row or image.
"""

import argparse
import csv
import math
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from runner.automl.predict_template import clean, convert, find_delimiter, names

SCHEMA: dict[str, Any] = {}  # filled in for each job
HERE = os.path.dirname(os.path.abspath(__file__))
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
BATCH = 256


def main() -> None:
    """Read the command line, predict, write the output."""
    parser = argparse.ArgumentParser(description="Predict with this network.")
    parser.add_argument("input", help="CSV file with a header, or an image file or folder")
    parser.add_argument("output", help="CSV file to write")
    parser.add_argument("--encoding", default="utf-8-sig", help="of a CSV file (default: UTF-8)")
    parser.add_argument("--torch", action="store_true", help="use model.py and weights.pt, not model.onnx")
    given = parser.parse_args()
    try:
        names, x = pictures(given.input) if SCHEMA["modality"] == "image" else rows(given.input, given.encoding)
    except UnicodeError:
        sys.exit(f"{given.input} is not text of this encoding: give another one, such as --encoding latin-1.")
    model = by_torch() if given.torch else by_onnx()
    parts = [model(x[start : start + BATCH]) for start in range(0, len(x), BATCH)]
    write(given.output, names, np.concatenate(parts) if parts else np.zeros((0, len(SCHEMA["labels"]))))


def by_onnx() -> Any:
    """A function of raw inputs that runs model.onnx."""
    import onnxruntime

    session = onnxruntime.InferenceSession(os.path.join(HERE, "model.onnx"))
    return lambda x: session.run(None, {"x": x})[0]


def by_torch() -> Any:
    """A function of raw inputs that runs model.py."""
    import torch

    sys.path.insert(0, HERE)
    from model import load

    model = load(os.path.join(HERE, "weights.pt"))

    def predict(x: Any) -> Any:
        with torch.no_grad():
            return model(torch.from_numpy(x)).numpy()

    return predict


def pictures(source: str) -> tuple[list[str], Any]:
    """The names and pixels of an image file, or of all in a folder."""
    from PIL import Image

    path, (height, width, channels) = Path(source), SCHEMA["shape"]
    found = sorted(path.rglob("*")) if path.is_dir() else [path]
    files = [file for file in found if file.suffix.lower() in IMAGES]
    if not files:
        sys.exit(f"{source} has no images.")
    x = np.zeros((len(files), channels, height, width), np.uint8)
    for place, file in enumerate(files):
        try:
            with Image.open(file) as image:
                colours = image.convert("L" if channels == 1 else "RGB")
        except OSError as error:
            sys.exit(f"{file} cannot be read as an image ({error}): mend it or take it away. Nothing was written.")
        plain = colours.resize((width, height), Image.Resampling.BILINEAR)
        x[place] = np.asarray(plain).reshape(height, width, channels).transpose(2, 0, 1)
    return [str(file.relative_to(path)) if path.is_dir() else file.name for file in files], x


def rows(source: str, encoding: str) -> tuple[list[str], Any]:
    """The rows of a CSV file as raw inputs."""
    csv.field_size_limit(2**31 - 1)
    cells = []
    with open(source, newline="", encoding=encoding) as read:
        reader = csv.reader(read, delimiter=find_delimiter(source, encoding), skipinitialspace=True)
        header = names(next(filter(None, reader), []))
        missing = [column["name"] for column in SCHEMA["columns"] if column["name"] not in header]
        if missing:
            sys.exit(f"{source} lacks the columns {missing}.")
        places = [(header.index(column["name"]), column["type"]) for column in SCHEMA["columns"]]
        for row in reader:
            if not row and len(header) > 1:  # a blank line is a row only of a single column
                continue
            row = row or [""]
            if len(row) != len(header):
                sys.exit(f"{source}, line {reader.line_num}: {len(row)} values under {len(header)} names.")
            cells.append([convert(clean(row[place]), kind) for place, kind in places])
    return [str(number) for number in range(1, len(cells) + 1)], coded(cells)


def coded(cells: list[list[str]]) -> Any:
    """Values of the columns, in the schema's order, as raw inputs."""
    if SCHEMA["modality"] == "text":
        codes = {word: code for code, word in enumerate(SCHEMA["words"], start=2)}
        x = np.zeros((len(cells), SCHEMA["length"]), np.int64)
        for place, row in enumerate(cells):
            words = re.findall(r"\w+", " ".join(filter(None, row)).lower())[: SCHEMA["length"]]
            x[place, : len(words)] = [codes.get(word, 1) for word in words]
        return x
    levels = [column.get("levels") for column in SCHEMA["columns"]]
    tables = [None if known is None else {value: code for code, value in enumerate(known, start=1)} for known in levels]
    x = np.full((len(cells), len(levels)), math.nan)
    for place, row in enumerate(cells):
        for column, (cell, table) in enumerate(zip(row, tables, strict=True)):
            x[place, column] = table.get(cell, 0) if table is not None else float(cell or "nan")
    return x


def write(target: str, names: list[str], predicted: Any) -> None:
    """Write the predictions under the target's name and, for classes, their probabilities."""
    labels = SCHEMA["labels"]
    first = "image" if SCHEMA["modality"] == "image" else "row"
    with open(target, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([first, SCHEMA["target"]] + [f"probability of {label}" for label in labels])
        for name, values in zip(names, predicted, strict=True):
            if labels:
                writer.writerow([name, labels[int(values.argmax())], *(repr(float(value)) for value in values)])
            else:
                writer.writerow([name, repr(float(values))])


if __name__ == "__main__":
    main()
