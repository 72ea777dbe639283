"""The layers of an architecture as a list for people."""

from __future__ import annotations

from runner.nas.space.designs import CATEGORY_WIDTH, CONVOLUTIONS, Design, ImageDesign, Recipe, TableDesign, TextDesign
from runner.nas.space.spaces import AnySpace, ImageSpace, TableSpace, TextSpace

Layer = dict[str, str]

_ACTIVATIONS = {"relu": "ReLU", "silu": "SiLU", "gelu": "GELU"}
_POOLS = {"max3": "3x3 max pooling", "avg3": "3x3 average pooling"}


def layers(space: AnySpace, design: Design) -> list[Layer]:
    """Return the layers in order, each with its `name`, its `detail` and its output's shape for one row (`out`)."""
    if isinstance(space, TableSpace) and isinstance(design, TableDesign):
        return _perceptron(space, design)
    if isinstance(space, TextSpace) and isinstance(design, TextDesign):
        return _reader(space, design)
    assert isinstance(space, ImageSpace)
    assert isinstance(design, ImageDesign)
    return _chain(space, design)


def _chain(space: ImageSpace, design: ImageDesign) -> list[Layer]:
    channels, height, breadth = space.shape
    after, width = f"batch norm, {_ACTIVATIONS[design.activation]}", design.width
    rows = [_layer("Image", "standardised by channel", f"{height}x{breadth}x{channels}")]
    height, breadth = space.sides
    stride = f", stride {space.stride}" if space.stride > 1 else ""
    rows.append(_layer("Stem", f"3x3 convolution{stride}, {after}", f"{height}x{breadth}x{width}"))
    for index, stage in enumerate(design.stages):
        if index:
            height, breadth, width = (height + 1) // 2, (breadth + 1) // 2, 2 * width
            rows.append(_layer("Downsampling", f"3x3 convolution, stride 2, {after}", f"{height}x{breadth}x{width}"))
        for place, name in enumerate(stage):
            detail = f"{_convolution(name)}, {after}" if name in CONVOLUTIONS else _POOLS[name]
            rows.append(_layer(f"Stage {index + 1}, layer {place + 1}", detail, f"{height}x{breadth}x{width}"))
    head = _join("global average pooling", _dropout(design.recipe), "linear")
    return [*rows, _layer("Head", head, str(space.outputs))]


def _convolution(name: str) -> str:
    side = f"{name[-1]}x{name[-1]}"
    if name.startswith("separable"):
        return f"depthwise {side} convolution, 1x1 convolution"
    return f"{side} convolution{', dilation 2' if name.startswith('dilated') else ''}"


def _perceptron(space: TableSpace, design: TableDesign) -> list[Layer]:
    columns, width = f"{space.numeric} numbers", str(design.width)
    if space.categories:
        columns += f", {len(space.categories)} categories embedded in {CATEGORY_WIDTH} dimensions each"
    rows = [_layer("Columns", columns, str(space.inputs))]
    for index in range(design.depth):
        shortcut = "residual connection" if design.residual and index else ""
        detail = _join("linear", "layer norm", _ACTIVATIONS[design.activation], _dropout(design.recipe), shortcut)
        rows.append(_layer(f"Layer {index + 1}", detail, width))
    return [*rows, _layer("Head", "linear", str(space.outputs))]


def _reader(space: TextSpace, design: TextDesign) -> list[Layer]:
    out = f"{space.length}x{design.width}"
    words = f"{space.vocabulary:,} words embedded in {design.embedding} dimensions"
    rows = [_layer("Words", words, f"{space.length}x{design.embedding}")]
    if design.block == "transformer":
        rows.append(_layer("Positions", "linear, plus a position embedding", out))
    rows += [_layer(f"Block {index + 1}", _block(design.block), out) for index in range(design.depth)]
    rows.append(_layer("Average pooling", _join("mean over the words", _dropout(design.recipe)), str(design.width)))
    return [*rows, _layer("Head", "linear", str(space.outputs))]


def _block(block: str) -> str:
    if block == "transformer":
        return "self-attention of four heads, then two linear layers"
    if block.startswith("conv"):
        return f"convolution over {block[-1]} words, ReLU"
    return f"bidirectional {block.upper()}"


def _layer(name: str, detail: str, out: str) -> Layer:
    return {"name": name, "detail": detail, "out": out}


def _dropout(recipe: Recipe) -> str:
    return f"dropout {recipe.dropout:g}" if recipe.dropout else ""


def _join(*parts: str) -> str:
    return ", ".join(filter(None, parts))
