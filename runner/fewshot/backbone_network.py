"""A pretrained ResNet as plain layers, and its features of images of any size."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn

from core.errors import InputError
from core.store import backbones
from core.store.backbones import Layout

_MIN_SIDE = 128  # of the input of a stem of stride 4: smaller images are enlarged
_BATCH_PIXELS = 2**19  # 32 images of 128 x 128


class ImageNetInput(nn.Module):
    """Images 0 to 1 as the input of an ImageNet network: grey as RGB, standardised, resized bilinearly."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.size = (height, width)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean) / self.std
        if tuple(x.shape[2:]) == self.size:
            return x
        return nn.functional.interpolate(x, self.size, mode="bilinear", align_corners=False)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions with `sizes` output channels, and a skip connection."""

    def __init__(self, before: int, sizes: Sequence[int], stride: int, skips: bool) -> None:
        super().__init__()
        inner, after = sizes
        self.conv1 = nn.Conv2d(before, inner, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        skip = (nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        self.downsample = nn.Sequential(*skip) if skips else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(inner)) + self.downsample(x))


class Bottleneck(nn.Module):
    """A 3 x 3 convolution between two of 1 x 1, with `sizes` output channels, and a skip connection."""

    def __init__(self, before: int, sizes: Sequence[int], stride: int, skips: bool) -> None:
        super().__init__()
        inner, middle, after = sizes
        self.conv1 = nn.Conv2d(before, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, middle, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, after, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(after)
        skip = (nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        self.downsample = nn.Sequential(*skip) if skips else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.relu(self.bn1(self.conv1(x)))
        inner = torch.relu(self.bn2(self.conv2(inner)))
        return torch.relu(self.bn3(self.conv3(inner)) + self.downsample(x))


def load(sha256: str) -> nn.Sequential:
    """Return the stored network from standardised images [rows, 3, height, width] to features [rows, n], in float32.

    It is in evaluation mode, without gradients. Raises InputError if the file is missing, is not a ResNet, or has
    values that are not finite.
    """
    path, layout = backbones.locate(sha256)
    with safe_open(path, framework="pt") as file:
        state = {name: file.get_tensor(layout.prefix + name).float() for name in layout.shapes}
    if wrong := next((name for name, value in state.items() if not value.isfinite().all()), None):
        raise InputError(
            f"{wrong} of the file {sha256[:12]} has values that are not finite.",
            field="backbone",
            value=sha256,
            remedy="Save the weights again.",
        )
    network = _network(layout)
    network.load_state_dict({_layer_name(name): value for name, value in state.items()}, strict=False)
    return network.eval().requires_grad_(False)


def input_layer(network: nn.Sequential, height: int, width: int) -> ImageNetInput:
    """Return the layer before the network for images of this size; a stem of stride 4 needs a side of at least 128."""
    strided = network.get_submodule("conv1").get_parameter("weight").shape[2] == 7
    scale = max(1.0, _MIN_SIDE / min(height, width)) if strided else 1.0
    return ImageNetInput(round(height * scale), round(width * scale))


@torch.no_grad()
def feature_batches(network: nn.Sequential, images: Tensor) -> Iterator[Tensor]:
    """Yield the features float32 [rows, n] of images uint8 [rows, channels, height, width], grey or RGB, in batches."""
    device = next(network.parameters()).device
    prepare = input_layer(network, *images.shape[2:]).to(device)
    size = max(1, _BATCH_PIXELS // (prepare.size[0] * prepare.size[1]))
    for part in images.split(size):
        x = prepare(part.to(device).float() / 255)
        yield network(x.contiguous(memory_format=torch.channels_last)).cpu()


def extract_features(network: nn.Sequential, pixels: np.ndarray) -> Tensor:
    """Return the features float32 [n, features] of images uint8 [n, height, width, channels]."""
    images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    return torch.cat(list(feature_batches(network, images)))


def _network(layout: Layout) -> nn.Sequential:
    channels = layout.shapes["conv1.weight"][0]
    strided = layout.stem == 7
    layers: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(3, channels, layout.stem, 2 if strided else 1, layout.stem // 2, bias=False),
        "bn1": nn.BatchNorm2d(channels),
        "relu": nn.ReLU(),
    }
    if strided:
        layers["maxpool"] = nn.MaxPool2d(3, 2, 1)
    for layer, count in enumerate(layout.blocks, 1):
        for number in range(count):
            # The names of the children of a Sequential must not have dots.
            layers[f"layer{layer}_{number}"] = _block(layout, f"layer{layer}.{number}", 2 if layer > 1 > number else 1)
    return nn.Sequential(OrderedDict(layers | {"pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten()}))


def _block(layout: Layout, name: str, stride: int) -> nn.Module:
    shapes = layout.shapes
    before, skips = shapes[f"{name}.conv1.weight"][1], f"{name}.downsample.0.weight" in shapes
    sizes = [shapes[f"{name}.conv{place}.weight"][0] for place in range(1, 4 if layout.bottleneck else 3)]
    return (Bottleneck if layout.bottleneck else BasicBlock)(before, sizes, stride, skips)


def _layer_name(name: str) -> str:
    """Return layer1_0.conv1.weight for layer1.0.conv1.weight."""
    layer, dot, rest = name.partition(".")
    return f"{layer}_{rest}" if layer.startswith("layer") else layer + dot + rest


def constructor_call(layer: nn.Module) -> str:
    """Return the Python call that makes a layer of this module."""
    if isinstance(layer, ImageNetInput):
        return f"ImageNetInput{layer.size}"
    assert isinstance(layer, BasicBlock | Bottleneck)
    convolutions = [layer.conv1, layer.conv2] + ([layer.conv3] if isinstance(layer, Bottleneck) else [])
    sizes = [convolution.out_channels for convolution in convolutions]
    strided = layer.conv2 if isinstance(layer, Bottleneck) else layer.conv1
    skips = isinstance(layer.downsample, nn.Sequential)
    return f"{type(layer).__name__}({layer.conv1.in_channels}, {sizes}, {strided.stride[0]}, {skips})"
