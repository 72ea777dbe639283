"""What one candidate is: its architecture and its training recipe."""

from __future__ import annotations

from dataclasses import dataclass

CONVOLUTIONS = ("conv3", "conv5", "separable3", "separable5", "dilated3")
OPERATIONS = (*CONVOLUTIONS, "max3", "avg3", "skip")
ACTIVATIONS = ("relu", "silu", "gelu")
AUGMENTS = ("none", "shift", "shift+flip")
BLOCKS = ("conv3", "conv5", "gru", "lstm", "transformer")
LEARNING_RATES = (3e-4, 6e-4, 1.2e-3, 2.5e-3, 5e-3, 1e-2)
WEIGHT_DECAYS = (0.0, 1e-3, 1e-2, 1e-1)
DROPOUTS = (0.0, 0.1, 0.25, 0.5)
CATEGORY_WIDTH = 8  # numbers that stand for one categorical value


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a candidate is trained: `batch` rows a step; 0: as many as suit the data."""

    lr: float
    weight_decay: float
    dropout: float
    augment: str = "none"
    batch: int = 0

    def __str__(self) -> str:
        text = f"lr={self.lr:g},wd={self.weight_decay:g},drop={self.dropout:g}"
        text = text if self.augment == "none" else f"{text},aug={self.augment}"
        return f"{text},batch={self.batch}" if self.batch else text


@dataclass(frozen=True, slots=True)
class ImageDesign:
    """A stem, then stages of operations (skips left out); each stage has twice the width and half the side."""

    width: int
    stages: tuple[tuple[str, ...], ...]
    activation: str
    recipe: Recipe

    def __str__(self) -> str:
        cells = "/".join(".".join(stage) or "-" for stage in self.stages)
        return f"cnn(w={self.width},{self.activation},{cells})"


@dataclass(frozen=True, slots=True)
class TableDesign:
    """A multilayer perceptron of equally wide layers; `residual` adds each layer's input to its output."""

    width: int
    depth: int
    residual: bool
    activation: str
    recipe: Recipe

    def __str__(self) -> str:
        return f"{'resmlp' if self.residual else 'mlp'}(w={self.width},d={self.depth},{self.activation})"


@dataclass(frozen=True, slots=True)
class TextDesign:
    """A token embedding, then `depth` blocks of one kind, then the mean over the tokens."""

    embedding: int
    block: str
    width: int
    depth: int
    recipe: Recipe

    def __str__(self) -> str:
        return f"{self.block}(e={self.embedding},w={self.width},d={self.depth})"


Design = ImageDesign | TableDesign | TextDesign


def canonical_name(design: Design) -> str:
    """Return architecture and recipe of a design as one string."""
    return f"{design} {design.recipe}"
