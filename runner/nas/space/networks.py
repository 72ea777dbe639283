"""One candidate as a plain torch module, which is trained alone or downloaded by the user."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict

import torch
from torch import Tensor, nn

from runner.nas.space.designs import CATEGORY_WIDTH, ImageDesign, TableDesign, TextDesign, canonical_name
from runner.nas.space.spaces import AnySpace, Genotype, ImageSpace, TableSpace, TextSpace

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU}


class Perceptron(nn.Module):
    """A (residual) perceptron over numbers followed by category codes, all in one float tensor [rows, columns]."""

    def __init__(self, space: TableSpace, design: TableDesign) -> None:
        super().__init__()
        self.numeric, self.residual = space.numeric, design.residual
        self.embed = nn.Embedding(sum(space.categories), CATEGORY_WIDTH) if space.categories else None
        self.starts: Tensor
        self.register_buffer("starts", category_starts(space), persistent=False)
        inputs = [space.inputs] + [design.width] * (design.depth - 1)
        self.layers = nn.ModuleList(_build_dense(size, design) for size in inputs)
        self.head = nn.Linear(design.width, space.outputs)

    def forward(self, x: Tensor) -> Tensor:
        if self.embed is not None:
            codes = x[:, self.numeric :].long() + self.starts
            x = torch.cat([x[:, : self.numeric], self.embed(codes).flatten(1)], 1)
        for index, layer in enumerate(self.layers):
            x = x + layer(x) if self.residual and index else layer(x)
        return self.head(x)


class Attention(nn.Module):
    """A pre-norm transformer encoder block of four heads."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        rows, length, width = x.shape
        parts = self.mix(self.before(x)).view(rows, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        score = query @ key.transpose(-1, -2) / math.sqrt(width // self.heads)
        score = score.masked_fill(~real[:, None, None, :], torch.finfo(score.dtype).min)
        mixed = (score.softmax(-1) @ value).transpose(1, 2).reshape(rows, length, width)
        x = x + self.out(mixed)
        return x + self.narrow(torch.relu(self.wide(self.between(x))))


class Reader(nn.Module):
    """A text network over token codes [rows, length]; code 0 is padding and never counts in the mean."""

    def __init__(self, space: TextSpace, design: TextDesign) -> None:
        super().__init__()
        self.block = design.block
        self.embed = nn.Embedding(space.vocabulary, design.embedding, padding_idx=0)
        if design.block == "transformer":
            self.enter = nn.Linear(design.embedding, design.width)
            self.places = nn.Parameter(torch.zeros(space.length, design.width))
        first = design.width if design.block == "transformer" else design.embedding
        inputs = [first] + [design.width] * (design.depth - 1)
        self.blocks = nn.ModuleList(_build_block(design, size) for size in inputs)
        self.dropout = nn.Dropout(design.recipe.dropout)
        self.head = nn.Linear(design.width, space.outputs)

    def forward(self, codes: Tensor) -> Tensor:
        codes = codes.long()
        # A row without a single token still needs a mean.
        real = (codes != 0) | (torch.arange(codes.shape[1], device=codes.device) == 0)
        mask = real.unsqueeze(-1)
        x = self.embed(codes)
        if self.block == "transformer":
            x = self.enter(x) + self.places[: codes.shape[1]]
        for block in self.blocks:
            if self.block == "transformer":
                x = block(x, real)
            elif self.block in ("gru", "lstm"):
                x = block(x)[0]
            else:
                x = torch.relu(block(x.transpose(1, 2))).transpose(1, 2) * mask
        x = (x * mask).sum(1) / mask.sum(1)
        return self.head(self.dropout(x))


def build(space: AnySpace, genotype: Genotype, seed: int | None = None) -> nn.Module:
    """Return the module of one candidate. With a seed its weights depend on the seed and the canonical name only."""
    design = space.decode(genotype)
    if seed is None:
        return _build_module(space, design)
    digest = hashlib.blake2b(f"{seed}:{canonical_name(design)}".encode(), digest_size=7).digest()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int.from_bytes(digest, "big"))
        return _build_module(space, design)


def category_starts(space: TableSpace) -> Tensor:
    """Return where each categorical column's codes start in the shared embedding."""
    ends = torch.tensor(space.categories, dtype=torch.long).cumsum(0)
    return ends - torch.tensor(space.categories, dtype=torch.long)


def _build_module(space: AnySpace, design: ImageDesign | TableDesign | TextDesign) -> nn.Module:
    if isinstance(space, ImageSpace) and isinstance(design, ImageDesign):
        return _build_chain(space, design)
    if isinstance(space, TableSpace) and isinstance(design, TableDesign):
        return Perceptron(space, design)
    assert isinstance(space, TextSpace)
    assert isinstance(design, TextDesign)
    return Reader(space, design)


def _build_chain(space: ImageSpace, design: ImageDesign) -> nn.Module:
    width = design.width
    stem = nn.Conv2d(space.shape[0], width, 3, stride=space.stride, padding=1, bias=False)
    layers = OrderedDict(stem=build_convolution(stem, design))
    for index, stage in enumerate(design.stages):
        if index:
            half = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False)
            layers[f"reduce{index}"] = build_convolution(half, design)
            width *= 2
        for place, name in enumerate(stage):
            layers[f"stage{index}_{place}"] = build_operation(name, width, design)
    head = OrderedDict(
        pool=nn.AdaptiveAvgPool2d(1),
        flat=nn.Flatten(),
        dropout=nn.Dropout(design.recipe.dropout),
        linear=nn.Linear(width, space.outputs),
    )
    return nn.Sequential(OrderedDict(**layers, head=nn.Sequential(head)))


