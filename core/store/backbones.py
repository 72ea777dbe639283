"""Pretrained weights for few-shot learning: files of a ResNet by torchvision's names, checked before they are kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from core.errors import InputError
from core.store import artifacts

Shape = tuple[int, ...]
Shapes = dict[str, Shape]
NORM = ("weight", "bias", "running_mean", "running_var")
_FIRST = "layer1.0.conv1.weight"  # of every ResNet; what stands before it is the prefix of all names
_BLOCK = re.compile(r"layer([1-9])\.(\d{1,3})\.")
_FLOATS = ("F64", "F32", "F16", "BF16")
_HOW = (
    "Make such a file of a torchvision ResNet by "
    'safetensors.torch.save_file(model.state_dict(), "resnet18.safetensors")'
)


@dataclass(frozen=True, slots=True)
class Layout:
    """The ResNet of a file: `shapes` of its tensors, whose names in the file begin with `prefix`; blocks a layer."""

    prefix: str
    shapes: Shapes
    blocks: tuple[int, ...]
    bottleneck: bool

    @property
    def stem(self) -> int:
        """The side of the first kernel: 7 (with stride 2 and pooling), or 3 for small images."""
        return self.shapes["conv1.weight"][2]

    @property
    def n_features(self) -> int:
        """Numbers that it makes of an image."""
        last = f"layer{len(self.blocks)}.{self.blocks[-1] - 1}.conv{3 if self.bottleneck else 2}.weight"
        return self.shapes[last][0]


def keep(path: Path, name: str) -> str:
    """Put a user's file of weights, which they call `name`, into the store; returns the sha256 for a spec.

    Raises InputError for a file that is no safetensors file, or no ResNet.
    """
    layout(path, name)
    return artifacts.store(path)[0]


def kept(sha256: str) -> tuple[Path, Layout]:
    """A kept file and its layout. Raises InputError where it is not there any more, or no ResNet."""
    path, name = artifacts.locate(sha256), f"the file {sha256[:12]}"
    if not path.exists():
        raise InputError(
            f"backbone: no file of weights is kept as {sha256[:12]}. Keep the same file again, by `python -m core "
            "fewshot-weights FILE` or in the form, or choose another network."
        )
    return path, layout(path, name)


def layout(path: Path, name: str) -> Layout:
    """What ResNet a safetensors file holds, by the names and shapes of its tensors.

    A prefix common to all names ("module.", "backbone.") is taken off; fc.* and counters of batches are ignored. He et
    al. 2016: basic blocks, or bottlenecks, which have a third convolution. Raises InputError where it is none.
    """
    every = _shapes(path, name)
    prefixes = sorted((key.removesuffix(_FIRST) for key in every if key.endswith(_FIRST)), key=len)
    if not prefixes:
        raise InputError(
            f"backbone: {name} holds no ResNet by torchvision's names (conv1.weight, bn1.weight, {_FIRST}, ...). {_HOW}"
            "."
        )
    own = {key.removeprefix(prefixes[0]): shape for key, shape in every.items() if key.startswith(prefixes[0])}
    blocks, bottleneck = _blocks(own), "layer1.0.conv3.weight" in own
    wanted = _wanted(own, blocks, bottleneck)
    _check(own, wanted, name)
    return Layout(prefixes[0], wanted, blocks, bottleneck)


def _blocks(found: Shapes) -> tuple[int, ...]:
    """Blocks of each layer, by the highest numbers among the names; what is missing between them is told later."""
    counts: dict[int, int] = {}
    for key in found:
        if block := _BLOCK.match(key):
            layer, number = map(int, block.groups())
            counts[layer] = max(counts.get(layer, 1), number + 1)
    return tuple(counts.get(layer, 1) for layer in range(1, max(counts) + 1))


def _shapes(path: Path, name: str) -> Shapes:
    """The shapes of all tensors of floats; counters are left out."""
    try:
        with safe_open(path, framework="numpy") as file:
            # A slice reads nothing but the header.
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 (it is no dict)
            every = {key: (tuple(part.get_shape()), str(part.get_dtype())) for key, part in slices.items()}
    except (OSError, SafetensorError) as error:
        raise InputError(f"backbone: {name} is no safetensors file ({error}). {_HOW}.") from None
    found = {key: value for key, value in every.items() if not key.endswith("num_batches_tracked")}
    for key, (_, kind) in found.items():
        if kind not in _FLOATS and _counts(key):
            raise InputError(
                f"backbone: {key} of {name} is of the type {kind}; save the weights as floats, such as float32."
            )
    return {key: shape for key, (shape, _) in found.items()}


def _counts(key: str) -> bool:
    """Whether a tensor of this name belongs to what makes the features."""
    return re.search(r"(^|\.)(conv1|bn1|layer\d)\.", key) is not None


def _wanted(found: Shapes, blocks: tuple[int, ...], bottleneck: bool) -> Shapes:
    """The tensors of such a network in their order; sizes that are free are those found."""
    side = 3 if found.get("conv1.weight", ())[2:] == (3, 3) else 7
    wanted = _convolution(found, "conv1", "bn1", 3, side)
    before = wanted["conv1.weight"][0]
    for layer, count in enumerate(blocks, 1):
        for number in range(count):
            block = f"layer{layer}.{number}"
            skips = f"{block}.downsample.0.weight" in found or (layer > 1 and number == 0)
            wanted |= _block(found, block, before, bottleneck, skips)
            before = wanted[f"{block}.conv{3 if bottleneck else 2}.weight"][0]
    return wanted


def _block(found: Shapes, block: str, before: int, bottleneck: bool, skips: bool) -> Shapes:
    wanted: Shapes = {}
    inner, sides = before, (1, 3, 1) if bottleneck else (3, 3)
    for place, side in enumerate(sides, 1):
        name = f"{block}.conv{place}"
        # Without a convolution beside it the sum needs what came in.
        after = before if place == len(sides) and not skips else None
        wanted |= _convolution(found, name, f"{block}.bn{place}", inner, side, after)
        inner = wanted[f"{name}.weight"][0]
    if skips:
        wanted |= _convolution(found, f"{block}.downsample.0", f"{block}.downsample.1", before, 1, inner)
    return wanted


def _convolution(
    found: Mapping[str, Shape], name: str, norm: str, before: int, side: int, after: int | None = None
) -> Shapes:
    """A convolution and the norm behind it; `after` channels, or as many as it has."""
    n = next(iter(found.get(f"{name}.weight", ())), 0) if after is None else after
    return {f"{name}.weight": (n, before, side, side)} | {f"{norm}.{part}": (n,) for part in NORM}


def _check(found: Shapes, wanted: Shapes, name: str) -> None:
    """Raises InputError for the first tensor that is missing, of another shape, or of another kind of network."""
    for key, shape in wanted.items():
        if key not in found:
            raise InputError(f"backbone: {name} has no {key}, which a ResNet needs. {_HOW}.")
        if found[key] != shape or 0 in shape:
            raise InputError(
                f"backbone: {key} of {name} has the shape {list(found[key])}, and {list(shape)} fits the tensors "
                "before it: it is no plain ResNet of RGB images. Choose another file."
            )
    if other := next((key for key in found if key not in wanted and re.match(r"(conv1|bn1|layer\d)\.", key)), None):
        raise InputError(
            f"backbone: {name} has {other}, which is no part of torchvision's ResNets. Choose one of theirs. {_HOW}."
        )
