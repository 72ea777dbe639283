"""The files that are downloaded with an adapted classifier: its weights and, of images, a network with predict.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from core.datasets import Dataset
from core.events import Artifact, Event, Message
from core.results.initialisations import Initialisation
from runner.fewshot import initialisation_file
from runner.fewshot.initialisation_file import LoadedInitialisation
from runner.fewshot.learning.inner_loop import RATE_PREFIX
from runner.fewshot.learning.task_networks import Adapter, Conv4, ResNet, Weights
from runner.fewshot.plain_networks import adapter_network, layer_calls, pixel_scaling, plain_network
from runner.shared import export
from runner.shared.context import Context
from runner.shared.deploy import image_schema, network_readme, write_predictor

_NOTES = "The norms of the network are fixed, so that an image's prediction depends on no other image."
_WEIGHTS = {"adapted.safetensors": "the adapted weights as they were learned, for further training"}


def write_files(
    context: Context,
    stored: Initialisation,
    start: LoadedInitialisation,
    weights: Weights,
    x: Tensor,
    labels: Sequence[str],
) -> Iterator[Event]:
    """Write the adapted weights of a task (without a task axis) and, of images, a network with predict.py.

    x is the task's support set [rows, ...].
    """
    folder = context.artifacts
    folder.mkdir(exist_ok=True)
    path = folder / "adapted.safetensors"
    own = {name: value for name, value in weights.items() if not name.startswith(RATE_PREFIX)}
    inner = replace(start.inner, learned_rates=False)
    initialisation_file.save(replace(start, weights=own, inner=inner), path)
    yield Artifact(path.name, str(path), "adapted_weights")
    if start.recipe["kind"] != "image":
        return
    if not isinstance(start.network, Conv4 | ResNet | Adapter):
        yield Message(f"Of a {type(start.network).__name__} only the weights are saved, not a network as ONNX.")
        return
    title = f"{stored.algorithm} from job {stored.job_id}, adapted to " + _classes(labels)
    network = (
        adapter_network(start, own) if isinstance(start.network, Adapter) else plain_network(start.network, own, x)
    )
    yield from _network_files(context.dataset, start, title, network, labels, folder)


def _network_files(
    dataset: Dataset, start: LoadedInitialisation, title: str, network: nn.Module, labels: Sequence[str], folder: Path
) -> Iterator[Event]:
    shape = start.recipe["shape"]
    scaling = pixel_scaling(shape[2])
    text = export.source(network, scaling, title, labels, layer_calls(start))
    example = torch.zeros(2, shape[2], shape[0], shape[1], dtype=torch.uint8)
    files = export.write(export.module(text, network, scaling, None), text, example, folder)
    for kind, path in files.items():
        yield Artifact(path.name, str(path), kind)
    target = dataset.target if dataset.modality == "image" else "label"
    readme = network_readme(title, True, _NOTES, _WEIGHTS, "classifier")
    yield from write_predictor(folder, image_schema("onnx", target, labels, shape), readme)


def _classes(labels: Sequence[str]) -> str:
    plain_labels = [" ".join(label.replace('"', "'").replace("\\", "/").split()) for label in labels[:5]]
    return ", ".join(plain_labels) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")
