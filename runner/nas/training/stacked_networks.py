"""The forward pass of many candidates at once: layer by layer, one call for each kind of operation in the layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import torch
import torch.nn.functional as F
from torch import Tensor

from runner.nas.space.designs import AUGMENTS, CATEGORY_WIDTH, OPERATIONS, ImageDesign, TableDesign
from runner.nas.space.networks import category_starts
from runner.nas.space.spaces import ImageSpace, TableSpace
from runner.nas.training.fast_convolutions import convolve
from runner.nas.training.flat_weights import Slot
from runner.nas.training.noise import Noise, apply_dropout, augment
from runner.nas.training.regrouping import MixedActivation, Regroup, Regrouping, plan_regrouping, run_lengths

Views = dict[str, Tensor]
PASSIVE = ("max3", "avg3", "skip")  # operations without weights and activation


@dataclass(frozen=True)
class Chunk:
    """The candidates that have the same kind of operation in a layer, sorted by activation."""

    kind: str
    key: str
    members: tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """The chunks of a layer; each candidate has `width` channels after it."""

    chunks: tuple[Chunk, ...]
    width: int

    @property
    def order(self) -> list[int]:
        """The order of the candidates after this layer."""
        return [member for chunk in self.chunks for member in chunk.members]


class ImageStack:
    """Chains of one stem width: hidden layers [rows, candidates x channels, height, width], channels last."""

    def __init__(self, space: ImageSpace, designs: Sequence[ImageDesign], device: torch.device) -> None:
        self.space, self.designs, self.device = space, designs, device
        self.width = designs[0].width
        self.layers: list[Layer] = []
        self.slots: list[Slot] = []
        self.buffers: list[Slot] = []
        members = list(range(len(designs)))
        self._add("stem", {i: designs[i].recipe.augment for i in members}, space.shape[0], self.width)
        width = self.width
        for index in range(len(space.positions)):
            if index:
                self._add(f"reduce{index}", dict.fromkeys(members, "reduce"), width, 2 * width)
                width *= 2
            for place in range(max(len(design.stages[index]) for design in designs)):
                kinds = {i: (*designs[i].stages[index], *["skip"] * (place + 1))[place] for i in members}
                self._add(f"stage{index}_{place}", kinds, width, width)
        self.regroupings = self._regroupings()
        self.last = torch.tensor(_inverse(self.layers[-1].order), device=device)
        self._slot("head.weight", "head.linear.weight", members, (space.outputs, width))
        self._slot("head.bias", "head.linear.bias", members, (space.outputs,))
        self.dropout = torch.tensor([design.recipe.dropout for design in designs], dtype=torch.float64)[
            :, None, None
        ].to(device)
        self.drops = any(design.recipe.dropout for design in designs)

    def forward(self, views: Views, buffers: Views, x: Tensor, noise: Noise | None) -> Tensor:
        """Return outputs [candidates, rows, outputs]: with noise in training mode, without it in evaluation mode."""
        chunks = self._stem(views, buffers, x, noise)
        for layer, regrouping in zip(self.layers[1:], self.regroupings[:-1], strict=True):
            parts = Regroup.apply(regrouping, *chunks)
            chunks = [
                _operate(chunk, part, views, buffers, noise is not None)
                for chunk, part in zip(layer.chunks, parts, strict=True)
            ]
        pooled = Regroup.apply(self.regroupings[-1], *chunks)[0].view(len(x), len(self.designs), -1)
        hidden = pooled.index_select(1, self.last).transpose(0, 1)
        if noise is not None and self.drops:
            hidden = apply_dropout(hidden, noise.dropout[0], self.dropout.to(hidden.dtype))
        return torch.baddbmm(views["head.bias"].unsqueeze(1), hidden, views["head.weight"].transpose(1, 2))

    def _stem(self, views: Views, buffers: Views, x: Tensor, noise: Noise | None) -> list[Tensor]:
        results = []
        for chunk in self.layers[0].chunks:
            source = x if noise is None else augment(x, chunk.kind, noise)
            _, inputs, height, width = source.shape
            source = source.contiguous(memory_format=torch.channels_last)
            # The strides are explicit for images of one channel, whose layout is ambiguous.
            source = source.as_strided(source.shape, (inputs * height * width, 1, inputs * width, inputs))
            out = F.conv2d(source, views[f"{chunk.key}.conv.weight"].flatten(0, 1), stride=self.space.stride, padding=1)
            results.append(_normalise(chunk, out, views, buffers, noise is not None))
        return results

    def _add(self, name: str, kinds: dict[int, str], inputs: int, outputs: int) -> None:
        """Add a layer with an operation of these kinds for each candidate; a chunk has equal activations adjacent."""
        ranks = {kind: rank for rank, kind in enumerate((*AUGMENTS, "reduce", *OPERATIONS))}
        chunks = []
        for kind in sorted(set(kinds.values()), key=ranks.__getitem__):
            members = [i for i, own in kinds.items() if own == kind]
            members.sort(key=lambda i: (self.designs[i].activation, i))
            chunks.append(Chunk(kind, f"{name}.{kind}", tuple(members)))
            self._slots(name, chunks[-1], inputs, outputs)
        self.layers.append(Layer(tuple(chunks), outputs))

    def _regroupings(self) -> list[Regrouping]:
        """Return the regrouping after each layer."""
        regroupings = []
        for layer, after in zip_longest(self.layers, self.layers[1:]):
            places = {member: place for place, member in enumerate(layer.order)}
            forward = [[places[i] for i in chunk.members] for chunk in after.chunks] if after else []
            activations = [
                [None if chunk.kind in PASSIVE else self.designs[i].activation for i in chunk.members]
                for chunk in layer.chunks
            ]
            regroupings.append(plan_regrouping(layer.width, activations, forward, self.device))
        return regroupings

    def _slots(self, name: str, chunk: Chunk, inputs: int, outputs: int) -> None:
        if chunk.kind in PASSIVE:
            return
        members, side = chunk.members, int(chunk.kind[-1]) if chunk.kind in OPERATIONS else 3
        if chunk.kind.startswith("separable"):
            self._slot(f"{chunk.key}.deep.weight", f"{name}.deep.weight", members, (outputs, 1, side, side))
            side = 1
        self._slot(f"{chunk.key}.conv.weight", f"{name}.conv.weight", members, (outputs, inputs, side, side))
        for part in ("weight", "bias"):
            self._slot(f"{chunk.key}.norm.{part}", f"{name}.norm.{part}", members, (outputs,))
        for part in ("running_mean", "running_var"):
            self.buffers.append(Slot(f"{chunk.key}.norm.{part}", f"{name}.norm.{part}", members, (outputs,)))

    def _slot(self, key: str, name: str, members: Sequence[int], shape: tuple[int, ...]) -> None:
        self.slots.append(Slot(key, name, tuple(members), shape))


class TableStack:
    """Perceptrons of one width: hidden layers [candidates, rows, width], the deepest candidates first."""

    def __init__(self, space: TableSpace, designs: Sequence[TableDesign], device: torch.device) -> None:
        self.space, self.designs = space, designs
        self.buffers: list[Slot] = []
        order = sorted(range(len(designs)), key=lambda i: (-designs[i].depth, designs[i].activation, i))
        self.counts = [sum(d.depth > layer for d in designs) for layer in range(max(d.depth for d in designs))]
        self.slots = self._slots(order)
        self.runs = [run_lengths([designs[i].activation for i in order[:count]]) for count in self.counts]
        self.last = torch.tensor(_inverse(order), device=device)
        self.starts = category_starts(space).to(device)
        ordered = [designs[i] for i in order]
        self.residual = torch.tensor([float(d.residual) for d in ordered], dtype=torch.float64)[:, None, None].to(
            device
        )
        self.residuals = [any(d.residual for d in ordered[:count]) for count in self.counts]
        self.dropout = torch.tensor([d.recipe.dropout for d in ordered], dtype=torch.float64)[:, None, None].to(device)
        self.drops = any(d.recipe.dropout for d in ordered)

    def forward(self, views: Views, buffers: Views, x: Tensor, noise: Noise | None) -> Tensor:
        """Return outputs [candidates, rows, outputs]: with noise in training mode, without it in evaluation mode."""
        x, results = self._enter(views, x), []
        for index, count in enumerate(self.counts):
            if count < len(x) and index:
                results.append(x[count:])
                x = x[:count]
            new = self._layer(views, index, count, x, noise)
            residual = index and self.residuals[index]
            x = torch.addcmul(new, x, self.residual[:count].to(x.dtype)) if residual else new
        x = torch.cat([x, *reversed(results)])
        out = torch.baddbmm(views["head.bias"].unsqueeze(1), x, views["head.weight"].transpose(1, 2))
        return out.index_select(0, self.last)

    def _layer(self, views: Views, index: int, count: int, x: Tensor, noise: Noise | None) -> Tensor:
        bias, weight = views[f"{index}.linear.bias"], views[f"{index}.linear.weight"]
        hidden = torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))
        hidden = F.layer_norm(hidden, hidden.shape[-1:])
        scale, shift = views[f"{index}.norm.weight"], views[f"{index}.norm.bias"]
        hidden = torch.addcmul(shift.unsqueeze(1), hidden, scale.unsqueeze(1))
        hidden = MixedActivation.apply(hidden, self.runs[index])
        if noise is None or not self.drops:
            return hidden
        return apply_dropout(hidden, noise.dropout[index], self.dropout[:count].to(x.dtype))

    def _enter(self, views: Views, x: Tensor) -> Tensor:
        count = len(self.designs)
        numbers = x[:, : self.space.numeric].expand(count, -1, -1)
        if not self.space.categories:
            return numbers
        table = views["embed"].transpose(0, 1).flatten(1)
        codes = x[:, self.space.numeric :].long() + self.starts
        embedded = F.embedding(codes, table).view(*codes.shape, count, CATEGORY_WIDTH)
        return torch.cat([numbers, embedded.permute(2, 0, 1, 3).flatten(2)], 2)

    def _slots(self, order: list[int]) -> list[Slot]:
        space, width, members = self.space, self.designs[0].width, tuple(order)
        slots = []
        if space.categories:
            slots.append(Slot("embed", "embed.weight", members, (sum(space.categories), CATEGORY_WIDTH)))
        for index, count in enumerate(self.counts):
            inputs = width if index else space.inputs
            shapes = {"linear.weight": (width, inputs), "linear.bias": (width,)}
            shapes |= {"norm.weight": (width,), "norm.bias": (width,)}
            slots += [Slot(f"{index}.{n}", f"layers.{index}.{n}", members[:count], s) for n, s in shapes.items()]
        slots.append(Slot("head.weight", "head.weight", members, (space.outputs, width)))
        return [*slots, Slot("head.bias", "head.bias", members, (space.outputs,))]


def _operate(chunk: Chunk, x: Tensor, views: Views, buffers: Views, training: bool) -> Tensor:
    if chunk.kind == "skip":
        return x
    if chunk.kind == "max3":
        return F.max_pool2d(x, 3, 1, 1)
    if chunk.kind == "avg3":
        return F.avg_pool2d(x, 3, 1, 1)
    count, weight = len(chunk.members), views[f"{chunk.key}.conv.weight"].flatten(0, 1)
    if chunk.kind.startswith("separable"):
        deep = views[f"{chunk.key}.deep.weight"].flatten(0, 1)
        x = convolve(convolve(x, deep, len(deep)), weight, count)
    elif chunk.kind == "reduce":
        x = convolve(x, weight, count, stride=2)
    else:
        x = convolve(x, weight, count, dilation=2 if chunk.kind == "dilated3" else 1)
    return _normalise(chunk, x, views, buffers, training)


def _normalise(chunk: Chunk, x: Tensor, views: Views, buffers: Views, training: bool) -> Tensor:
    mean, variance = buffers[f"{chunk.key}.norm.running_mean"], buffers[f"{chunk.key}.norm.running_var"]
    scale, shift = views[f"{chunk.key}.norm.weight"], views[f"{chunk.key}.norm.bias"]
    return F.batch_norm(x, mean.flatten(), variance.flatten(), scale.flatten(), shift.flatten(), training, 0.1, 1e-5)


def _inverse(order: Sequence[int]) -> list[int]:
    inverse = [0] * len(order)
    for place, item in enumerate(order):
        inverse[item] = place
    return inverse
