"""The search spaces: each maps a genotype to a design (architecture and training recipe) and counts its operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from runner.nas.space.designs import (
    ACTIVATIONS,
    AUGMENTS,
    BLOCKS,
    CATEGORY_WIDTH,
    CONVOLUTIONS,
    DROPOUTS,
    LEARNING_RATES,
    OPERATIONS,
    WEIGHT_DECAYS,
    ImageDesign,
    Recipe,
    TableDesign,
    TextDesign,
    canonical_name,
)

Genotype = tuple[int, ...]
Decision = tuple[str, tuple[str, ...]]  # name of the decision, names of its options
Policy = dict[str, dict[str, float]]  # decision -> option -> probability


class Space(Protocol):
    """What a strategy needs of a space."""

    @property
    def choices(self) -> tuple[int, ...]: ...

    @property
    def decisions(self) -> tuple[Decision, ...]: ...

    def canonical_name(self, genotype: Genotype) -> str: ...

    def size(self, genotype: Genotype) -> float: ...


def _recipe(options: Sequence[int], batches: tuple[int, ...], augments: tuple[str, ...] = ()) -> Recipe:
    """Return the recipe of its options; augmentation and batch size are among them only where they are searched."""
    learning_rate, decay, dropout, *rest = options
    augment = augments[rest.pop(0)] if augments else "none"
    batch = batches[rest.pop(0)] if batches else 0
    return Recipe(LEARNING_RATES[learning_rate], WEIGHT_DECAYS[decay], DROPOUTS[dropout], augment, batch)


def _recipe_choices(batches: tuple[int, ...], augments: int = 0) -> tuple[int, ...]:
    common = (len(LEARNING_RATES), len(WEIGHT_DECAYS), len(DROPOUTS))
    return common + ((augments,) if augments else ()) + ((len(batches),) if batches else ())


def _recipe_decisions(batches: tuple[int, ...], augments: tuple[str, ...] = ()) -> tuple[Decision, ...]:
    common = (("learning rate", LEARNING_RATES), ("weight decay", WEIGHT_DECAYS), ("dropout", DROPOUTS))
    named = tuple((name, _option_names(values)) for name, values in common)
    augmented = (("augmentation", augments),) if augments else ()
    return named + augmented + ((("batch", _option_names(batches)),) if batches else ())


@dataclass(frozen=True)
class ImageSpace:
    """Chains of convolutions and pools for images of `shape` (channels, height, width).

    `outputs` is the number of classes, or 1 for regression. `positions` holds the number of searched operations
    of each stage. `flips` tells whether a mirrored image keeps its meaning (digits do not). `batches` are the batch
    sizes to choose from; empty: the batch size is not searched. `stride` is the stem's stride.
    """

    shape: tuple[int, int, int]
    outputs: int
    positions: tuple[int, ...] = (3, 3)
    widths: tuple[int, ...] = (8, 16, 32)
    flips: bool = False
    batches: tuple[int, ...] = ()
    stride: int = 1
    choices: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        operations = [len(OPERATIONS)] * sum(self.positions)
        recipe = _recipe_choices(self.batches, 3 if self.flips else 2)
        object.__setattr__(self, "choices", (len(self.widths), *operations, len(ACTIVATIONS), *recipe))

    @classmethod
    def for_shape(
        cls,
        shape: tuple[int, int, int],
        outputs: int,
        flips: bool = False,
        batches: tuple[int, ...] = (),
        minimum_side: int = 14,
    ) -> ImageSpace:
        """Return the default space for a shape: two stages for sides below 20 pixels, else three.

        The stem has a stride of 2 or 4 where sides of at least `minimum_side` pixels remain. A stride of 2 costs a few
        points of accuracy and saves three quarters of the operations, which pays off in epochs and candidates.
        """
        side = min(shape[1:])
        stride = next((n for n in (4, 2) if side >= n * minimum_side), 1)
        return cls(shape, outputs, (3, 3) if side < 20 else (2, 3, 3), flips=flips, batches=batches, stride=stride)

    def decode(self, genotype: Genotype) -> ImageDesign:
        """Return the design of a genotype, without its skips: they do not change a chain.

        Raises ValueError where the genotype does not fit the choices.
        """
        _check_genotype(self.choices, genotype)
        width, *rest = genotype
        stages, start = [], 0
        for count in self.positions:
            chosen = (OPERATIONS[option] for option in rest[start : start + count])
            stages.append(tuple(name for name in chosen if name != "skip"))
            start += count
        activation, *recipe = rest[start:]
        return ImageDesign(
            self.widths[width], tuple(stages), ACTIVATIONS[activation], _recipe(recipe, self.batches, AUGMENTS)
        )

    def canonical_name(self, genotype: Genotype) -> str:
        """Return architecture and recipe as one string: equal strings mean the same candidate."""
        return canonical_name(self.decode(genotype))

    def bucket(self, genotype: Genotype) -> int:
        """Return the stem's width: candidates of the same width can be trained together."""
        return self.widths[genotype[0]]

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width after the stem."""
        return -(-self.shape[1] // self.stride), -(-self.shape[2] // self.stride)

    def size(self, genotype: Genotype) -> float:
        """Return the exact number of trained parameters."""
        design = self.decode(genotype)
        width, total = design.width, 9 * self.shape[0] * design.width + 2 * design.width
        for index, stage in enumerate(design.stages):
            if index:
                total += 18 * width * width + 4 * width
                width *= 2
            total += sum(_kernel_size(name, width) + 2 * width for name in stage if name in CONVOLUTIONS)
        return float(total + (width + 1) * self.outputs)

    def flops(self, genotype: Genotype) -> float:
        """Return the exact floating-point operations of convolutions and head for one image; a multiply-add is two."""
        design = self.decode(genotype)
        height, breadth = self.sides
        width, total = design.width, 9 * self.shape[0] * design.width * height * breadth
        for index, stage in enumerate(design.stages):
            if index:
                height, breadth = (height + 1) // 2, (breadth + 1) // 2
                total += 18 * width * width * height * breadth
                width *= 2
            total += sum(_kernel_size(name, width) for name in stage if name in CONVOLUTIONS) * height * breadth
        return 2.0 * (total + width * self.outputs)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Names of the decisions and of their options, in the order of the genotype."""
        places = [(stage, place) for stage, count in enumerate(self.positions, 1) for place in range(1, count + 1)]
        operations = [(f"stage {stage}, operation {place}", OPERATIONS) for stage, place in places]
        augments = AUGMENTS if self.flips else AUGMENTS[:2]
        recipe = _recipe_decisions(self.batches, augments)
        return (("width", _option_names(self.widths)), *operations, ("activation", ACTIVATIONS), *recipe)


