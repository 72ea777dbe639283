"""Predict with this model. Needs Python 3.11+, scikit-learn, skops and pandas.

    python predict.py INPUT predictions.csv

INPUT is a CSV file with the columns of the training table under their own names, in any order; for a model of images
it is an image file or a folder of them (Pillow is needed then). The output has one row for each row or image.
"""

import argparse
import csv
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io

from runner.automl.predict_template import clean, convert, find_delimiter, names
from runner.shared.rows import flat

SCHEMA: dict[str, Any] = {}  # filled in for each job
HERE = os.path.dirname(os.path.abspath(__file__))
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
# What a model may hold beside the types that skops trusts by itself.
TRUSTED = {
    "functools.partial",
    "numpy.clip",
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils.validation.check_array",
}


def main() -> None:
    """Read the command line, predict, write the output."""
    parser = argparse.ArgumentParser(description="Predict with this model.")
    parser.add_argument("input", help="CSV file with a header, or an image file or folder")
    parser.add_argument("output", help="CSV file to write")
    parser.add_argument("--encoding", default="utf-8-sig", help="of a CSV file (default: UTF-8)")
    given = parser.parse_args()
    try:
        labels, x = pictures(given.input) if SCHEMA["modality"] == "image" else table(given.input, given.encoding)
    except UnicodeError:
        sys.exit(f"{given.input} is not text of this encoding: give another one, such as --encoding latin-1.")
    write(given.output, labels, predict(load(os.path.join(HERE, "model.skops")), x) if len(x) else [])


def load(path: str) -> Any:
    """The fitted pipeline; ends where the file holds a type that no model of ours has."""
    found = skops.io.get_untrusted_types(file=path)
    odd = [name for name in found if name not in TRUSTED]
    if odd:
        sys.exit(f"{path} holds types that do not belong into a model: {', '.join(odd)}.")
    return skops.io.load(path, trusted=found)


def predict(model: Any, x: Any) -> Any:
    """Numbers, or probabilities in the order of the labels; 0 for a class that the model has not seen."""
    if not SCHEMA["labels"]:
        return model.predict(x)
    result = np.zeros((len(x), len(SCHEMA["labels"])))
    result[:, model.classes_] = model.predict_proba(x)
    return result


def pictures(source: str) -> tuple[list[str], Any]:
    """The names and pixels of an image file, or of all in a folder."""
    from PIL import Image

    path, (height, width, channels) = Path(source), SCHEMA["shape"]
    found = sorted(path.rglob("*")) if path.is_dir() else [path]
    files = [file for file in found if file.suffix.lower() in IMAGES]
    if not files:
        sys.exit(f"{source} has no images.")
    x = np.zeros((len(files), height, width, channels), np.uint8)
    for place, file in enumerate(files):
        with Image.open(file) as image:
            plain = image.convert("L" if channels == 1 else "RGB").resize((width, height), Image.Resampling.BILINEAR)
        x[place] = np.asarray(plain).reshape(height, width, channels)
    return [str(file.relative_to(path)) if path.is_dir() else file.name for file in files], flat(x)


def table(source: str, encoding: str) -> tuple[list[str], Any]:
    """The rows of a CSV file as the pipeline takes them."""
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
    columns = {column["key"]: values(column, place, cells) for place, column in enumerate(SCHEMA["columns"])}
    return [str(number) for number in range(1, len(cells) + 1)], pd.DataFrame(columns)


def values(column: dict[str, Any], place: int, cells: list[list[str]]) -> Any:
    """One column as the pipeline was fitted on it."""
    texts = [row[place] for row in cells]
    if column["type"] in ("numeric", "datetime"):
        return np.array([float(text or "nan") for text in texts])
    if column["text"]:
        return pd.Series(texts, dtype=object)
    return pd.Series([text or None for text in texts], dtype=object)


def write(target: str, rows: list[str], predicted: Any) -> None:
    """Write the predictions under the target's name and, for classes, their probabilities."""
    labels = SCHEMA["labels"]
    first = "image" if SCHEMA["modality"] == "image" else "row"
    with open(target, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([first, SCHEMA["target"]] + [f"probability of {label}" for label in labels])
        for name, values in zip(rows, predicted, strict=True):
            if labels:
                writer.writerow([name, labels[int(values.argmax())], *(repr(float(value)) for value in values)])
            else:
                writer.writerow([name, repr(float(values))])


if __name__ == "__main__":
    main()
