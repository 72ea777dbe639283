"""The files that are downloaded with a model: predict.py with its modules, schema.json and a read-me."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.datasets import Column, Dataset
from core.datasets.files import scratch, tables
from core.events import Artifact
from runner.shared import predict
from runner.shared.predict.reader import convert

PACKAGE = "metascout_predict"  # the folder of predict.py's modules
_MODULES = ("__init__", "command", "output", "reader")
_SCRIPT = '''\
"""Predict with this model.

    {command}

The output is a CSV file with one row for each {unit} of the input. README.txt says more.
"""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))

from {package}.command import main

if __name__ == "__main__":
    main(FOLDER)
'''
_README = """\
{title}

{files}

    {command}

{needs}

{reading}{notes}"""
_READING = {
    "table": """\
The input is a CSV file, separated by commas, semicolons, tabs or bars. It has the columns of the training table under
their own names, in any order; other columns are ignored. Its values are read as those of the training table were:
spaces around a value are ignored, a time is read as written, without its time zone, and a value is missing if it is
empty or one of {missing}
""",
    "image": """\
The input is an image file, or a folder of images. An image of another size or mode is converted.
""",
}


@dataclass(frozen=True, slots=True)
class Readme:
    """What the read-me says of a model: a title, its files by name, what predict.py needs beside Python, and notes.

    `example` is the input in the example of a command.
    """

    title: str
    files: Mapping[str, str]
    needs: str
    notes: str = ""
    example: str = "rows.csv"


def network_readme(
    title: str, images: bool, notes: str, more_files: Mapping[str, str] | None = None, what: str = "network"
) -> Readme:
    """Return what the read-me says of a network as ONNX and as plain PyTorch."""
    files = {
        "model.onnx": f"the {what} for ONNX Runtime, with its input scaling",
        "model.py": f"the same {what} as plain PyTorch",
        "weights.pt": "its weights",
    }
    needs = ", numpy, onnxruntime and Pillow" if images else ", numpy and onnxruntime"
    needs += "; with --torch it uses model.py and weights.pt, and needs torch instead of onnxruntime"
    return Readme(title, {**files, **(more_files or {})}, needs, notes, "images/" if images else "rows.csv")


def table_schema(dataset: Dataset, model_format: str, columns: Sequence[Column], **more: Any) -> dict[str, Any]:
    """Return the schema.json of a model that reads these columns from a CSV file.

    `model_format` names the module with_FORMAT of runner/shared/predict; `more` is what that module needs.
    """
    described = [
        {"name": c.name, "key": c.key, "type": value_type(dataset, c), "text": c.type == "text"} for c in columns
    ]
    return {
        "format": model_format,
        "modality": dataset.modality,
        "target": dataset.target,
        "labels": list(dataset.labels),
        "columns": described,
        "missing": list(tables.MISSING),
        **more,
    }


def image_schema(
    model_format: str, target: str, labels: Sequence[str], shape: Sequence[int], **more: Any
) -> dict[str, Any]:
    """Return the schema.json of a model that reads images of `shape` [height, width, channels]."""
    schema = {"format": model_format, "modality": "image", "target": target, "labels": list(labels)}
    return {**schema, "shape": list(shape), **more}


def value_type(dataset: Dataset, column: Column) -> str:
    """Return how a column's values are read: one of the kinds of `reader.convert`.

    Categories that are all numbers were stored as 3, whether the file has 3 or 3.0; with a code such as 007 or a word
    among them, they were stored as they are.
    """
    if column.type != "categorical":
        return column.type
    query = f"SELECT DISTINCT {column.key} AS value FROM read_parquet(?) WHERE {column.key} IS NOT NULL"
    values = scratch.query(query, [str(dataset.table)])["value"]
    return "number as text" if all(convert(value, "number as text") == value for value in values) else "text"


def write_predictor(directory: Path, schema: Mapping[str, Any], readme: Readme) -> Iterator[Artifact]:
    """Write predict.py, its modules, schema.json and the read-me, once for all models of a job."""
    images = schema["modality"] == "image"
    command = f"python predict.py {readme.example} predictions.csv"
    script = _SCRIPT.format(command=command, unit="image" if images else "row", package=PACKAGE)
    yield write_text(directory / "predict.py", script, "predict_script")
    (directory / PACKAGE).mkdir(exist_ok=True)
    for name in (*_MODULES, f"with_{schema['format']}"):
        text = Path(predict.__file__).with_name(f"{name}.py").read_text("utf-8")
        yield write_text(directory / PACKAGE / f"{name}.py", text, "predict_module")
    yield write_text(directory / "schema.json", json.dumps(schema, ensure_ascii=False, indent=1), "predict_schema")
    yield write_text(directory / "README.txt", _readme(readme, command, images), "readme")


def write_text(path: Path, text: str, kind: str) -> Artifact:
    """Write a text file; return it as an artifact of this kind."""
    path.write_text(text, "utf-8")
    return Artifact(path.name, str(path), kind)


def _readme(readme: Readme, command: str, images: bool) -> str:
    files = {
        **readme.files,
        "predict.py": "predicts an image file, or a folder of images" if images else "predicts a CSV file",
        "schema.json": "what predict.py knows of the model's inputs and labels",
        f"{PACKAGE}/": "the modules of predict.py",
    }
    width = max(map(len, files)) + 3
    missing = " ".join(filter(None, tables.MISSING))
    return _README.format(
        title=readme.title,
        files="\n".join(f"{name:{width}}{text}" for name, text in files.items()),
        command=command,
        needs=textwrap.fill(f"predict.py needs Python 3.11+{readme.needs}.", 118),
        reading=_READING["image" if images else "table"].format(missing=missing),
        notes=readme.notes and f"\n{readme.notes}\n",
    )
