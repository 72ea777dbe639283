"""The scaling of raw inputs to what a network is trained on.

The source of each class is copied into the model.py that a user downloads, so it needs torch only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Pixels(nn.Module):
    """Pixel values 0 to 255, [rows, channels, height, width], standardised by channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return (x.float() - self.mean[:, None, None]) / self.std[:, None, None]


class Columns(nn.Module):
    """Numbers (NaN where missing), then category codes, as doubles [rows, columns].

    Each number becomes two: standardised and clipped, and its rank among the train rows, interpolated linearly between
    `knots` values. Each column in `flagged` (their numbers) adds one that marks missing values.
    """

    def __init__(self, numeric: int, flagged: Sequence[int], knots: int) -> None:
        super().__init__()
        self.numeric, self.flagged = numeric, list(flagged)
        self.mean: Tensor
        self.std: Tensor
        self.low: Tensor
        self.step: Tensor
        self.register_buffer("mean", torch.zeros(numeric, dtype=torch.float64))
        self.register_buffer("std", torch.ones(numeric, dtype=torch.float64))
        # Intervals between knots; those that a column lacks are infinitely long.
        self.register_buffer("low", torch.zeros(numeric, knots - 1, dtype=torch.float64))
        self.register_buffer("step", torch.full((numeric, knots - 1), torch.inf, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        numbers, codes = x[:, : self.numeric], x[:, self.numeric :]
        missing = torch.isnan(numbers)
        plain = torch.where(missing, self.mean, numbers)
        scaled = ((plain - self.mean) / self.std).clamp(-8.0, 8.0)
        passed = ((plain.unsqueeze(2) - self.low) / self.step).clamp(0.0, 1.0).sum(2)
        ranks = 3.4 * passed / self.step.isfinite().sum(1).clamp(min=1) - 1.7  # a deviation of about one
        return torch.cat([scaled, ranks, missing[:, self.flagged].to(x.dtype), codes], 1).float()


class Tokens(nn.Module):
    """Token codes [rows, length] as they are."""

    def forward(self, x: Tensor) -> Tensor:
        return x


InputScaling = Pixels | Columns | Tokens
