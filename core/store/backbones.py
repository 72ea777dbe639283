"""Pretrained weights for few-shot learning: files of a ResNet with torchvision's names, checked before storing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from core.errors import InputError
from core.store import artifacts

TensorShape = tuple[int, ...]
TensorShapes = dict[str, TensorShape]
NORM = ("weight", "bias", "running_mean", "running_var")
_FIRST = "layer1.0.conv1.weight"  # in every ResNet; what precedes it is the prefix of all names
_BLOCK = re.compile(r"layer([1-9])\.(\d{1,3})\.")
_FLOATS = ("F64", "F32", "F16", "BF16")
_HOW = (
    "Write such a file from a torchvision ResNet with "
    'safetensors.torch.save_file(model.state_dict(), "resnet18.safetensors").'
)


@dataclass(frozen=True, slots=True)
class Layout:
    """The ResNet of a file: the shapes of its tensors, the prefix of their names in the file, and blocks per layer."""

    prefix: str
    shapes: TensorShapes
    blocks: tuple[int, ...]
    bottleneck: bool

    @property
    def stem(self) -> int:
        """The side of the first kernel: 7 (with stride 2 and pooling), or 3 for small images."""
        return self.shapes["conv1.weight"][2]

    @property
    def n_features(self) -> int:
        """The length of an image's feature vector."""
        last = f"layer{len(self.blocks)}.{self.blocks[-1] - 1}.conv{3 if self.bottleneck else 2}.weight"
        return self.shapes[last][0]


def store(path: Path, name: str) -> str:
    """Store a user's file of weights, and return the sha256 for a spec; `name` is the user's name of the file.

    Raises InputError for a file that is not a safetensors file, or not a ResNet.
    """
    read_layout(path, name)
    return artifacts.store(path)[0]


def locate(sha256: str) -> tuple[Path, Layout]:
    """Return a stored file and its layout. Raises InputError if it is missing, or not a ResNet."""
    path, name = artifacts.locate(sha256), f"the file {sha256[:12]}"
    if not path.exists():
        raise InputError(
            f"There is no stored file of weights {sha256[:12]}.",
            field="backbone",
            value=sha256,
            remedy="Store the same file again, with `python -m core fewshot-weights FILE` or in the form, or choose "
            "another network.",
        )
    return path, read_layout(path, name)


def read_layout(path: Path, name: str) -> Layout:
    """Return the ResNet of a safetensors file, by the names and shapes of its tensors.

    A prefix common to all names ("module.", "backbone.") is removed; fc.* and counters of batches are ignored. The
    blocks are basic blocks, or bottlenecks, which have a third convolution (He et al. 2016). Raises InputError if the
    file is not a ResNet.
    """
    every = _shapes(path, name)
    prefixes = sorted((key.removesuffix(_FIRST) for key in every if key.endswith(_FIRST)), key=len)
    if not prefixes:
        names = f"conv1.weight, bn1.weight, {_FIRST}, ..."
        raise _error(f"{name} has no ResNet with torchvision's names ({names}).", _HOW)
    shapes = {key.removeprefix(prefixes[0]): shape for key, shape in every.items() if key.startswith(prefixes[0])}
    blocks, bottleneck = _blocks(shapes), "layer1.0.conv3.weight" in shapes
    expected = _expected(shapes, blocks, bottleneck)
    _check(shapes, expected, name)
    return Layout(prefixes[0], expected, blocks, bottleneck)


def _error(text: str, remedy: str) -> InputError:
    return InputError(text, field="backbone", remedy=remedy)


def _blocks(shapes: TensorShapes) -> tuple[int, ...]:
    """Return the blocks of each layer, by the highest numbers among the names; `_check` reports gaps."""
    counts: dict[int, int] = {}
    for key in shapes:
        if block := _BLOCK.match(key):
            layer, number = map(int, block.groups())
            counts[layer] = max(counts.get(layer, 1), number + 1)
    return tuple(counts.get(layer, 1) for layer in range(1, max(counts) + 1))


