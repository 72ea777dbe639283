"""A convolution whose gradients are convolutions that differentiate into each other, for gradients of gradients."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Settings = tuple[int, int, int]  # stride, padding, groups


def convolve(x: Tensor, weight: Tensor, *, stride: int, padding: int, groups: int) -> Tensor:
    """As `conv2d` without a bias; torch's own second derivative of a grouped convolution takes detours on a processor.

    x [rows, groups * channels, height, width], weight [groups * outputs, channels, side, side].
    """
    return _Convolution.apply(x, weight, (stride, padding, groups))


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, settings: Settings) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.settings = settings
        stride, padding, groups = settings
        return F.conv2d(x, weight, None, stride, padding, 1, groups)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, _ = ctx.needs_input_grad
        return (
            _InputGradient.apply(grad, weight, x.shape, ctx.settings) if of_x else None,
            _WeightGradient.apply(grad, x, weight.shape, ctx.settings) if of_weight else None,
            None,
        )


class _InputGradient(torch.autograd.Function):
    """What a gradient of the output means for the input: linear in both of its arguments."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, weight: Tensor, shape: torch.Size, settings: Settings) -> Tensor:
        ctx.save_for_backward(grad, weight)
        ctx.settings = settings
        return _derivative(grad, grad.new_empty(1).expand(shape), weight, settings, 0)

    @staticmethod
    def backward(ctx: Any, second: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        grad, weight = ctx.saved_tensors
        of_grad, of_weight, *_ = ctx.needs_input_grad
        return (
            _Convolution.apply(second, weight, ctx.settings) if of_grad else None,
            _WeightGradient.apply(grad, second, weight.shape, ctx.settings) if of_weight else None,
            None,
            None,
        )


class _WeightGradient(torch.autograd.Function):
    """What a gradient of the output means for the weight: linear in both of its arguments."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, x: Tensor, shape: torch.Size, settings: Settings) -> Tensor:
        ctx.save_for_backward(grad, x)
        ctx.settings = settings
        return _derivative(grad, x, grad.new_empty(1).expand(shape), settings, 1)

    @staticmethod
    def backward(ctx: Any, second: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        grad, x = ctx.saved_tensors
        of_grad, of_x, *_ = ctx.needs_input_grad
        return (
            _Convolution.apply(x, second, ctx.settings) if of_grad else None,
            _InputGradient.apply(grad, second, x.shape, ctx.settings) if of_x else None,
            None,
            None,
        )


def _derivative(grad: Tensor, x: Tensor, weight: Tensor, settings: Settings, of: int) -> Tensor:
    """Gradient of the input (`of` 0) or of the weight (1); of the wanted one only the shape is read."""
    stride, padding, groups = settings
    wanted = [of == 0, of == 1, False]
    both = torch.ops.aten.convolution_backward(
        grad, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], groups, wanted
    )
    return both[of]
