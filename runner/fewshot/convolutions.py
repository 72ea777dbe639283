"""A convolution whose gradients are convolutions that differentiate into each other, for gradients of gradients."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

STRIDE, PADDING = 2, 1


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """Convolution of stride 2 of each task: x [rows, tasks * channels, height, width], weight [tasks, outputs, ...].

    As `conv2d` with groups, whose own second derivative takes detours on a processor.
    """
    return _Convolution.apply(x, weight.flatten(0, 1), len(weight))


def convolve_images(x: Tensor, weight: Tensor) -> Tensor:
    """The same of images, whose few channels make a grouped convolution slow: a product of matrices."""
    tasks, n_outputs, channels, side, _ = weight.shape
    rows, _, height, width = x.shape
    patches = F.unfold(x.reshape(rows * tasks, channels, height, width), (side, side), 1, PADDING, STRIDE)
    patches = patches.view(rows, tasks, -1, patches.shape[-1])
    found = torch.matmul(weight.view(tasks, n_outputs, -1), patches)
    return found.view(rows, tasks * n_outputs, (height + 1) // 2, (width + 1) // 2)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, groups: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.groups = groups
        return F.conv2d(x, weight, None, STRIDE, PADDING, 1, groups)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, _ = ctx.needs_input_grad
        return (
            _InputGradient.apply(grad, weight, x.shape, ctx.groups) if of_x else None,
            _WeightGradient.apply(grad, x, weight.shape, ctx.groups) if of_weight else None,
            None,
        )


class _InputGradient(torch.autograd.Function):
    """What a gradient of the output means for the input: linear in both of its arguments."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, weight: Tensor, shape: torch.Size, groups: int) -> Tensor:
        ctx.save_for_backward(grad, weight)
        ctx.groups = groups
        return _derivative(grad, grad.new_empty(1).expand(shape), weight, groups, 0)

    @staticmethod
    def backward(ctx: Any, second: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        grad, weight = ctx.saved_tensors
        of_grad, of_weight, *_ = ctx.needs_input_grad
        return (
            _Convolution.apply(second, weight, ctx.groups) if of_grad else None,
            _WeightGradient.apply(grad, second, weight.shape, ctx.groups) if of_weight else None,
            None,
            None,
        )


class _WeightGradient(torch.autograd.Function):
    """What a gradient of the output means for the weight: linear in both of its arguments."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, x: Tensor, shape: torch.Size, groups: int) -> Tensor:
        ctx.save_for_backward(grad, x)
        ctx.groups = groups
        return _derivative(grad, x, grad.new_empty(1).expand(shape), groups, 1)

    @staticmethod
    def backward(ctx: Any, second: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        grad, x = ctx.saved_tensors
        of_grad, of_x, *_ = ctx.needs_input_grad
        return (
            _Convolution.apply(x, second, ctx.groups) if of_grad else None,
            _InputGradient.apply(grad, second, x.shape, ctx.groups) if of_x else None,
            None,
            None,
        )


def _derivative(grad: Tensor, x: Tensor, weight: Tensor, groups: int, of: int) -> Tensor:
    """Gradient of the input (`of` 0) or of the weight (1); of the wanted one only the shape is read."""
    wanted = [of == 0, of == 1, False]
    if of == 0 and grad.device.type == "cpu":
        # The library's own gradient of the input takes up to four times as long with channels first.
        grad, weight = (part.contiguous(memory_format=torch.channels_last) for part in (grad, weight))
    both = torch.ops.aten.convolution_backward(
        grad, x, weight, None, [STRIDE] * 2, [PADDING] * 2, [1, 1], False, [0, 0], groups, wanted
    )
    return both[of].contiguous()
