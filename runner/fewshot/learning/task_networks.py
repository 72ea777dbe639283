"""Networks as functions of their weights, for many tasks at once: the first axis of every tensor is the task.

A network turns inputs [tasks, rows, ...] into features [tasks, rows, n]; a linear head makes outputs of them. Weights
are a dict of tensors [tasks, *shape]: each task has its own.
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

from runner.fewshot.learning.convolutions import Patches, convolve, patches
from runner.fewshot.learning.norms import moments, normalised, normalised_patches, output_moments

Weights = dict[str, Tensor]
Inputs = Any  # what a network's `prepared` makes for its `features`, which no weight changes
HEAD = ("head.weight", "head.bias")
ADAPTER = ("adapter.weight", "adapter.bias")
STATISTICS = "statistics."  # begins the names of stored means and variances of a network's norms
STORED = 0  # "the statistics of the first 0 rows"
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "tanh": torch.tanh}


@dataclass(frozen=True)
class Conv4:
    """Four convolutions of stride 2 with batch norm, then the mean over positions.

    Without a bias before the norm, which would take it away.
    """

    channels: int
    n_outputs: int
    width: int = 64

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each weight of one task."""
        found: dict[str, tuple[int, ...]] = {}
        for layer in range(4):
            found[f"conv{layer}"] = (self.width, self.width if layer else self.channels, 3, 3)
            found[f"scale{layer}"] = found[f"shift{layer}"] = (self.width,)
        return found | _head_shapes(self.n_outputs, self.width)

    def prepared(self, x: Tensor) -> Inputs:
        """What `features` takes of images [tasks, rows, channels, height, width]."""
        return patches(x)

    def features(
        self, weights: Weights, x: Inputs, n_statistics: int | None = None, measured: Weights | None = None
    ) -> Tensor:
        """Features [tasks, rows, width] of what `prepared` has made of images.

        Batch norm takes its statistics from each task's first `n_statistics` rows, or those in the weights (STORED).
        None means all rows, so that a row's features depend on the others (transductive, where the rows are those to
        be predicted). `measured` is given each norm's statistics of all rows.
        """
        tasks, rows = x.shape[:2]
        hidden = _first(weights, ("conv0", "scale0", "shift0"), x, n_statistics, measured)
        for layer in range(1, 4):
            names = f"scale{layer}", f"shift{layer}"
            hidden = _norm(weights, names, convolve(hidden, weights[f"conv{layer}"]), n_statistics, measured)
        return hidden.mean((2, 3)).view(rows, tasks, self.width).transpose(0, 1)

    def n_activations(self, shape: Sequence[int]) -> int:
        """Numbers that the layers make of one row of this shape, without its task and row axes."""
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
        """Shape of each weight of one task."""
        found: dict[str, tuple[int, ...]] = _convolution_shapes("stem", self.channels, self.width)
        for block, (before, after) in enumerate(itertools.pairwise(self.widths)):
            found |= _convolution_shapes(f"block{block}.first", before, after)
            found |= _convolution_shapes(f"block{block}.second", after, after)
            found[f"block{block}.skip"] = (after, before, 1, 1)
        return found | _head_shapes(self.n_outputs, self.widths[-1])

    def prepared(self, x: Tensor) -> Inputs:
        """What `features` takes of images, as of Conv4."""
        return patches(x)

    def features(
        self, weights: Weights, x: Inputs, n_statistics: int | None = None, measured: Weights | None = None
    ) -> Tensor:
        """Features [tasks, rows, 2 * width] of what `prepared` has made of images; batch norm as in Conv4."""
        tasks, rows = x.shape[:2]

        def norm(hidden: Tensor, name: str) -> Tensor:
            return _norm(weights, (f"{name}.scale", f"{name}.shift"), hidden, n_statistics, measured)

        hidden = _first(weights, ("stem.weight", "stem.scale", "stem.shift"), x, n_statistics, measured)
        for block in range(3):
            name = f"block{block}"
            inner = norm(convolve(hidden, weights[f"{name}.first.weight"]), f"{name}.first")
            inner = convolve(inner, weights[f"{name}.second.weight"], 1)
            # The norm comes after the sum, so that one kind of norm, with ReLU, serves all.
            hidden = norm(inner + convolve(hidden, weights[f"{name}.skip"]), f"{name}.second")
        return hidden.mean((2, 3)).view(rows, tasks, -1).transpose(0, 1)

    def n_activations(self, shape: Sequence[int]) -> int:
        """Numbers that the layers make of one row of this shape, without its task and row axes."""
        _, height, width = shape
        areas = [-(-height // 2**layer) * -(-width // 2**layer) for layer in range(1, 5)]
        stem, *blocks = (wide * area for wide, area in zip(self.widths, areas, strict=True))
        return stem + 3 * sum(blocks)


@dataclass(frozen=True)
class TextMean:
    """The mean of the words' embeddings, then a hidden layer; a word is its number, and 0 is no word."""

    vocabulary: int
    n_outputs: int
    width: int = 64

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each weight of one task."""
        w = self.width
        first = {"words": (self.vocabulary, w), "weight0": (w, w), "bias0": (w,)}
        return first | _head_shapes(self.n_outputs, w)

    def prepared(self, x: Tensor) -> Inputs:
        """What `features` takes: the rows of numbers of words as they are."""
        return x

    def features(
        self, weights: Weights, x: Inputs, n_statistics: int | None = None, measured: Weights | None = None
    ) -> Tensor:
        """Features [tasks, rows, width] of words [tasks, rows, length]."""
        task = torch.arange(len(x), device=x.device).view(-1, 1, 1)
        known = (x > 0).unsqueeze(3).to(weights["words"].dtype)
        mean = (weights["words"][task, x] * known).sum(2) / known.sum(2).clamp_min(1)
        return F.relu(linear(mean, weights["weight0"], weights["bias0"]))

    def n_activations(self, shape: Sequence[int]) -> int:
        """Numbers that the layers make of one row of this shape, without its task and row axes."""
        return self.width * (2 * shape[0] + 2)


@dataclass(frozen=True)
class MLP:
    """Two hidden layers on a table of numbers [tasks, rows, inputs]; it has no batch norm."""

    n_inputs: int = 1
    n_outputs: int = 1
    width: int = 40
    activation: str = "relu"

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each weight of one task."""
        w = self.width
        first = {"weight0": (w, self.n_inputs), "bias0": (w,), "weight1": (w, w), "bias1": (w,)}
        return first | _head_shapes(self.n_outputs, w)

    def prepared(self, x: Tensor) -> Inputs:
        """What `features` takes: the rows as they are."""
        return x

    def features(
        self, weights: Weights, x: Inputs, n_statistics: int | None = None, measured: Weights | None = None
    ) -> Tensor:
        """Features [tasks, rows, width]."""
        for layer in range(2):
            x = linear(x, weights[f"weight{layer}"], weights[f"bias{layer}"])
            x = _ACTIVATIONS[self.activation](x)
        return x

    def n_activations(self, shape: Sequence[int]) -> int:
        """Numbers that the layers make of one row."""
        return 2 * self.width


@dataclass(frozen=True)
class Adapter:
    """What is learned on features [tasks, rows, inputs] of a pretrained network: x + x W^T + b, at first x itself.

    A residual adapter (Rebuffi et al. 2017, arXiv 1705.08045) behind the last layer.
    """

    n_inputs: int
    n_outputs: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each weight of one task."""
        n = self.n_inputs
        return dict(zip(ADAPTER, ((n, n), (n,)), strict=True)) | _head_shapes(self.n_outputs, n)

    def prepared(self, x: Tensor) -> Inputs:
        """What `features` takes: the rows as they are."""
        return x

    def features(
        self, weights: Weights, x: Inputs, n_statistics: int | None = None, measured: Weights | None = None
    ) -> Tensor:
        """Features [tasks, rows, inputs]."""
        return x + linear(x, *(weights[name] for name in ADAPTER))

    def n_activations(self, shape: Sequence[int]) -> int:
        """Numbers that the layers make of one row."""
        return 2 * self.n_inputs


@dataclass(frozen=True)
class Known:
    """No network: the inputs [tasks, rows, n] are features already."""

    n_features: int
    n_outputs: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each weight of one task: those of the head."""
        return _head_shapes(self.n_outputs, self.n_features)

    def prepared(self, x: Tensor) -> Inputs:
        """What `features` takes: the rows as they are."""
        return x

    def features(
        self, weights: Weights, x: Inputs, n_statistics: int | None = None, measured: Weights | None = None
    ) -> Tensor:
        """The features themselves."""
        return x

    def n_activations(self, shape: Sequence[int]) -> int:
        """None is made."""
        return 0


Network = Conv4 | ResNet | TextMean | MLP | Adapter | Known


def head(weights: Weights, features: Tensor) -> Tensor:
    """Outputs [tasks, rows, outputs] of features."""
    return linear(features, weights["head.weight"], weights["head.bias"])


def outputs(network: Network, weights: Weights, x: Tensor, n_statistics: int | None = None) -> Tensor:
    """Outputs [tasks, rows, outputs] of inputs; `n_statistics` as in `Conv4.features`."""
    return head(weights, network.features(weights, network.prepared(x), n_statistics))


def has_norms(network: Network) -> bool:
    """Whether a row's features can depend on other rows."""
    return any("scale" in name for name in network.shapes())


def statistics(network: Network, meta: Weights, x: Tensor) -> Weights:
    """Means and variances of the norms' inputs over x [rows, ...], under the names by which STORED finds them."""
    found: Weights = {}
    with torch.no_grad():
        network.features(
            {name: value.unsqueeze(0) for name, value in meta.items()}, network.prepared(x[None]), None, found
        )
    return found


def initial(network: Network, seed: int, dtype: torch.dtype = torch.float32) -> Weights:
    """Weights of one task, without a task axis: He's normal numbers, zeros of heads and adapters, plain norms.

    A head of zeros makes no difference between classes, whose numbers an episode hands out by chance.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in network.shapes().items():
        if "scale" in name:
            weights[name] = torch.ones(shape, dtype=dtype)
        elif name.startswith("bias"):
            # Spread, so that the kinks of a network of few inputs are not all at zero.
            n_inputs = network.shapes()[name.replace("bias", "weight")][1]
            weights[name] = torch.randn(shape, generator=generator, dtype=dtype) / math.sqrt(n_inputs)
        elif len(shape) == 1 or name in (*HEAD, *ADAPTER):
            weights[name] = torch.zeros(shape, dtype=dtype)
        else:
            deviation = math.sqrt(2 / math.prod(shape[1:]))
            weights[name] = torch.randn(shape, generator=generator, dtype=dtype) * deviation
    return weights


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A linear layer of each task: x [tasks, rows, inputs], weight [tasks, outputs, inputs]."""
    return torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))


