"""A finalist as plain PyTorch source, and the files that are downloaded with every network of a search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from core.datasets import Dataset
from core.events import Artifact
from runner.nas.space.networks import Attention, Perceptron, Reader
from runner.nas.tensors import DatasetTensors
from runner.shared import export
from runner.shared.deploy import image_schema, network_readme, table_schema, write_predictor
from runner.shared.input_scaling import InputScaling

_NOTES = """\
In a program of your own:

    from model import load
    model = load("weights.pt")

The top of model.py says what the model takes and returns."""
_UNKNOWN = {
    "image": "",
    "text": "Words are looked up in lower case; those that the train rows did not have count as unknown.\n",
    "table": "A category that the train rows did not have counts as unknown, like a missing one.\n",
}
_ATTENTION: export.Calls = {Attention: lambda layer: f"Attention({layer.out.in_features}, {layer.heads})"}


def model_source(network: nn.Module, scaling: InputScaling, title: str, labels: Sequence[str]) -> str:
    """Return the text of model.py for a network of a search space."""
    statements: list[str] = []
    if isinstance(network, Perceptron):
        starts = f"torch.tensor({network.starts.tolist()}, dtype=torch.long)"
        statements += [f"self.numeric, self.residual = {network.numeric}, {network.residual}"]
        statements += [f'self.register_buffer("starts", {starts}, persistent=False)']
        statements += ["self.embed = None"] if network.embed is None else []
    attends = isinstance(network, Reader) and network.block == "transformer"
    if isinstance(network, Reader):
        statements += [f"self.block = {network.block!r}"]
        if attends:
            statements += [f"self.places = nn.Parameter(torch.zeros{tuple(network.places.shape)})"]
    return export.source(network, scaling, title, labels, _ATTENTION if attends else {}, statements)


def write_shared_files(dataset: Dataset, tensors: DatasetTensors, directory: Path) -> Iterator[Artifact]:
    """Write predict.py with its files, once for all networks of a job."""
    directory.mkdir(exist_ok=True)
    notes = _UNKNOWN[dataset.modality] + _NOTES
    title = f"{dataset.name}: predict {dataset.target!r}"
    readme = network_readme(title, dataset.modality == "image", notes)
    yield from write_predictor(directory, _schema(dataset, tensors), readme)


def _schema(dataset: Dataset, tensors: DatasetTensors) -> dict[str, Any]:
    if dataset.modality == "image":
        return image_schema("onnx", dataset.target, dataset.labels, **tensors.schema)
    schema = table_schema(dataset, "onnx", tensors.columns, **tensors.schema)
    for column in schema["columns"]:
        if column["key"] in tensors.levels:
            column["levels"] = tensors.levels[column["key"]]
    return schema
