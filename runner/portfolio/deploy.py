"""What a portfolio hands out: each model as a skops file, and one script that predicts a file with any of them."""

from __future__ import annotations

import importlib
import inspect
import pickle
from collections.abc import Iterator
from pathlib import Path
from pprint import pformat
from typing import Any

import sklearn

from core.datasets import Dataset
from core.datasets.files import tables
from core.events import Artifact
from runner.automl import predict_template
from runner.automl.deploy import reads
from runner.shared import rows

_TEMPLATE = Path(__file__).with_name("skops_template.py")
_READERS = ("find_delimiter", "names", "clean", "convert", "seconds")
_LARGEST_BYTES = 200 * 2**20
_README = """\
{name}: predict {target!r}

model.skops   the model with its preprocessing, a scikit-learn pipeline in the skops format
predict.py    predicts {what}

    python predict.py {given} predictions.csv

predict.py needs Python 3.11+, scikit-learn {version}, skops and pandas{more}. The skops format holds no program: only
types of scikit-learn and numpy, which predict.py names, are loaded. {reading}
"""


def possible() -> bool:
    """Whether models can be written down here. Loads what writes them, so that forks of this process need not."""
    try:
        importlib.import_module("skops.io")  # takes seconds: it looks for every estimator of scikit-learn
    except ImportError:
        return False
    return True


def keep(model: Any, path: Path) -> Path | None:
    """Write a fitted pipeline as a skops file; None where it is too large to be worth it."""
    import skops.io

    if len(pickle.dumps(model)) > _LARGEST_BYTES:
        return None
    skops.io.dump(model, path)
    return path


def handout(dataset: Dataset, directory: Path) -> Iterator[Artifact]:
    """Write the script and the read-me, once for all models of a job."""
    yield _written(directory / "predict.py", _script(dataset), "skops_script")
    image = dataset.modality == "image"
    text = _README.format(
        name=dataset.name, target=dataset.target, version=sklearn.__version__,
        what="an image file, or a folder of them" if image else "a CSV file",
        given="images/" if image else "rows.csv", more=", and Pillow" if image else "",
        reading="An image of another size or mode is converted." if image
        else "A category that the train rows did not have counts as unknown.",
    )  # fmt: skip
    yield _written(directory / "README.txt", text, "skops_readme")


def _script(dataset: Dataset) -> str:
    schema: dict[str, Any] = {"modality": dataset.modality, "target": dataset.target, "labels": list(dataset.labels)}
    schema["missing"] = list(tables.MISSING)
    if dataset.modality == "image":
        schema["shape"] = next(list(column.shape) for column in dataset.features if column.shape)
        schema["columns"] = []
    else:
        schema["columns"] = [
            {"name": c.name, "key": c.key, "type": reads(dataset, c), "text": c.type == "text"}
            for c in dataset.features
        ]
    # The same readers as an H2O model's script: a value means the same to both.
    functions = [getattr(predict_template, name) for name in _READERS]
    parts = ["import datetime\nimport math\nimport re", f"SPACES = {predict_template.SPACES!a}"]
    parts += [f"_PIXELS = {rows._PIXELS}", "Array = Any", f'TIME = re.compile(r"""{predict_template.TIME.pattern}""")']
    sources = [inspect.getsource(function) for function in (*functions, rows.flat)]
    text = _TEMPLATE.read_text("utf-8")
    line = next(line for line in text.splitlines() if line.startswith("SCHEMA: "))
    text = text.replace(line, f"SCHEMA: dict[str, Any] = {pformat(schema, width=110, compact=True, sort_dicts=False)}")
    imported = [line for line in text.splitlines() if line.startswith("from runner")]
    text = text.replace("\n".join(imported) + "\n", "\n".join(parts) + "\n")
    return text.replace("\n\ndef write", "\n\n" + "\n\n".join(sources) + "\n\ndef write", 1)


def _written(path: Path, text: str, kind: str) -> Artifact:
    path.write_text(text, "utf-8")
    return Artifact(path.name, str(path), kind)