def build_operation(name: str, width: int, design: ImageDesign) -> nn.Module:
    """Return one searched operation, with norm and activation if it is a convolution; it keeps the width."""
    if name == "max3":
        return nn.MaxPool2d(3, 1, 1)
    if name == "avg3":
        return nn.AvgPool2d(3, 1, 1)
    side, spread = int(name[-1]), (2 if name.startswith("dilated") else 1)
    pad = spread * (side - 1) // 2
    if not name.startswith("separable"):
        conv = nn.Conv2d(width, width, side, padding=pad, dilation=spread, bias=False)
        return build_convolution(conv, design)
    deep = nn.Conv2d(width, width, side, padding=pad, groups=width, bias=False)
    return build_convolution(nn.Conv2d(width, width, 1, bias=False), design, deep)


def build_convolution(conv: nn.Conv2d, design: ImageDesign, deep: nn.Module | None = None) -> nn.Module:
    """Return a convolution (after the depthwise one, `deep`, if it is separable) with batch norm and activation."""
    # Batch norm cancels a bias before it, so the convolutions have none.
    parts: OrderedDict[str, nn.Module] = OrderedDict() if deep is None else OrderedDict(deep=deep)
    parts["conv"], parts["norm"] = conv, nn.BatchNorm2d(conv.out_channels)
    parts["activation"] = _ACTIVATIONS[design.activation]()
    return nn.Sequential(parts)


def _build_dense(inputs: int, design: TableDesign) -> nn.Module:
    return nn.Sequential(
        OrderedDict(
            linear=nn.Linear(inputs, design.width),
            norm=nn.LayerNorm(design.width),
            activation=_ACTIVATIONS[design.activation](),
            dropout=nn.Dropout(design.recipe.dropout),
        )
    )


def _build_block(design: TextDesign, inputs: int) -> nn.Module:
    width = design.width
    if design.block == "gru":
        return nn.GRU(inputs, width // 2, batch_first=True, bidirectional=True)
    if design.block == "lstm":
        return nn.LSTM(inputs, width // 2, batch_first=True, bidirectional=True)
    if design.block == "transformer":
        return Attention(width)
    side = int(design.block[-1])
    return nn.Conv1d(inputs, width, side, padding=side // 2)
