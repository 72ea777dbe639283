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
from core.results.initialisations import Initialisation
from runner.fewshot import backbone_network, initialisation_file
from runner.fewshot.initialisation_file import LoadedInitialisation
from runner.fewshot.learning.inner_loop import RATE_PREFIX
from runner.fewshot.learning.task_networks import STATISTICS_PREFIX, Adapter, Conv4, ResNet, Weights
from runner.nas.deploy import script
from runner.nas.space import export
from runner.nas.space.input_scaling import Pixels
from runner.shared.context import Context

_README = """\
{title}

model.onnx            the classifier for ONNX Runtime, its input scaling included
model.py              the same as plain PyTorch
weights.pt            its weights
predict.py            predicts an image file, or a folder of them
adapted.safetensors   the adapted weights as they were learned, to go on from

    python predict.py images/ predictions.csv

predict.py needs Python 3.11+, numpy, onnxruntime and Pillow; with --torch it uses model.py and weights.pt and needs
torch instead of onnxruntime. An image of another size or mode is converted. The norms of the network are fixed, so
that an image's prediction depends on no other image.
"""


def handout(
    context: Context,
    stored: Initialisation,
    start: LoadedInitialisation,
    weights: Weights,
    x: Tensor,
    labels: Sequence[str],
) -> Iterator[Event]:
    """Write down a task's weights (without a task axis), and of images a network; x is its support [rows, ...]."""
    folder = context.directory / "artifacts"
    folder.mkdir(exist_ok=True)
    path = folder / "adapted.safetensors"
    own = {name: value for name, value in weights.items() if not name.startswith(RATE_PREFIX)}
    inner = replace(start.inner, learned_rates=False)
    initialisation_file.save(replace(start, weights=own, inner=inner), path)
    yield Artifact(path.name, str(path), "adapted_weights")
    if start.recipe["kind"] != "image":
        return
    if not isinstance(start.network, Conv4 | ResNet | Adapter):
        yield Message(f"Of a {type(start.network).__name__} only the weights are kept, not a network as ONNX.")
        return
    title = f"{stored.algorithm} from job {stored.job_id}, adapted to " + _classes(labels)
    network = adapted(start, own) if isinstance(start.network, Adapter) else plain(start.network, own, x)
    yield from _written(context.dataset, start, title, network, labels, folder)