def _shapes(path: Path, name: str) -> TensorShapes:
    """Return the shapes of all tensors except counters."""
    try:
        with safe_open(path, framework="numpy") as file:
            # A slice reads only the header.
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 (it is no dict)
            every = {key: (tuple(part.get_shape()), str(part.get_dtype())) for key, part in slices.items()}
    except (OSError, SafetensorError) as error:
        raise _error(f"{name} is not a safetensors file ({error}).", _HOW) from None
    tensors = {key: value for key, value in every.items() if not key.endswith("num_batches_tracked")}
    for key, (_, kind) in tensors.items():
        if kind not in _FLOATS and _is_feature_weight(key):
            raise _error(f"{key} of {name} has the type {kind}.", "Save the weights as floats, such as float32.")
    return {key: shape for key, (shape, _) in tensors.items()}


def _is_feature_weight(key: str) -> bool:
    """Return whether a tensor of this name belongs to the layers that compute the features."""
    return re.search(r"(^|\.)(conv1|bn1|layer\d)\.", key) is not None


def _expected(shapes: TensorShapes, blocks: tuple[int, ...], bottleneck: bool) -> TensorShapes:
    """Return the tensors of such a network in their order; sizes that may vary are those of the file."""
    side = 3 if shapes.get("conv1.weight", ())[2:] == (3, 3) else 7
    expected = _convolution(shapes, "conv1", "bn1", 3, side)
    before = expected["conv1.weight"][0]
    for layer, count in enumerate(blocks, 1):
        for number in range(count):
            block = f"layer{layer}.{number}"
            skips = f"{block}.downsample.0.weight" in shapes or (layer > 1 and number == 0)
            expected |= _block(shapes, block, before, bottleneck, skips)
            before = expected[f"{block}.conv{3 if bottleneck else 2}.weight"][0]
    return expected


def _block(shapes: TensorShapes, block: str, before: int, bottleneck: bool, skips: bool) -> TensorShapes:
    expected: TensorShapes = {}
    inner, sides = before, (1, 3, 1) if bottleneck else (3, 3)
    for place, side in enumerate(sides, 1):
        name = f"{block}.conv{place}"
        # A skip without a convolution needs as many outputs as inputs.
        after = before if place == len(sides) and not skips else None
        expected |= _convolution(shapes, name, f"{block}.bn{place}", inner, side, after)
        inner = expected[f"{name}.weight"][0]
    if skips:
        expected |= _convolution(shapes, f"{block}.downsample.0", f"{block}.downsample.1", before, 1, inner)
    return expected


def _convolution(
    shapes: Mapping[str, TensorShape], name: str, norm: str, before: int, side: int, after: int | None = None
) -> TensorShapes:
    """Return a convolution and its norm; `after` are the output channels, None those of the file."""
    n = next(iter(shapes.get(f"{name}.weight", ())), 0) if after is None else after
    return {f"{name}.weight": (n, before, side, side)} | {f"{norm}.{part}": (n,) for part in NORM}


def _check(shapes: TensorShapes, expected: TensorShapes, name: str) -> None:
    """Raise InputError for the first tensor that is missing, of another shape, or of another kind of network."""
    for key, shape in expected.items():
        if key not in shapes:
            raise _error(f"{name} has no {key}, which a ResNet needs.", _HOW)
        if shapes[key] != shape or 0 in shape:
            raise _error(
                f"{key} of {name} has the shape {list(shapes[key])}, but {list(shape)} fits the tensors before it. It "
                "is not a plain ResNet for RGB images.",
                "Choose another file.",
            )
    if other := next((key for key in shapes if key not in expected and re.match(r"(conv1|bn1|layer\d)\.", key)), None):
        raise _error(f"{name} has {other}, which is not part of torchvision's ResNets.", f"Choose one of those. {_HOW}")
