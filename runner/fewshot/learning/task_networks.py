"""Networks as functions of their weights, for many tasks at once: the first axis of every tensor is the task.

A network turns inputs [tasks, rows, ...] into features [tasks, rows, n], and a linear head turns those into outputs.
Weights are a dict of tensors [tasks, *shape]: each task has its own. Checkpoints and initialisation files hold the
names and fields of the network classes: do not rename them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from runner.fewshot.learning.batch_norm import moments, normalise, normalise_patches, output_moments
from runner.fewshot.learning.convolutions import Patches, convolve, patches

Weights = dict[str, Tensor]
NetworkInputs = Any  # what a network's `prepare` makes for its `features`; independent of the weights
HEAD = ("head.weight", "head.bias")
ADAPTER = ("adapter.weight", "adapter.bias")
STATISTICS_PREFIX = "statistics."  # of the names of stored means and variances of a network's norms
STORED_STATISTICS = 0  # as `n_statistics`: no rows, but the statistics in the weights
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "tanh": torch.tanh}


@dataclass(frozen=True)
class Conv4:
    """Four convolutions of stride 2 with batch norm, then the mean over positions.

    The convolutions have no bias, as the norm would remove it.
    """

    channels: int
    n_outputs: int
    width: int = 64

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight of one task."""
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(4):
            shapes[f"conv{layer}"] = (self.width, self.width if layer else self.channels, 3, 3)
            shapes[f"scale{layer}"] = shapes[f"shift{layer}"] = (self.width,)
        return shapes | _head_shapes(self.n_outputs, self.width)

    def prepare(self, x: Tensor) -> NetworkInputs:
        """Return what `features` needs of images [tasks, rows, channels, height, width]."""
        return patches(x)

    def features(
        self, weights: Weights, x: NetworkInputs, n_statistics: int | None = None, measurements: Weights | None = None
    ) -> Tensor:
        """Return the features [tasks, rows, width] of images that `prepare` has read.

        Batch norm uses the statistics of each task's first `n_statistics` rows, or the stored ones in the weights
        (STORED_STATISTICS). None means all rows: a row's features then depend on the others (transductive, if the rows
        are those to be predicted). The statistics of each norm over all rows are written to `measurements`.
        """
        tasks, rows = x.shape[:2]
        hidden = _first_layer(weights, ("conv0", "scale0", "shift0"), x, n_statistics, measurements)
        for layer in range(1, 4):
            names = f"scale{layer}", f"shift{layer}"
            hidden = _norm(weights, names, convolve(hidden, weights[f"conv{layer}"]), n_statistics, measurements)
        return hidden.mean((2, 3)).view(rows, tasks, self.width).transpose(0, 1)

    def n_activations(self, shape: Sequence[int]) -> int:
        """Return the activations of one row of this shape, which is without task and row axes."""
        _, height, width = shape
        sides = [(-(-height // 2**layer), -(-width // 2**layer)) for layer in range(1, 5)]
        return self.width * sum(h * w for h, w in sides)


@dataclass(frozen=True)
class ResNet:
    """A strided convolution, then three residual blocks that halve the side and widen (He et al. 2016, basic block)."""

    channels: int
    n_outputs: int
    width: int = 32

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels after the first convolution and after each block."""
        return self.width, self.width, 2 * self.width, 2 * self.width

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight of one task."""
        shapes: dict[str, tuple[int, ...]] = _convolution_shapes("stem", self.channels, self.width)
        for block, (before, after) in enumerate(itertools.pairwise(self.widths)):
            shapes |= _convolution_shapes(f"block{block}.first", before, after)
            shapes |= _convolution_shapes(f"block{block}.second", after, after)
            shapes[f"block{block}.skip"] = (after, before, 1, 1)
        return shapes | _head_shapes(self.n_outputs, self.widths[-1])

    def prepare(self, x: Tensor) -> NetworkInputs:
        """Return what `features` needs of images, as for Conv4."""
        return patches(x)

    def features(
        self, weights: Weights, x: NetworkInputs, n_statistics: int | None = None, measurements: Weights | None = None
    ) -> Tensor:
        """Return the features [tasks, rows, 2 * width] of images that `prepare` has read; batch norm as in Conv4."""
        tasks, rows = x.shape[:2]

        def norm(hidden: Tensor, name: str) -> Tensor:
            return _norm(weights, (f"{name}.scale", f"{name}.shift"), hidden, n_statistics, measurements)

        hidden = _first_layer(weights, ("stem.weight", "stem.scale", "stem.shift"), x, n_statistics, measurements)
        for block in range(3):
            name = f"block{block}"
            inner = norm(convolve(hidden, weights[f"{name}.first.weight"]), f"{name}.first")
            inner = convolve(inner, weights[f"{name}.second.weight"], 1)
            # The norm comes after the sum, so that every norm is followed by ReLU.
            hidden = norm(inner + convolve(hidden, weights[f"{name}.skip"]), f"{name}.second")
        return hidden.mean((2, 3)).view(rows, tasks, -1).transpose(0, 1)

    def n_activations(self, shape: Sequence[int]) -> int:
        """Return the activations of one row of this shape, which is without task and row axes."""
        _, height, width = shape
        areas = [-(-height // 2**layer) * -(-width // 2**layer) for layer in range(1, 5)]
        stem, *blocks = (wide * area for wide, area in zip(self.widths, areas, strict=True))
        return stem + 3 * sum(blocks)


@dataclass(frozen=True)
class TextMean:
    """The mean of the word embeddings, then a hidden layer; inputs are word numbers, 0 is padding."""

    vocabulary: int
    n_outputs: int
    width: int = 64

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight of one task."""
        w = self.width
        first = {"words": (self.vocabulary, w), "weight0": (w, w), "bias0": (w,)}
        return first | _head_shapes(self.n_outputs, w)

    def prepare(self, x: Tensor) -> NetworkInputs:
        """Return what `features` needs: the rows of word numbers, unchanged."""
        return x

    def features(
        self, weights: Weights, x: NetworkInputs, n_statistics: int | None = None, measurements: Weights | None = None
    ) -> Tensor:
        """Return the features [tasks, rows, width] of words [tasks, rows, length]."""
        task = torch.arange(len(x), device=x.device).view(-1, 1, 1)
        mask = (x > 0).unsqueeze(3).to(weights["words"].dtype)
        mean = (weights["words"][task, x] * mask).sum(2) / mask.sum(2).clamp_min(1)
        return F.relu(linear(mean, weights["weight0"], weights["bias0"]))

    def n_activations(self, shape: Sequence[int]) -> int:
        """Return the activations of one row of this shape, which is without task and row axes."""
        return self.width * (2 * shape[0] + 2)


@dataclass(frozen=True)
class MLP:
    """Two hidden layers on numbers [tasks, rows, inputs], without batch norm."""

    n_inputs: int = 1
    n_outputs: int = 1
    width: int = 40
    activation: str = "relu"

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight of one task."""
        w = self.width
        first = {"weight0": (w, self.n_inputs), "bias0": (w,), "weight1": (w, w), "bias1": (w,)}
        return first | _head_shapes(self.n_outputs, w)

    def prepare(self, x: Tensor) -> NetworkInputs:
        """Return what `features` needs: the rows, unchanged."""
        return x

    def features(
        self, weights: Weights, x: NetworkInputs, n_statistics: int | None = None, measurements: Weights | None = None
    ) -> Tensor:
        """Return the features [tasks, rows, width]."""
        for layer in range(2):
            x = linear(x, weights[f"weight{layer}"], weights[f"bias{layer}"])
            x = _ACTIVATIONS[self.activation](x)
        return x

    def n_activations(self, shape: Sequence[int]) -> int:
        """Return the activations of one row."""
        return 2 * self.width


@dataclass(frozen=True)
class Adapter:
    """A layer on the features [tasks, rows, inputs] of a pretrained network: x + x W^T + b, initially x itself.

    A residual adapter (Rebuffi et al. 2017, arXiv 1705.08045) behind the last layer.
    """

    n_inputs: int
    n_outputs: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight of one task."""
        n = self.n_inputs
        return dict(zip(ADAPTER, ((n, n), (n,)), strict=True)) | _head_shapes(self.n_outputs, n)

    def prepare(self, x: Tensor) -> NetworkInputs:
        """Return what `features` needs: the rows, unchanged."""
        return x

    def features(
        self, weights: Weights, x: NetworkInputs, n_statistics: int | None = None, measurements: Weights | None = None
    ) -> Tensor:
        """Return the features [tasks, rows, inputs]."""
        return x + linear(x, *(weights[name] for name in ADAPTER))

    def n_activations(self, shape: Sequence[int]) -> int:
        """Return the activations of one row."""
        return 2 * self.n_inputs


@dataclass(frozen=True)
class Identity:
    """No layers: the inputs [tasks, rows, n] are features already."""

    n_features: int
    n_outputs: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight of one task: those of the head."""
        return _head_shapes(self.n_outputs, self.n_features)

    def prepare(self, x: Tensor) -> NetworkInputs:
        """Return what `features` needs: the rows, unchanged."""
        return x

    def features(
        self, weights: Weights, x: NetworkInputs, n_statistics: int | None = None, measurements: Weights | None = None
    ) -> Tensor:
        """Return the inputs."""
        return x

    def n_activations(self, shape: Sequence[int]) -> int:
        """Return 0: there are no layers."""
        return 0


Network = Conv4 | ResNet | TextMean | MLP | Adapter | Identity


def apply_head(weights: Weights, features: Tensor) -> Tensor:
    """Return the outputs [tasks, rows, outputs] of features."""
    return linear(features, weights["head.weight"], weights["head.bias"])


def outputs(network: Network, weights: Weights, x: Tensor, n_statistics: int | None = None) -> Tensor:
    """Return the outputs [tasks, rows, outputs] of inputs; `n_statistics` as in `Conv4.features`."""
    return apply_head(weights, network.features(weights, network.prepare(x), n_statistics))


def has_norms(network: Network) -> bool:
    """Return whether the network has batch norm, so that a row's features can depend on other rows."""
    return any("scale" in name for name in network.shapes())


def measure_statistics(network: Network, meta: Weights, x: Tensor) -> Weights:
    """Return the means and variances of the norms' inputs over x [rows, ...], by the names of stored statistics."""
    measurements: Weights = {}
    with torch.no_grad():
        weights = {name: value.unsqueeze(0) for name, value in meta.items()}
        network.features(weights, network.prepare(x[None]), None, measurements)
    return measurements


def initial_weights(network: Network, seed: int, dtype: torch.dtype = torch.float32) -> Weights:
    """Return weights of one task, without a task axis: He initialisation, zeros in heads and adapters, plain norms.

    A head of zeros treats all classes alike, as their numbers in an episode are random.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in network.shapes().items():
        if "scale" in name:
            weights[name] = torch.ones(shape, dtype=dtype)
        elif name.startswith("bias"):
            # Random, so that the kinks of a network with few inputs are not all at zero.
            n_inputs = network.shapes()[name.replace("bias", "weight")][1]
            weights[name] = torch.randn(shape, generator=generator, dtype=dtype) / math.sqrt(n_inputs)
        elif len(shape) == 1 or name in (*HEAD, *ADAPTER):
            weights[name] = torch.zeros(shape, dtype=dtype)
        else:
            deviation = math.sqrt(2 / math.prod(shape[1:]))
            weights[name] = torch.randn(shape, generator=generator, dtype=dtype) * deviation
    return weights


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply a linear layer to each task: x [tasks, rows, inputs], weight [tasks, outputs, inputs]."""
    return torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))


def _first_layer(
    weights: Weights, names: tuple[str, str, str], x: Patches, n_statistics: int | None, measurements: Weights | None
) -> Tensor:
    """Apply the first convolution, its norm and ReLU to patches; `names` are those of weight, scale and shift."""
    weight, scale, shift = (weights[name] for name in names)
    stored = [f"{STATISTICS_PREFIX}{names[1]}.{kind}" for kind in ("mean", "variance")]
    if n_statistics == STORED_STATISTICS:
        mean, variance = (weights[name] for name in stored)
    else:
        mean, variance = output_moments(x, weight, n_statistics)
    if measurements is not None:
        measurements |= zip(stored, (mean.flatten(), variance.flatten()), strict=True)
    return normalise_patches(x, weight, scale, shift, (mean, variance))


def _norm(
    weights: Weights, names: tuple[str, str], x: Tensor, n_statistics: int | None, measurements: Weights | None
) -> Tensor:
    """Apply batch norm and ReLU; `names` are those of scale and shift, [tasks, channels] each."""
    scale, shift = (weights[name].flatten() for name in names)
    stored = [f"{STATISTICS_PREFIX}{names[0]}.{kind}" for kind in ("mean", "variance")]
    if measurements is not None:
        measurements |= zip(stored, moments(x), strict=True)
    if n_statistics == STORED_STATISTICS:
        mean, variance = (weights[name].flatten() for name in stored)
        return normalise(x, scale, shift, (mean, variance))
    return normalise(x, scale, shift, n_statistics)


def _convolution_shapes(name: str, before: int, after: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a convolution and its norm; a bias would be useless before the norm."""
    return {f"{name}.weight": (after, before, 3, 3), f"{name}.scale": (after,), f"{name}.shift": (after,)}


def _head_shapes(n_outputs: int, width: int) -> dict[str, tuple[int, ...]]:
    return {"head.weight": (n_outputs, width), "head.bias": (n_outputs,)}
