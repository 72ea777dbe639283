"""Grouped convolutions of many candidates, with fast gradients for shapes that oneDNN handles slowly on a CPU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def convolve(x: Tensor, weight: Tensor, groups: int, *, stride: int = 1, dilation: int = 1) -> Tensor:
    """Return a convolution with the side of its input (half of it with stride 2)."""
    pad = dilation * (weight.shape[-1] // 2)
    slow = dilation == 2 or weight.shape[-1] > min(x.shape[2:])
    if slow and stride == 1 and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
        return Convolution.apply(x, weight, pad, dilation, groups)
    return F.conv2d(x, weight, None, stride, pad, dilation, groups)


class Convolution(torch.autograd.Function):
    """A convolution with its own weight gradient for dilated kernels and for kernels wider than the image.

    For these shapes oneDNN falls back to loops that take four to twenty times as long as the forward pass.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, pad: int, dilation: int, groups: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.settings = pad, dilation, groups
        return F.conv2d(x, weight, None, 1, pad, dilation, groups)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        (x, weight), (pad, dilation, groups) = ctx.saved_tensors, ctx.settings
        inner = _gradient(grad, x, weight, pad, dilation, groups, 0)
        if dilation == 2:
            # A kernel of dilation 2 reads every second pixel: four plain convolutions of four interleaved images.
            grad, x, pad = _interleaved(grad), _interleaved(x), pad // 2
        if min(x.shape[2:]) < weight.shape[-1]:
            x, pad = F.pad(x, [pad] * 4), 0
        return inner, _gradient(grad, x, weight, pad, 1, groups, 1), None, None, None


def _gradient(grad: Tensor, x: Tensor, weight: Tensor, pad: int, dilation: int, groups: int, of: int) -> Tensor:
    """Return the gradient of the input (`of` 0) or of the weight (1)."""
    mask = [of == 0, of == 1, False]
    both = torch.ops.aten.convolution_backward(
        grad, x, weight, None, [1, 1], [pad, pad], [dilation, dilation], False, [0, 0], groups, mask
    )
    return both[of]


def _interleaved(x: Tensor) -> Tensor:
    """Return images [rows, channels, height, width] as four times as many of half the side, channels last."""
    pixels = x.permute(0, 2, 3, 1)
    if x.shape[2] % 2 or x.shape[3] % 2:
        pixels = F.pad(pixels, (0, 0, 0, x.shape[3] % 2, 0, x.shape[2] % 2))
    rows, height, width, channels = pixels.shape
    split = pixels.view(rows, height // 2, 2, width // 2, 2, channels).permute(2, 4, 0, 1, 3, 5)
    return split.reshape(4 * rows, height // 2, width // 2, channels).permute(0, 3, 1, 2)
