"""How a population of one bucket computes: layer by layer, one call for each kind of operation present."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import torch
import torch.nn.functional as F
from torch import Tensor

from runner.nas.space.networks import category_starts
from runner.nas.space.spaces import (
    AUGMENTS,
    CATEGORY_WIDTH,
    OPERATIONS,
    ImageDesign,
    ImageSpace,
    TableDesign,
    TableSpace,
)
from runner.nas.training.draws import Draws, augmented, drop
from runner.nas.training.fast_convolutions import convolve
from runner.nas.training.routes import Mixed, Pass, Passage, passage, runs_of
from runner.nas.training.weights import Slot

Views = dict[str, Tensor]
PASSIVE = ("max3", "avg3", "skip")  # neither weights nor activation


@dataclass(frozen=True)
class Chunk:
    """The candidates that do one kind of operation in a layer, those of equal activation together."""

    kind: str
    key: str
    members: tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """Chunks of a layer whose candidates end with `width` channels."""

    chunks: tuple[Chunk, ...]
    width: int

    @property
    def order(self) -> list[int]:
        """The candidates as they lie after this layer."""
        return [member for chunk in self.chunks for member in chunk.members]


class ImageStack:
    """Chains of one stem width: activations [rows, candidates x channels, height, width], channels last."""

    def __init__(self, space: ImageSpace, designs: Sequence[ImageDesign], device: torch.device) -> None:
        self.space, self.designs, self.device = space, designs, device
        self.width = designs[0].width
        self.layers: list[Layer] = []
        self.slots: list[Slot] = []
        self.buffers: list[Slot] = []
        everyone = list(range(len(designs)))
        self._add("stem", {i: designs[i].recipe.augment for i in everyone}, space.shape[0], self.width)
        width = self.width
        for index in range(len(space.positions)):
            if index:
                self._add(f"reduce{index}", dict.fromkeys(everyone, "reduce"), width, 2 * width)
                width *= 2
            for place in range(max(len(design.stages[index]) for design in designs)):
                named = {i: (*designs[i].stages[index], *["skip"] * (place + 1))[place] for i in everyone}
                self._add(f"stage{index}_{place}", named, width, width)
        self.passages = self._passages()
        self.last = torch.tensor(_inverse(self.layers[-1].order), device=device)
        self._slot("head.weight", "head.linear.weight", everyone, (space.outputs, width))
        self._slot("head.bias", "head.linear.bias", everyone, (space.outputs,))
        self.dropout = torch.tensor([design.recipe.dropout for design in designs], dtype=torch.float64)[
            :, None, None
        ].to(device)
        self.drops = any(design.recipe.dropout for design in designs)

    def forward(self, views: Views, buffers: Views, x: Tensor, draws: Draws | None) -> Tensor:
        """Outputs [candidates, rows, outputs]; with draws in training mode, without in evaluation mode."""
        done = self._stem(views, buffers, x, draws)
        for layer, way in zip(self.layers[1:], self.passages[:-1], strict=True):
            parts = Pass.apply(way, *done)
            done = [
                _operate(chunk, part, views, buffers, draws is not None)
                for chunk, part in zip(layer.chunks, parts, strict=True)
            ]
        pooled = Pass.apply(self.passages[-1], *done)[0].view(len(x), len(self.designs), -1)
        hidden = pooled.index_select(1, self.last).transpose(0, 1)
        if draws is not None and self.drops:
            hidden = drop(hidden, draws.dropout[0], self.dropout.to(hidden.dtype))
        return torch.baddbmm(views["head.bias"].unsqueeze(1), hidden, views["head.weight"].transpose(1, 2))

    def _stem(self, views: Views, buffers: Views, x: Tensor, draws: Draws | None) -> list[Tensor]:
        done = []
        for chunk in self.layers[0].chunks:
            source = x if draws is None else augmented(x, chunk.kind, draws)
            _, inputs, height, width = source.shape
            source = source.contiguous(memory_format=torch.channels_last)
            # Said once more for images of one channel, whose layout could be either one.
            source = source.as_strided(source.shape, (inputs * height * width, 1, inputs * width, inputs))
            out = F.conv2d(source, views[f"{chunk.key}.conv.weight"].flatten(0, 1), stride=self.space.stride, padding=1)
            done.append(_normalise(chunk, out, views, buffers, draws is not None))
        return done

    def _add(self, name: str, kinds: dict[int, str], inputs: int, outputs: int) -> None:
        """A layer in which each candidate does its kind of operation; equal activations lie together in a chunk."""
        ranks = {kind: rank for rank, kind in enumerate((*AUGMENTS, "reduce", *OPERATIONS))}
        chunks = []
        for kind in sorted(set(kinds.values()), key=ranks.__getitem__):
            members = [i for i, its in kinds.items() if its == kind]
            members.sort(key=lambda i: (self.designs[i].activation, i))
            chunks.append(Chunk(kind, f"{name}.{kind}", tuple(members)))
            self._slots(name, chunks[-1], inputs, outputs)
        self.layers.append(Layer(tuple(chunks), outputs))

    def _passages(self) -> list[Passage]:
        """The way from each layer to the next, and out of the last one."""
        ways = []
        for layer, after in zip_longest(self.layers, self.layers[1:]):
            places = {member: place for place, member in enumerate(layer.order)}
            picks = [[places[i] for i in chunk.members] for chunk in after.chunks] if after else []
            active = [
                [None if chunk.kind in PASSIVE else self.designs[i].activation for i in chunk.members]
                for chunk in layer.chunks
            ]
            ways.append(passage(layer.width, active, picks, self.device))
        return ways

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
    """Perceptrons of one width: activations [candidates, rows, width], the deepest candidates first."""

    def __init__(self, space: TableSpace, designs: Sequence[TableDesign], device: torch.device) -> None:
        self.space, self.designs = space, designs
        self.buffers: list[Slot] = []
        order = sorted(range(len(designs)), key=lambda i: (-designs[i].depth, designs[i].activation, i))
        self.counts = [sum(d.depth > layer for d in designs) for layer in range(max(d.depth for d in designs))]
        self.slots = self._slots(order)
        self.runs = [runs_of([designs[i].activation for i in order[:count]]) for count in self.counts]
        self.last = torch.tensor(_inverse(order), device=device)
        self.starts = category_starts(space).to(device)
        picked = [designs[i] for i in order]
        self.residual = torch.tensor([float(d.residual) for d in picked], dtype=torch.float64)[:, None, None].to(device)
        self.residuals = [any(d.residual for d in picked[:count]) for count in self.counts]
        self.dropout = torch.tensor([d.recipe.dropout for d in picked], dtype=torch.float64)[:, None, None].to(device)
        self.drops = any(d.recipe.dropout for d in picked)

    def forward(self, views: Views, buffers: Views, x: Tensor, draws: Draws | None) -> Tensor:
        """Outputs [candidates, rows, outputs]; with draws in training mode, without in evaluation mode."""
        x, finished = self._enter(views, x), []
        for index, count in enumerate(self.counts):
            if count < len(x) and index:
                finished.append(x[count:])
                x = x[:count]
            new = self._layer(views, index, count, x, draws)
            residual = index and self.residuals[index]
            x = torch.addcmul(new, x, self.residual[:count].to(x.dtype)) if residual else new
        x = torch.cat([x, *reversed(finished)])
        out = torch.baddbmm(views["head.bias"].unsqueeze(1), x, views["head.weight"].transpose(1, 2))
        return out.index_select(0, self.last)

    def _layer(self, views: Views, index: int, count: int, x: Tensor, draws: Draws | None) -> Tensor:
        bias, weight = views[f"{index}.linear.bias"], views[f"{index}.linear.weight"]
        hidden = torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))
        hidden = F.layer_norm(hidden, hidden.shape[-1:])
        scale, shift = views[f"{index}.norm.weight"], views[f"{index}.norm.bias"]
        hidden = torch.addcmul(shift.unsqueeze(1), hidden, scale.unsqueeze(1))
        hidden = Mixed.apply(hidden, self.runs[index])
        if draws is None or not self.drops:
            return hidden
        return drop(hidden, draws.dropout[index], self.dropout[:count].to(x.dtype))

    def _enter(self, views: Views, x: Tensor) -> Tensor:
        count = len(self.designs)
        numbers = x[:, : self.space.numeric].expand(count, -1, -1)
        if not self.space.categories:
            return numbers
        table = views["embed"].transpose(0, 1).flatten(1)
        codes = x[:, self.space.numeric :].long() + self.starts
        found = F.embedding(codes, table).view(*codes.shape, count, CATEGORY_WIDTH)
        return torch.cat([numbers, found.permute(2, 0, 1, 3).flatten(2)], 2)

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
        x = convolve(x, weight, count, spread=2 if chunk.kind == "dilated3" else 1)
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