def _first(
    weights: Weights, names: tuple[str, str, str], x: Patches, n_statistics: int | None, measured: Weights | None
) -> Tensor:
    """The first convolution, its batch norm and ReLU, by the names of its weight, scale and shift; x are patches."""
    weight, scale, shift = (weights[name] for name in names)
    stored = [f"{STATISTICS}{names[1]}.{kind}" for kind in ("mean", "variance")]
    if n_statistics == STORED:
        mean, variance = (weights[name] for name in stored)
    else:
        mean, variance = output_moments(x, weight, n_statistics)
    if measured is not None:
        measured |= zip(stored, (mean.flatten(), variance.flatten()), strict=True)
    return normalised_patches(x, weight, scale, shift, (mean, variance))


def _norm(
    weights: Weights, names: tuple[str, str], x: Tensor, n_statistics: int | None, measured: Weights | None
) -> Tensor:
    """Batch norm and ReLU by the scale and shift of these names, [tasks, channels] each."""
    scale, shift = (weights[name].flatten() for name in names)
    stored = [f"{STATISTICS}{names[0]}.{kind}" for kind in ("mean", "variance")]
    if measured is not None:
        measured |= zip(stored, moments(x), strict=True)
    if n_statistics == STORED:
        mean, variance = (weights[name].flatten() for name in stored)
        return normalised(x, scale, shift, (mean, variance))
    return normalised(x, scale, shift, n_statistics)


def _convolution_shapes(name: str, before: int, after: int) -> dict[str, tuple[int, ...]]:
    """A convolution with its norm, which takes a bias away."""
    return {f"{name}.weight": (after, before, 3, 3), f"{name}.scale": (after,), f"{name}.shift": (after,)}


def _head_shapes(n_outputs: int, width: int) -> dict[str, tuple[int, ...]]:
    return {"head.weight": (n_outputs, width), "head.bias": (n_outputs,)}
