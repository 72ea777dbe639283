"""The noise of a training step (dropout, augmentation): the same for all candidates, so that none is just lucky."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from runner.nas.space.spaces import AnySpace, Genotype, ImageSpace, TableSpace


@dataclass(frozen=True, slots=True)
class Noise:
    """Uniform noise for dropout [layers, rows, width], and for images each one's shift (rows, columns) and flip."""

    dropout: Tensor
    shift: Tensor | None = None
    flip: Tensor | None = None


def draw_noise(space: AnySpace, width: int, rows: int, seed: int, step: int, like: Tensor) -> Noise:
    """Return the noise of one step: it depends on seed and step, never on the other candidates.

    Its device and type are those of `like`.
    """
    generator = torch.Generator(like.device).manual_seed((seed << 32) + step)
    shift = flip = None
    if isinstance(space, ImageSpace):
        distance = max(1, min(space.shape[1:]) // 8)
        shift = torch.randint(-distance, distance + 1, (rows, 2), generator=generator, device=like.device)
        flip = torch.rand(rows, generator=generator, device=like.device) < 0.5
    layers = max(space.depths) if isinstance(space, TableSpace) else 1
    dropout = torch.rand(layers, rows, width, generator=generator, device=like.device, dtype=like.dtype)
    return Noise(dropout, shift, flip)


def noise_width(space: AnySpace, genotype: Genotype) -> int:
    """Return the number of activations under dropout in each layer of a candidate; it is equal within a bucket."""
    width = space.bucket(genotype)
    return width << (len(space.positions) - 1) if isinstance(space, ImageSpace) else width


def augment(x: Tensor, kind: str, noise: Noise) -> Tensor:
    """Return images shifted by a few pixels, padded with zeros; of the kind "shift+flip" half are also mirrored."""
    if kind == "none":
        return x
    assert noise.shift is not None
    assert noise.flip is not None
    rows, _, height, width = x.shape
    down = torch.arange(height, device=x.device) + noise.shift[:, :1]
    right = torch.arange(width, device=x.device) + noise.shift[:, 1:]
    if kind == "shift+flip":
        right = torch.where(noise.flip[:, None], right.flip(1), right)
    inside = ((down >= 0) & (down < height))[:, :, None] & ((right >= 0) & (right < width))[:, None, :]
    down, right = down.clamp(0, height - 1), right.clamp(0, width - 1)
    shifted = x[torch.arange(rows, device=x.device)[:, None, None], :, down[:, :, None], right[:, None, :]]
    return (shifted * inside[..., None]).permute(0, 3, 1, 2)


def apply_dropout(x: Tensor, noise: Tensor, rate: float | Tensor) -> Tensor:
    """Return x after dropout with this uniform noise."""
    return x * ((noise >= rate).to(x.dtype) / (1 - rate))


class SharedDropout(nn.Module):
    """Replaces a module's dropout while it trains alone; `noise` is set before each step."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate, self.noise = rate, torch.zeros(0)

    def forward(self, x: Tensor) -> Tensor:
        return apply_dropout(x, self.noise, self.rate) if self.training and self.rate else x
