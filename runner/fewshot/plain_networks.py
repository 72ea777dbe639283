"""An adapted network of plain PyTorch layers, which predicts images without Metascout."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from runner.fewshot import backbone_network
from runner.fewshot.initialisation_file import LoadedInitialisation
from runner.fewshot.learning.task_networks import STATISTICS_PREFIX, Adapter, Conv4, ResNet, Weights
from runner.shared import export
from runner.shared.input_scaling import Pixels


class Residual(nn.Module):
    """Two convolutions and a skip connection; the last norm and ReLU come after the sum."""

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


CALLS: export.Calls = {
    Residual: lambda layer: f"Residual({layer.first.in_channels}, {layer.first.out_channels})",
}
BACKBONE_CALLS: export.Calls = dict.fromkeys(
    (backbone_network.ImageNetInput, backbone_network.BasicBlock, backbone_network.Bottleneck),
    backbone_network.constructor_call,
)


def layer_calls(start: LoadedInitialisation) -> export.Calls:
    """Return how layers that are not torch's own are built in the source of the initialisation's network."""
    return BACKBONE_CALLS if isinstance(start.network, Adapter) else CALLS


def plain_network(network: Conv4 | ResNet, weights: Weights, x: Tensor) -> nn.Sequential:
    """Return the adapted network as plain layers; its norms use the stored statistics, or those of the support x."""
    layers = _conv4(weights) if isinstance(network, Conv4) else _resnet(weights)
    model = nn.Sequential(OrderedDict(layers | _ending(weights))).eval()
    if not any(name.startswith(STATISTICS_PREFIX) for name in weights):
        _fix(model, x)
    return model


def adapter_network(start: LoadedInitialisation, weights: Weights) -> nn.Sequential:
    """Return the pretrained network, a linear layer that standardises and adapts its features, and the head.

    It predicts images of the recipe's shape. Raises InputError if the file of pretrained weights is missing.
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
    """Return a norm, by the names of its scale and shift; its epsilon is the engine's."""
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
    """Set each norm's statistics to those of its inputs for x, which the engine uses in each task."""

    def fix(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        variance, mean = torch.var_mean(inputs[0], (0, 2, 3), correction=0)
        _set(norm.get_buffer("running_mean"), mean)
        _set(norm.get_buffer("running_var"), variance)

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(fix) for norm in norms]
    network(x)
    for hook in hooks:
        hook.remove()


def pixel_scaling(channels: int) -> Pixels:
    """Return the scaling of pixel values 0 to 255 to the engine's, 0 to 1."""
    scaling = Pixels(channels)
    scaling.std.fill_(255.0)
    return scaling
