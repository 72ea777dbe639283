"""An architecture as a list of layers, for people to see."""

from __future__ import annotations

import torch
from torch import nn

from runner.nas.networks import Attention, Perceptron, Reader
from runner.nas.spaces import AnySpace, ImageSpace

_NAMES = {"Conv2d": "convolution", "MaxPool2d": "max pooling", "AvgPool2d": "average pooling", "Conv1d": "convolution"}


def layers(space: AnySpace, network: nn.Module) -> list[dict[str, str]]:
    """The layers in order, each with `name`, `detail` and the shape that comes `out` for one row."""
    if isinstance(network, Perceptron):
        return _perceptron(network)
    if isinstance(network, Reader):
        return _reader(network, space)
    assert isinstance(space, ImageSpace)
    found = [{"name": "Image", "detail": "standardised by channel", "out": _by(space.shape)}]
    x = torch.zeros(1, *space.shape)
    with torch.no_grad():
        for name, child in network.named_children():
            x = child(x)
            found.append({"name": _title(name), "detail": _detail(child), "out": _by(tuple(x.shape[1:]))})
    return found


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, (*shape[1:], shape[0])))


def _title(name: str) -> str:
    if name.startswith("stage"):
        stage, place = name.removeprefix("stage").split("_")
        return f"Stage {int(stage) + 1}, layer {int(place) + 1}"
    return {"stem": "Stem", "head": "Head"}.get(name, "Half the side")


def _detail(child: nn.Module) -> str:
    """What a block of an image network is made of, e.g. "3x3 convolution, stride 2, ReLU"."""
    parts = []
    for layer in child.modules():
        if isinstance(layer, nn.Conv2d):
            deep = "depthwise " if layer.groups > 1 else ""
            spread = f", dilated by {layer.dilation[0]}" if layer.dilation[0] > 1 else ""
            stride = f", stride {layer.stride[0]}" if layer.stride[0] > 1 else ""
            parts.append(f"{deep}{layer.kernel_size[0]}x{layer.kernel_size[1]} convolution{spread}{stride}")
        elif isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
            parts.append(f"{layer.kernel_size}x{layer.kernel_size} {_NAMES[type(layer).__name__]}")
        elif isinstance(layer, nn.AdaptiveAvgPool2d):
            parts.append("mean over the image")
        elif isinstance(layer, nn.BatchNorm2d):
            parts.append("batch norm")
        elif not list(layer.children()) and not isinstance(layer, nn.Flatten):
            parts.append(_single(layer))
    return ", ".join(filter(None, parts))


def _single(layer: nn.Module) -> str:
    if isinstance(layer, nn.Dropout):
        return f"dropout {layer.p:g}" if layer.p else ""
    return "linear" if isinstance(layer, nn.Linear) else type(layer).__name__


def _perceptron(network: Perceptron) -> list[dict[str, str]]:
    embed = network.embed
    columns = f"{network.numeric} numbers"
    if embed is not None:
        columns += f", {len(network.starts)} categories as {embed.embedding_dim} numbers each"
    inputs = network.numeric + (embed.embedding_dim * len(network.starts) if embed is not None else 0)
    found = [{"name": "Columns", "detail": columns, "out": str(inputs)}]
    for index, layer in enumerate(network.layers):
        _, _, activation, dropout = layer.children()
        parts = ["linear", "layer norm", type(activation).__name__, _single(dropout)]
        parts += ["added to its input"] if network.residual and index else []
        detail = ", ".join(filter(None, parts))
        found.append({"name": f"Layer {index + 1}", "detail": detail, "out": str(network.head.in_features)})
    return [*found, {"name": "Head", "detail": "linear", "out": str(network.head.out_features)}]


def _reader(network: Reader, space: AnySpace) -> list[dict[str, str]]:
    length = f"{getattr(space, 'length', '')}"
    embed, width = network.embed, network.head.in_features
    detail = f"{embed.num_embeddings:,} words as {embed.embedding_dim} numbers each"
    found = [{"name": "Words", "detail": detail, "out": f"{length}x{embed.embedding_dim}"}]
    if network.block == "transformer":
        found.append({"name": "Places", "detail": "linear, plus a place's own numbers", "out": f"{length}x{width}"})
    for index, block in enumerate(network.blocks):
        found.append({"name": f"Block {index + 1}", "detail": _block(block), "out": f"{length}x{width}"})
    detail = ", ".join(filter(None, ["mean over the words", _single(network.dropout)]))
    found.append({"name": "Mean", "detail": detail, "out": str(width)})
    return [*found, {"name": "Head", "detail": "linear", "out": str(network.head.out_features)}]


def _block(block: nn.Module) -> str:
    if isinstance(block, Attention):
        return f"self-attention of {block.heads} heads, then two linear layers"
    if isinstance(block, nn.Conv1d):
        return f"convolution over {block.kernel_size[0]} words, ReLU"
    return f"{type(block).__name__} in both directions"
