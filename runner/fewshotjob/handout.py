"""The adapted classifier to take away: its weights and, of images, a plain network with a script that predicts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from core.datasets import Dataset
from core.events import Artifact, Event, Message
from core.fewshot import Initialisation as Stored
from runner.fewshot.networks import EPSILON, Conv4, Weights
from runner.fewshotjob import initialisation
from runner.fewshotjob.initialisation import Initialisation
from runner.launch import Context
from runner.nas import export
from runner.nas.fronts import Pixels
from runner.nasjob.handout import script

_README = """\
{title}

model.onnx            the classifier for ONNX Runtime, its input scaling included
model.py              the same as plain PyTorch
weights.pt            its weights
predict.py            predicts an image file, or a folder of them
adapted.safetensors   the adapted weights as they were learned, to go on from

    python predict.py images/ predictions.csv

predict.py needs Python 3.11+, numpy, onnxruntime and Pillow; with --torch it uses model.py and weights.pt and needs
torch instead of onnxruntime. An image of another size or mode is converted. The norms of the network are fixed to what
they were on the examples that it has learned from, so that an image's prediction depends on no other image.
"""


def handout(
    context: Context, stored: Stored, start: Initialisation, weights: Weights, x: Tensor, labels: Sequence[str]
) -> Iterator[Event]:
    """Write down a task's weights (without a task axis), and of images a network; x is its support [rows, ...]."""
    folder = context.directory / "artifacts"
    folder.mkdir(exist_ok=True)
    path = folder / "adapted.safetensors"
    own = {name: weights[name] for name in start.network.shapes()}
    inner = replace(start.inner, learned_rates=False)
    initialisation.save(replace(start, weights=own, inner=inner), path)
    yield Artifact(path.name, str(path), "adapted_weights")
    if start.inputs["kind"] != "image":
        return
    if not isinstance(start.network, Conv4):
        yield Message(f"Of a {type(start.network).__name__} only the weights are kept, not a network as ONNX.")
        return
    title = f"{stored.algorithm} from job {stored.job_id}, adapted to " + _classes(labels)
    yield from _written(context.dataset, start, title, plain(start.network, own, x), labels, folder)


def plain(network: Conv4, weights: Weights, x: Tensor) -> nn.Sequential:
    """The adapted network of torch's own layers, the norms fixed to the statistics of the support x [rows, ...]."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    hidden = x
    for layer in range(4):
        weight = weights[f"conv{layer}"].detach()
        convolution = nn.Conv2d(weight.shape[1], weight.shape[0], 3, 2, 1, bias=False)
        norm = nn.BatchNorm2d(weight.shape[0], EPSILON)
        convolution.weight.data.copy_(weight)
        norm.weight.data.copy_(weights[f"scale{layer}"])
        norm.bias.data.copy_(weights[f"shift{layer}"])
        with torch.no_grad():
            found = convolution(hidden)
            variance, mean = torch.var_mean(found, (0, 2, 3), correction=0)
            norm.running_mean, norm.running_var = mean, variance
            hidden = torch.relu(norm.eval()(found))
        layers |= {f"conv{layer}": convolution, f"norm{layer}": norm, f"relu{layer}": nn.ReLU()}
    head = nn.Linear(network.width, network.n_outputs)
    head.weight.data.copy_(weights["head.weight"])
    head.bias.data.copy_(weights["head.bias"])
    layers |= {"pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "head": head}
    return nn.Sequential(layers).eval()


def front(channels: int) -> Pixels:
    """Pixel values 0 to 255 as the engine has them, 0 to 1."""
    found = Pixels(channels)
    found.std.fill_(255.0)
    return found


def _written(
    dataset: Dataset, start: Initialisation, title: str, network: nn.Module, labels: Sequence[str], folder: Path
) -> Iterator[Event]:
    shape = start.inputs["shape"]
    before = front(shape[2])
    text = export.source(network, before, title, labels)
    example = torch.zeros(2, shape[2], shape[0], shape[1], dtype=torch.uint8)
    files = export.write(export.module(text, network, before, None), text, example, folder)
    for kind, path in files.items():
        yield Artifact(path.name, str(path), kind)
    target = dataset.target if dataset.modality == "image" else "label"
    schema = {"modality": "image", "target": target, "labels": list(labels), "shape": list(shape)}
    texts = {"predict.py": (script(schema), "nas_script"), "README.txt": (_README.format(title=title), "nas_readme")}
    for name, (content, kind) in texts.items():
        (folder / name).write_text(content, "utf-8")
        yield Artifact(name, str(folder / name), kind)


def _classes(labels: Sequence[str]) -> str:
    plain_labels = [" ".join(label.replace('"', "'").replace("\\", "/").split()) for label in labels[:5]]
    return ", ".join(plain_labels) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")
