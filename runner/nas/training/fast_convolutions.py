"""Grouped convolutions of many candidates, past the shapes for which the processor's library has slow gradients."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def convolve(x: Tensor, weight: Tensor, groups: int, *, stride: int = 1, spread: int = 1) -> Tensor:
    """Convolution whose output has the input's side (or half of it with stride 2); `spread` is the dilation."""
    pad = spread * (weight.shape[-1] // 2)
    slow = spread == 2 or weight.shape[-1] > min(x.shape[2:])
    if slow and stride == 1 and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
        return Convolution.apply(x, weight, pad, spread, groups)
    return F.conv2d(x, weight, None, stride, pad, spread, groups)


class Convolution(torch.autograd.Function):
    """A convolution with a gradient of its weights for dilated kernels, and for kernels wider than the image.

    There oneDNN falls back to loops that take four to twenty times the forward pass.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, pad: int, spread: int, groups: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.settings = pad, spread, groups
        return F.conv2d(x, weight, None, 1, pad, spread, groups)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        (x, weight), (pad, spread, groups) = ctx.saved_tensors, ctx.settings
        inner = _gradient(grad, x, weight, pad, spread, groups, 0)
        if spread == 2:
            # A dilated kernel sees every second pixel: four plain convolutions of the four interleaved images.
            grad, x, pad = _interleaved(grad), _interleaved(x), pad // 2
        if min(x.shape[2:]) < weight.shape[-1]:
            x, pad = F.pad(x, [pad] * 4), 0
        return inner, _gradient(grad, x, weight, pad, 1, groups, 1), None, None, None


def _gradient(grad: Tensor, x: Tensor, weight: Tensor, pad: int, spread: int, groups: int, of: int) -> Tensor:
    """Gradient of the input (`of` 0) or of the weight (1)."""
    wanted = [of == 0, of == 1, False]
    both = torch.ops.aten.convolution_backward(
        grad, x, weight, None, [1, 1], [pad, pad], [spread, spread], False, [0, 0], groups, wanted
    )
    return both[of]


def _interleaved(x: Tensor) -> Tensor:
    """Images [rows, channels, height, width] as four times as many of half the side, channels last."""
    pixels = x.permute(0, 2, 3, 1)
    if x.shape[2] % 2 or x.shape[3] % 2:
        pixels = F.pad(pixels, (0, 0, 0, x.shape[3] % 2, 0, x.shape[2] % 2))
    rows, height, width, channels = pixels.shape
    split = pixels.view(rows, height // 2, 2, width // 2, 2, channels).permute(2, 4, 0, 1, 3, 5)
    return split.reshape(4 * rows, height // 2, width // 2, channels).permute(0, 3, 1, 2)
