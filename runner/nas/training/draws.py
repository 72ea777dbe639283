"""The chance in a training step: shared by all candidates, so that they differ by design and not by luck."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from runner.nas.space.spaces import AnySpace, Genotype, ImageSpace, TableSpace


@dataclass(frozen=True, slots=True)
class Draws:
    """Uniform noise for dropout [layers, rows, width], and for images each one's shift (rows, columns) and flip."""

    dropout: Tensor
    shift: Tensor | None = None
    flip: Tensor | None = None


def draw(space: AnySpace, width: int, rows: int, seed: int, step: int, like: Tensor) -> Draws:
    """Draws of one step: they depend on seed and step, never on who is in the population."""
    generator = torch.Generator(like.device).manual_seed((seed << 32) + step)
    shift = flip = None
    if isinstance(space, ImageSpace):
        reach = max(1, min(space.shape[1:]) // 8)
        shift = torch.randint(-reach, reach + 1, (rows, 2), generator=generator, device=like.device)
        flip = torch.rand(rows, generator=generator, device=like.device) < 0.5
    layers = max(space.depths) if isinstance(space, TableSpace) else 1
    noise = torch.rand(layers, rows, width, generator=generator, device=like.device, dtype=like.dtype)
    return Draws(noise, shift, flip)


def noise_width(space: AnySpace, genotype: Genotype) -> int:
    """Number of activations that dropout sees in each layer of a candidate; equal within a bucket."""
    width = space.bucket(genotype)
    return width << (len(space.positions) - 1) if isinstance(space, ImageSpace) else width


def augmented(x: Tensor, augment: str, draws: Draws) -> Tensor:
    """Images shifted by a few pixels (zeros come in), and mirrored where `augment` says so."""
    if augment == "none":
        return x
    assert draws.shift is not None
    assert draws.flip is not None
    rows, _, height, width = x.shape
    down = torch.arange(height, device=x.device) + draws.shift[:, :1]
    right = torch.arange(width, device=x.device) + draws.shift[:, 1:]
    if augment == "shift+flip":
        right = torch.where(draws.flip[:, None], right.flip(1), right)
    inside = ((down >= 0) & (down < height))[:, :, None] & ((right >= 0) & (right < width))[:, None, :]
    down, right = down.clamp(0, height - 1), right.clamp(0, width - 1)
    picked = x[torch.arange(rows, device=x.device)[:, None, None], :, down[:, :, None], right[:, None, :]]
    return (picked * inside[..., None]).permute(0, 3, 1, 2)


def drop(x: Tensor, noise: Tensor, rate: float | Tensor) -> Tensor:
    """Dropout with given noise."""
    return x * ((noise >= rate).to(x.dtype) / (1 - rate))


class SharedDropout(nn.Module):
    """Takes the place of a module's dropout while it trains alone; `noise` is set before each step."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate, self.noise = rate, torch.zeros(0)

    def forward(self, x: Tensor) -> Tensor:
        return drop(x, self.noise, self.rate) if self.training and self.rate else x
