"""A ResNet's weights of random numbers with torchvision's names, and its features computed by torch's own layers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from core.store import backbones
from tests.pictures import pixels

State = dict[str, Tensor]
SMALL, SMALL_BLOCKS = (8, 8, 12, 16), (1, 2, 1, 1)


def resnet(widths: Sequence[int], blocks: Sequence[int], *, bottleneck: bool = False, stem: int = 7) -> State:
    """A state dict of random numbers by torchvision's names."""
    generator = torch.Generator().manual_seed(0)
    state: State = {}

    def convolution(name: str, norm: str, before: int, after: int, side: int) -> int:
        deviation = (2 / (before * side * side)) ** 0.5
        state[f"{name}.weight"] = deviation * torch.randn(after, before, side, side, generator=generator)
        for part in ("weight", "running_var"):
            state[f"{norm}.{part}"] = 0.5 + torch.rand(after, generator=generator)
        for part in ("bias", "running_mean"):
            state[f"{norm}.{part}"] = 0.2 * torch.randn(after, generator=generator)
        state[f"{norm}.num_batches_tracked"] = torch.tensor(7)
        return after

    before = convolution("conv1", "bn1", 3, widths[0], stem)
    for layer, (width, count) in enumerate(zip(widths, blocks, strict=True), 1):
        for number in range(count):
            name, entry = f"layer{layer}.{number}", before
            sizes = ((1, width), (3, width), (1, 4 * width)) if bottleneck else ((3, width), (3, width))
            for place, (side, after) in enumerate(sizes, 1):
                before = convolution(f"{name}.conv{place}", f"{name}.bn{place}", before, after, side)
            if number == 0 and (layer > 1 or entry != before):
                convolution(f"{name}.downsample.0", f"{name}.downsample.1", entry, before, 1)
    return state | {"fc.weight": torch.zeros(10, before), "fc.bias": torch.zeros(10)}


def plain_features(state: State, images: Tensor, size: tuple[int, int]) -> Tensor:
    """What torchvision's network makes of images uint8 [n, channels, height, width] before fc, all in float64."""
    state = {name: value.double() for name, value in state.items()}

    def convolved(x: Tensor, name: str, norm: str, stride: int) -> Tensor:
        weight = state[f"{name}.weight"]
        x = F.conv2d(x, weight, None, stride, weight.shape[2] // 2)
        parts = (state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts)

    x = images.double().expand(-1, 3, -1, -1) / 255
    x = x - torch.tensor([0.485, 0.456, 0.406]).double().view(3, 1, 1)
    x = x / torch.tensor([0.229, 0.224, 0.225]).double().view(3, 1, 1)
    x = F.interpolate(x, size, mode="bilinear", align_corners=False)
    large = state["conv1.weight"].shape[2] == 7
    x = convolved(x, "conv1", "bn1", 2 if large else 1).relu()
    x = F.max_pool2d(x, 3, 2, 1) if large else x
    names = dict.fromkeys(name[: name.index(".", 7)] for name in state if name.startswith("layer"))
    for name in names:
        stride = 2 if name.endswith(".0") and not name.startswith("layer1") else 1
        skip = x
        if f"{name}.downsample.0.weight" in state:
            skip = convolved(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
        count = 3 if f"{name}.conv3.weight" in state else 2
        for place in range(1, count + 1):
            strided = stride if place == (2 if count == 3 else 1) else 1
            x = convolved(x, f"{name}.conv{place}", f"{name}.bn{place}", strided)
            x = x.relu() if place < count else (x + skip).relu()
    return x.mean((2, 3))


def store(folder: Path, state: State) -> str:
    """Store the weights; returns their sha256."""
    save_file(state, folder / "weights.safetensors")
    return backbones.store(folder / "weights.safetensors", "weights.safetensors")


def noise_images(n: int, height: int, width: int, channels: int = 3) -> Tensor:
    """Images uint8 [n, channels, height, width], each unlike the others."""
    every = np.stack([pixels(number, height, width, channels) for number in range(n)])
    return torch.from_numpy(np.ascontiguousarray(every.transpose(0, 3, 1, 2)))


def changed(**changes: Tensor | None) -> State:
    """A small ResNet's weights with other tensors, or without those that are None; "__" in a name means a dot."""
    state = resnet(SMALL, SMALL_BLOCKS)
    changes = {name.replace("__", "."): value for name, value in changes.items()}
    return {name: value for name, value in (state | changes).items() if value is not None}
