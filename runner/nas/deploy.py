"""What a search hands out beside its networks: a script that predicts a user's file, and how to use it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from pprint import pformat
from typing import Any

from core.datasets import Dataset
from core.datasets.files import tables
from core.events import Artifact
from runner.automl import predict_template
from runner.automl.deploy import reads
from runner.nas.tensors import DatasetTensors

_TEMPLATE = Path(__file__).with_name("onnx_template.py")
_READERS = ("find_delimiter", "names", "clean", "convert", "seconds")
_README = """\
{name}: predict {target!r}

model.onnx    the network for ONNX Runtime, its input scaling included
model.py      the same network as plain PyTorch
weights.pt    its weights
predict.py    predicts {what}

    python predict.py {given} predictions.csv

predict.py needs Python 3.11+, numpy and onnxruntime{more}; with --torch it uses model.py and weights.pt
and needs torch instead of onnxruntime. In a program of your own:

    from model import load
    model = load("weights.pt")

What the model takes and gives is told at the top of model.py. {reading}
"""
_READING = {
    "image": "An image of another size or mode is converted.",
    "text": "Words are looked up in lower case; those that the train rows did not have count as unknown.",
    "table": "A category that the train rows did not have counts as unknown, like a missing one.",
}


def handout(dataset: Dataset, tensors: DatasetTensors, directory: Path) -> Iterator[Artifact]:
    """Write the script and the read-me, once for all networks of a job."""
    directory.mkdir(exist_ok=True)
    yield _written(directory / "predict.py", _script(dataset, tensors), "nas_script")
    image = dataset.modality == "image"
    text = _README.format(
        name=dataset.name, target=dataset.target, reading=_READING[dataset.modality],
        what="an image file, or a folder of them" if image else "a CSV file",
        given="images/" if image else "rows.csv", more=", and Pillow" if image else "",
    )  # fmt: skip
    yield _written(directory / "README.txt", text, "nas_readme")


def _script(dataset: Dataset, tensors: DatasetTensors) -> str:
    schema: dict[str, Any] = {"modality": dataset.modality, "target": dataset.target, "labels": list(dataset.labels)}
    schema |= tensors.schema
    if dataset.modality != "image":
        levels = tensors.levels
        schema["columns"] = [
            {"name": c.name, "type": reads(dataset, c)} | ({"levels": levels[c.key]} if c.key in levels else {})
            for c in tensors.columns
        ]
    return script(schema)


def script(schema: dict[str, Any]) -> str:
    """The text of predict.py for `modality`, `target`, `labels` and, of images, `shape` [height, width, channels]."""
    schema = schema | {"missing": list(tables.MISSING)}
    # The same readers as an H2O model's script: a value means the same to both.
    functions = [getattr(predict_template, name) for name in _READERS]
    parts = ["import datetime", f"SPACES = {predict_template.SPACES!a}"]
    parts += [f'TIME = re.compile(r"""{predict_template.TIME.pattern}""")']
    readers = "\n\n" + "\n\n".join(inspect.getsource(function) for function in functions)
    text = _TEMPLATE.read_text("utf-8")
    line = next(line for line in text.splitlines() if line.startswith("SCHEMA: "))
    text = text.replace(line, f"SCHEMA: dict[str, Any] = {pformat(schema, width=110, compact=True, sort_dicts=False)}")
    imported = next(line for line in text.splitlines() if line.startswith("from runner"))
    text = text.replace(imported + "\n", "\n".join(parts) + "\n")
    return text.replace("\n\ndef by_onnx", readers + "\n\ndef by_onnx", 1)


def _written(path: Path, text: str, kind: str) -> Artifact:
    path.write_text(text, "utf-8")
    return Artifact(path.name, str(path), kind)
