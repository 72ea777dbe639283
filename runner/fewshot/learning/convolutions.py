"""A convolution whose gradients are differentiable convolutions themselves, for gradients of gradients.

Images of many tasks are [rows, tasks * channels, height, width] in the memory format channels last.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_PADDING = {1: 0, 3: 1}  # by the side of the kernel


def convolve(x: Tensor, weight: Tensor, stride: int = 2) -> Tensor:
    """Convolve the images of each task.

    x is [rows, tasks * channels, height, width], weight [tasks, outputs, channels, 3, 3] or [..., 1, 1]. The result is
    that of `conv2d` with groups, whose own second derivative is slow on a processor. Outputs are channels last.
    """
    tasks, n_outputs, channels, side, _ = weight.shape
    flat = weight.permute(0, 1, 3, 4, 2).reshape(tasks * n_outputs, side, side, channels).permute(0, 3, 1, 2)
    return _Convolution.apply(x, flat, tasks, stride)


@dataclass(frozen=True)
class Patches:
    """The inputs of a kernel at each position of images, and a one: values [tasks, rows, high, wide, numbers + 1]."""

    values: Tensor
    _moments: dict[int | None, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def shape(self) -> torch.Size:
        """The shape of the values; its first two sizes are tasks and rows."""
        return self.values.shape

    def moments(self, n_rows: int | None) -> tuple[Tensor, Tensor]:
        """Return mean [tasks, numbers] and covariance [tasks, numbers, numbers] over the first rows; computed once."""
        if n_rows not in self._moments:
            flat = self.values[:, :n_rows].flatten(1, 3)
            second = flat.transpose(1, 2) @ flat / flat.shape[1]
            mean = second[:, -1, :-1]
            self._moments[n_rows] = mean, second[:, :-1, :-1] - mean.unsqueeze(2) * mean.unsqueeze(1)
        return self._moments[n_rows]


def patches(x: Tensor, side: int = 3, stride: int = 2) -> Patches:
    """Return the patches of images [tasks, rows, channels, height, width] for a kernel of this side."""
    tasks, rows, _, height, width = x.shape
    columns = F.unfold(x.flatten(0, 1), (side, side), 1, _PADDING[side], stride)
    high, wide = -(-height // stride), -(-width // stride)
    with_ones = F.pad(columns.transpose(1, 2), (0, 1), value=1.0)
    return Patches(with_ones.reshape(tasks, rows, high, wide, -1))


def convolve_patches(x: Patches, weight: Tensor, shift: Tensor) -> Tensor:
    """Return the ReLU of a convolution of each task's patches, as a matrix product: with few channels that is faster.

    weight is [tasks, outputs, numbers], shift [tasks, outputs]; the result has the layout of `convolve`.
    """
    _, rows, high, wide, _ = x.shape
    whole = torch.cat([weight, shift.unsqueeze(2)], 2)
    product = _Product.apply(x.values.flatten(1, 3), whole.transpose(1, 2))
    return product.view(rows, high, wide, -1).permute(0, 3, 1, 2)


class _Product(torch.autograd.Function):
    """ReLU of [tasks, positions, numbers] times [tasks, numbers, outputs] as [positions, tasks, outputs], no copy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        outputs = x.new_empty(x.shape[1], len(x), weight.shape[2])
        for task in range(len(x)):
            torch.mm(x[task], weight[task], out=outputs[:, task])
        outputs.relu_()
        ctx.save_for_backward(x, weight, outputs)
        return outputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight, outputs = ctx.saved_tensors
        of_x, of_weight = ctx.needs_input_grad
        passed = torch.ops.aten.threshold_backward(grad, outputs.detach(), 0).transpose(0, 1)
        return (
            torch.bmm(passed, weight.transpose(1, 2)) if of_x else None,
            torch.bmm(x.transpose(1, 2), passed) if of_weight else None,
        )


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, groups: int, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.groups, ctx.stride = groups, stride
        return F.conv2d(x, weight, None, stride, _PADDING[weight.shape[-1]], 1, groups)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, *_ = ctx.needs_input_grad
        if not torch.is_grad_enabled():  # these are not differentiated again: one call gives both
            return (*_derivatives(grad, x, weight, ctx.groups, ctx.stride, (of_x, of_weight)), None, None)
        return (
            _InputGradient.apply(grad, weight, x.shape, ctx.groups, ctx.stride) if of_x else None,
            _WeightGradient.apply(grad, x, weight.shape, ctx.groups, ctx.stride) if of_weight else None,
            None,
            None,
        )


class _InputGradient(torch.autograd.Function):
    """The gradient of the input, given that of the output: linear in both of its arguments."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, weight: Tensor, shape: torch.Size, groups: int, stride: int) -> Tensor:
        ctx.save_for_backward(grad, weight)
        ctx.groups, ctx.stride = groups, stride
        of_input: Tensor = _derivatives(grad, _placeholder(grad, shape), weight, groups, stride, (True, False))[0]
        return of_input

    @staticmethod
    def backward(ctx: Any, second: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        grad, weight = ctx.saved_tensors
        of_grad, of_weight, *_ = ctx.needs_input_grad
        return (
            _Convolution.apply(second, weight, ctx.groups, ctx.stride) if of_grad else None,
            _WeightGradient.apply(grad, second, weight.shape, ctx.groups, ctx.stride) if of_weight else None,
            None,
            None,
            None,
        )


class _WeightGradient(torch.autograd.Function):
    """The gradient of the weight, given that of the output: linear in both of its arguments."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, x: Tensor, shape: torch.Size, groups: int, stride: int) -> Tensor:
        ctx.save_for_backward(grad, x)
        ctx.groups, ctx.stride = groups, stride
        of_weight: Tensor = _derivatives(grad, x, _placeholder(grad, shape), groups, stride, (False, True))[1]
        return of_weight

    @staticmethod
    def backward(ctx: Any, second: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        grad, x = ctx.saved_tensors
        of_grad, of_x, *_ = ctx.needs_input_grad
        return (
            _Convolution.apply(x, second, ctx.groups, ctx.stride) if of_grad else None,
            _InputGradient.apply(grad, second, x.shape, ctx.groups, ctx.stride) if of_x else None,
            None,
            None,
            None,
        )


def _derivatives(
    grad: Tensor, x: Tensor, weight: Tensor, groups: int, stride: int, needed: tuple[bool, bool]
) -> list[Any]:
    """Return the gradients of input and weight that are needed; the tensor of a single one may be a placeholder."""
    padding = _PADDING[weight.shape[-1]]
    grad = grad.contiguous(memory_format=torch.channels_last)
    gradients = torch.ops.aten.convolution_backward(
        grad, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], groups, [*needed, False]
    )
    return [
        part.contiguous(memory_format=torch.channels_last) if part_needed else None
        for part, part_needed in zip(gradients, needed, strict=False)
    ]


def _placeholder(like: Tensor, shape: torch.Size) -> Tensor:
    """Return a tensor whose shape and format are read, but not its values."""
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)