@dataclass(frozen=True)
class TableSpace:
    """Perceptrons for tables. The inputs are `numeric` standardised numbers, then one code per categorical column.

    `categories` holds the number of codes of each categorical column. `outputs` and `batches` are as in ImageSpace.
    """

    numeric: int
    categories: tuple[int, ...]
    outputs: int
    widths: tuple[int, ...] = (32, 64, 128, 256)
    depths: tuple[int, ...] = (1, 2, 3, 4)
    batches: tuple[int, ...] = ()
    choices: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        recipe = _recipe_choices(self.batches)
        object.__setattr__(self, "choices", (len(self.widths), len(self.depths), 2, len(ACTIVATIONS), *recipe))

    @property
    def inputs(self) -> int:
        """Width of the first layer's input."""
        return self.numeric + CATEGORY_WIDTH * len(self.categories)

    def decode(self, genotype: Genotype) -> TableDesign:
        """Return the design of a genotype; a single layer cannot be residual.

        Raises ValueError where the genotype does not fit the choices.
        """
        _check_genotype(self.choices, genotype)
        width, depth, residual, activation, *recipe = genotype
        layers = self.depths[depth]
        return TableDesign(
            self.widths[width], layers, bool(residual) and layers > 1, ACTIVATIONS[activation],
            _recipe(recipe, self.batches),
        )  # fmt: skip

    def canonical_name(self, genotype: Genotype) -> str:
        """Return architecture and recipe as one string: equal strings mean the same candidate."""
        return canonical_name(self.decode(genotype))

    def bucket(self, genotype: Genotype) -> int:
        """Return the layers' width: candidates of the same width can be trained together."""
        return self.widths[genotype[0]]

    def size(self, genotype: Genotype) -> float:
        """Return the exact number of trained parameters."""
        design = self.decode(genotype)
        width = design.width
        layers = (self.inputs + 3) * width + (design.depth - 1) * (width + 3) * width
        return float(CATEGORY_WIDTH * sum(self.categories) + layers + (width + 1) * self.outputs)

    def flops(self, genotype: Genotype) -> float:
        """Return the exact floating-point operations of the linear layers for one row; a multiply-add is two."""
        design = self.decode(genotype)
        inner = (design.depth - 1) * design.width
        return 2.0 * design.width * (self.inputs + inner + self.outputs)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Names of the decisions and of their options, in the order of the genotype."""
        shape = (
            ("width", _option_names(self.widths)),
            ("depth", _option_names(self.depths)),
            ("residual", ("no", "yes")),
        )
        return (*shape, ("activation", ACTIVATIONS), *_recipe_decisions(self.batches))


@dataclass(frozen=True)
class TextSpace:
    """Networks for `length` token codes a row, from 0 (padding) to `vocabulary` - 1; the rest is as in ImageSpace."""

    vocabulary: int
    length: int
    outputs: int
    embeddings: tuple[int, ...] = (16, 32, 64, 128)
    widths: tuple[int, ...] = (32, 64, 128)
    depths: tuple[int, ...] = (1, 2)
    batches: tuple[int, ...] = ()
    choices: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        recipe = _recipe_choices(self.batches)
        shape = (len(self.embeddings), len(BLOCKS), len(self.widths), len(self.depths))
        object.__setattr__(self, "choices", (*shape, *recipe))

    def decode(self, genotype: Genotype) -> TextDesign:
        """Return the design of a genotype.

        Raises ValueError where the genotype does not fit the choices.
        """
        _check_genotype(self.choices, genotype)
        embedding, block, width, depth, *recipe = genotype
        return TextDesign(
            self.embeddings[embedding], BLOCKS[block], self.widths[width], self.depths[depth],
            _recipe(recipe, self.batches),
        )  # fmt: skip

    def canonical_name(self, genotype: Genotype) -> str:
        """Return architecture and recipe as one string: equal strings mean the same candidate."""
        return canonical_name(self.decode(genotype))

    def bucket(self, genotype: Genotype) -> int:
        """Return the blocks' width; text candidates are trained one by one all the same."""
        return self.widths[genotype[2]]

    def size(self, genotype: Genotype) -> float:
        """Return the exact number of trained parameters."""
        design = self.decode(genotype)
        blocks = sum(_block_size(design, inputs) for inputs in _block_inputs(design))
        extra = (design.embedding + 1 + self.length) * design.width if design.block == "transformer" else 0
        return float(self.vocabulary * design.embedding + extra + blocks + (design.width + 1) * self.outputs)

    def flops(self, genotype: Genotype) -> float:
        """Return the exact floating-point operations of the matrix products for one row; a multiply-add is two."""
        design = self.decode(genotype)
        width, length = design.width, self.length
        total = sum(_block_products(design, inputs, length) for inputs in _block_inputs(design))
        if design.block == "transformer":
            total += length * design.embedding * width
        return 2.0 * (total + width * self.outputs)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Names of the decisions and of their options, in the order of the genotype."""
        shape = (
            ("embedding", _option_names(self.embeddings)),
            ("block", BLOCKS),
            ("width", _option_names(self.widths)),
        )
        return (*shape, ("depth", _option_names(self.depths)), *_recipe_decisions(self.batches))


AnySpace = ImageSpace | TableSpace | TextSpace


def _option_names(values: tuple[float, ...]) -> tuple[str, ...]:
    return tuple(f"{value:g}" for value in values)


def _check_genotype(choices: tuple[int, ...], genotype: Genotype) -> None:
    if len(genotype) != len(choices) or not all(0 <= g < n for g, n in zip(genotype, choices, strict=True)):
        raise ValueError(f"Genotype {genotype} does not fit the choices {choices}.")


def _kernel_size(name: str, width: int) -> int:
    """Return the weights of a convolution that keeps its width: also its multiply-adds per pixel."""
    side = int(name[-1])
    if name.startswith("separable"):
        return width * side * side + width * width
    return width * width * side * side


def _block_inputs(design: TextDesign) -> list[int]:
    first = design.width if design.block == "transformer" else design.embedding
    return [first] + [design.width] * (design.depth - 1)


def _block_size(design: TextDesign, inputs: int) -> int:
    width = design.width
    if design.block == "transformer":
        return 4 * (width + 1) * width + (width + 1) * 2 * width + (2 * width + 1) * width + 4 * width
    if design.block.startswith("conv"):
        return (inputs * int(design.block[-1]) + 1) * width
    gates, half = (3 if design.block == "gru" else 4), width // 2
    return 2 * gates * half * (inputs + half + 2)


def _block_products(design: TextDesign, inputs: int, length: int) -> int:
    width = design.width
    if design.block == "transformer":
        return 8 * length * width * width + 2 * length * length * width
    if design.block.startswith("conv"):
        return inputs * int(design.block[-1]) * width * length
    gates, half = (3 if design.block == "gru" else 4), width // 2
    return 2 * gates * half * (inputs + half) * length