class Residual(nn.Module):
    """Two convolutions beside a skip; the last norm and ReLU come after the sum."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, 2, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(after)
        self.second = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.skip = nn.Conv2d(before, after, 1, 2, bias=False)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second(torch.relu(self.first_norm(self.first(x))))
        return torch.relu(self.norm(inner + self.skip(x)))


_CALLS: export.Calls = {
    Residual: lambda layer: f"Residual({layer.first.in_channels}, {layer.first.out_channels})",
}
_BACKBONE_CALLS: export.Calls = dict.fromkeys(
    (backbone_network.ImageNetInput, backbone_network.BasicBlock, backbone_network.Bottleneck),
    backbone_network.constructor_call,
)


def _calls(start: LoadedInitialisation) -> export.Calls:
    return _BACKBONE_CALLS if isinstance(start.network, Adapter) else _CALLS


def plain(network: Conv4 | ResNet, weights: Weights, x: Tensor) -> nn.Sequential:
    """The adapted network of plain layers; its norms have the stored statistics, or those of the support x."""
    layers = _conv4(weights) if isinstance(network, Conv4) else _resnet(weights)
    model = nn.Sequential(OrderedDict(layers | _ending(weights))).eval()
    if not any(name.startswith(STATISTICS_PREFIX) for name in weights):
        _fix(model, x)
    return model


def adapted(start: LoadedInitialisation, weights: Weights) -> nn.Sequential:
    """The pretrained network with the adapter as one linear layer behind it, which standardises, too, and the head.

    For images of the recipe's shape. Raises InputError where the pretrained weights are not kept any more.
    """
    recipe = start.recipe
    network = backbone_network.load(recipe["backbone"])
    mean, std = (torch.tensor(recipe[name], dtype=torch.float64) for name in ("mean", "std"))
    weight = (torch.eye(len(mean)) + weights["adapter.weight"].detach().cpu()).double() / std
    layer = nn.Linear(len(mean), len(mean))
    _set(layer.weight, weight)
    _set(layer.bias, weights["adapter.bias"].detach().cpu().double() - weight @ mean)
    before = {"resize": backbone_network.input_layer(network, *recipe["shape"][:2])}
    layers = dict(network.named_children()) | {"adapter": layer, "head": _head(weights)}
    return nn.Sequential(OrderedDict(before | layers)).eval()


def _conv4(weights: Weights) -> dict[str, nn.Module]:
    layers: dict[str, nn.Module] = {}
    for layer in range(4):
        layers[f"conv{layer}"] = _convolution(weights[f"conv{layer}"])
        layers[f"norm{layer}"] = _norm(weights, f"scale{layer}", f"shift{layer}")
        layers[f"relu{layer}"] = nn.ReLU()
    return layers


def _resnet(weights: Weights) -> dict[str, nn.Module]:
    norm = _norm(weights, "stem.scale", "stem.shift")
    layers: dict[str, nn.Module] = {"conv": _convolution(weights["stem.weight"]), "norm": norm, "relu": nn.ReLU()}
    for block in (f"block{number}" for number in range(3)):
        after, before = weights[f"{block}.skip"].shape[:2]
        layers[block] = layer = Residual(before, after)
        _set(layer.first.weight, weights[f"{block}.first.weight"])
        _set(layer.second.weight, weights[f"{block}.second.weight"])
        _set(layer.skip.weight, weights[f"{block}.skip"])
        layer.first_norm = _norm(weights, f"{block}.first.scale", f"{block}.first.shift")
        layer.norm = _norm(weights, f"{block}.second.scale", f"{block}.second.shift")
    return layers


def _ending(weights: Weights) -> dict[str, nn.Module]:
    return {"pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "head": _head(weights)}


def _head(weights: Weights) -> nn.Linear:
    n_outputs, width = weights["head.weight"].shape
    head = nn.Linear(width, n_outputs)
    _set(head.weight, weights["head.weight"])
    _set(head.bias, weights["head.bias"])
    return head


def _convolution(weight: Tensor) -> nn.Conv2d:
    after, before, side, _ = weight.shape
    layer = nn.Conv2d(before, after, side, 2, 1, bias=False)
    _set(layer.weight, weight)
    return layer


def _norm(weights: Weights, scale: str, shift: str) -> nn.BatchNorm2d:
    """A norm by the names of its scale and shift; its epsilon is the engine's."""
    layer = nn.BatchNorm2d(len(weights[scale]))
    _set(layer.weight, weights[scale])
    _set(layer.bias, weights[shift])
    for place, kind in (("running_mean", "mean"), ("running_var", "variance")):
        if (stored := weights.get(f"{STATISTICS_PREFIX}{scale}.{kind}")) is not None:
            _set(layer.get_buffer(place), stored)
    return layer


def _set(place: Tensor, value: Tensor) -> None:
    with torch.no_grad():
        place.copy_(value)


@torch.no_grad()
def _fix(network: nn.Module, x: Tensor) -> None:
    """Fix each norm's statistics to those of what reaches it of x, as the engine takes them in each task."""

    def fix(norm: nn.Module, given: tuple[Tensor]) -> None:
        variance, mean = torch.var_mean(given[0], (0, 2, 3), correction=0)
        _set(norm.get_buffer("running_mean"), mean)
        _set(norm.get_buffer("running_var"), variance)

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(fix) for norm in norms]
    network(x)
    for hook in hooks:
        hook.remove()


def front(channels: int) -> Pixels:
    """Pixel values 0 to 255 as the engine has them, 0 to 1."""
    found = Pixels(channels)
    found.std.fill_(255.0)
    return found


def _written(
    dataset: Dataset, start: LoadedInitialisation, title: str, network: nn.Module, labels: Sequence[str], folder: Path
) -> Iterator[Event]:
    shape = start.recipe["shape"]
    before = front(shape[2])
    text = export.source(network, before, title, labels, _calls(start))
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
