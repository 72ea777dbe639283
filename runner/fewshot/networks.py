"""Networks as functions of their weights, for many tasks at once: the first axis of every tensor is the task.

A network turns inputs [tasks, rows, ...] into features [tasks, rows, n]; a linear head makes outputs of them. Weights
are a dict of tensors [tasks, *shape]: each task has its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from runner.fewshot.convolutions import convolve, convolve_patches, patches
from runner.fewshot.norms import normalised

Weights = dict[str, Tensor]
HEAD = ("head.weight", "head.bias")
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

    def features(self, weights: Weights, x: Tensor, n_statistics: int | None = None) -> Tensor:
        """Features [tasks, rows, width] of images [tasks, rows, channels, height, width].

        Batch norm takes its statistics from each task's first `n_statistics` rows. None means all rows, so that a
        row's features depend on the others (transductive, where the rows are those to be predicted).
        """
        tasks, rows = x.shape[:2]
        hidden = patches(x)
        for layer in range(4):
            hidden = (convolve if layer else convolve_patches)(hidden, weights[f"conv{layer}"])
            scale, shift = weights[f"scale{layer}"].flatten(), weights[f"shift{layer}"].flatten()
            hidden = normalised(hidden, scale, shift, n_statistics)
        return hidden.mean((2, 3)).view(rows, tasks, self.width).transpose(0, 1)

    def n_activations(self, shape: Sequence[int]) -> int:
        """Numbers that the layers make of one row of this shape, without its task and row axes."""
        _, height, width = shape
        sides = [(-(-height // 2**layer), -(-width // 2**layer)) for layer in range(1, 5)]
        return self.width * sum(h * w for h, w in sides)


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

    def features(self, weights: Weights, x: Tensor, n_statistics: int | None = None) -> Tensor:
        """Features [tasks, rows, width]."""
        for layer in range(2):
            x = linear(x, weights[f"weight{layer}"], weights[f"bias{layer}"])
            x = _ACTIVATIONS[self.activation](x)
        return x

    def n_activations(self, shape: Sequence[int]) -> int:
        """Numbers that the layers make of one row."""
        return 2 * self.width


Network = Conv4 | MLP


def head(weights: Weights, features: Tensor) -> Tensor:
    """Outputs [tasks, rows, outputs] of features."""
    return linear(features, weights["head.weight"], weights["head.bias"])


def outputs(network: Network, weights: Weights, x: Tensor, n_statistics: int | None = None) -> Tensor:
    """Outputs [tasks, rows, outputs] of inputs; `n_statistics` as in `Conv4.features`."""
    return head(weights, network.features(weights, x, n_statistics))


def initial(network: Network, seed: int, dtype: torch.dtype = torch.float32) -> Weights:
    """Weights of one task, without a task axis: He's normal numbers, a head of zeros, norms that change nothing.

    A head of zeros makes no difference between classes, whose numbers an episode hands out by chance.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in network.shapes().items():
        if name.startswith("scale"):
            weights[name] = torch.ones(shape, dtype=dtype)
        elif name.startswith("bias"):
            # Spread, so that the kinks of a network of few inputs are not all at zero.
            n_inputs = network.shapes()[name.replace("bias", "weight")][1]
            weights[name] = torch.randn(shape, generator=generator, dtype=dtype) / math.sqrt(n_inputs)
        elif len(shape) == 1 or name in HEAD:
            weights[name] = torch.zeros(shape, dtype=dtype)
        else:
            deviation = math.sqrt(2 / math.prod(shape[1:]))
            weights[name] = torch.randn(shape, generator=generator, dtype=dtype) * deviation
    return weights


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A linear layer of each task: x [tasks, rows, inputs], weight [tasks, outputs, inputs]."""
    return torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))


def _head_shapes(n_outputs: int, width: int) -> dict[str, tuple[int, ...]]:
    return {"head.weight": (n_outputs, width), "head.bias": (n_outputs,)}
