"""Batch norm with ReLU, whose second derivative needs as few passes over memory as the first.

torch's own second derivative of batch norm takes a third of a meta-gradient's time on a processor.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from runner.fewshot.learning.convolutions import Patches, convolve_patches

EPSILON = 1e-5
_LIBRARY_NUMBERS = 2**18  # up to so many, which fit a cache, torch's own gradient is faster
_ALL_BUT_CHANNELS = (0, 2, 3)


def normalise(x: Tensor, scale: Tensor, shift: Tensor, statistics: int | tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Return the ReLU of batch norm of x [rows, channels, height, width].

    `statistics` None means those of all rows, a number those of the first so many rows, a pair the mean and variance
    [channels] themselves. Only None has the fast derivatives. Not for use under `vmap`.
    """
    if statistics is None:
        return _Norm.apply(x, scale, shift)
    mean, variance = statistics if isinstance(statistics, tuple) else moments(x[:statistics])
    gain = scale * torch.rsqrt(variance + EPSILON)
    return torch.addcmul(_by_channel(shift - mean * gain), x, _by_channel(gain)).relu_()


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance [channels] of x [rows, channels, height, width]."""
    mean = x.mean(_ALL_BUT_CHANNELS)
    return mean, (x - _by_channel(mean)).square().mean(_ALL_BUT_CHANNELS)


def normalise_patches(
    x: Patches, weight: Tensor, scale: Tensor, shift: Tensor, statistics: tuple[Tensor, Tensor]
) -> Tensor:
    """Return the ReLU of batch norm of a convolution of patches, with the norm folded into the weights.

    weight is [tasks, outputs, channels, side, side]; scale, shift and both `statistics` (of the convolution's outputs,
    see `output_moments`) are [tasks, outputs]. Neither the norm nor its derivative needs a pass over the outputs.
    """
    mean, variance = statistics
    gain = scale * torch.rsqrt(variance + EPSILON)
    return convolve_patches(x, weight.flatten(2) * gain.unsqueeze(2), shift - mean * gain)


def output_moments(x: Patches, weight: Tensor, n_rows: int | None) -> tuple[Tensor, Tensor]:
    """Return mean and variance [tasks, outputs] of a convolution of patches, computed from those of the patches."""
    mean, covariance = x.moments(n_rows)
    flat = weight.flatten(2)
    return (flat @ mean.unsqueeze(2)).squeeze(2), ((flat @ covariance) * flat).sum(2)


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        y, mean, inverse = torch.native_batch_norm(x, scale, shift, None, None, True, 0.0, EPSILON)
        y.relu_()
        ctx.save_for_backward(x, scale, y, mean, inverse)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, scale, y, mean, inverse = ctx.saved_tensors
        if not torch.is_grad_enabled() and x.numel() <= _LIBRARY_NUMBERS:  # not differentiated again
            passed = torch.ops.aten.threshold_backward(grad, y, 0)
            needed = [True, True, True]
            return torch.ops.aten.native_batch_norm_backward(
                passed, x, scale, None, None, mean, inverse, True, EPSILON, needed
            )
        return _NormGradient.apply(grad, x, scale, y.detach(), mean, inverse)


class _NormGradient(torch.autograd.Function):
    """The gradients of input, scale and shift, given that of the output.

    With z the normalised input, g the gradient where ReLU is active, and P(v) = v - mean(v) - z mean(v z), they are
    scale * inverse * P(g), sum(g z) and sum(g). P is symmetric, and d mean(v z) / dx = inverse * P(v) / n.
    """

    @staticmethod
    def forward(
        ctx: Any, grad: Tensor, x: Tensor, scale: Tensor, y: Tensor, mean: Tensor, inverse: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        z = torch.addcmul(_by_channel(-mean * inverse), x, _by_channel(inverse))
        passed = torch.ops.aten.threshold_backward(grad, y, 0)
        of_shift, of_scale = passed.sum(_ALL_BUT_CHANNELS), (passed * z).sum(_ALL_BUT_CHANNELS)
        gain = scale * inverse
        share = gain * (-x.shape[1] / x.numel())
        of_x = torch.addcmul(_by_channel(share * of_shift), passed, _by_channel(gain))
        of_x.addcmul_(z, _by_channel(share * of_scale))
        ctx.save_for_backward(passed, z, gain, y, inverse, of_scale, of_shift)
        return of_x, of_scale, of_shift

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor | None, ...]:
        passed, z, gain, y, inverse, of_scale, of_shift = ctx.saved_tensors
        part = z.shape[1] / z.numel()
        sum_a, sum_az, sum_ag = (v.sum(_ALL_BUT_CHANNELS) for v in (a, a * z, a * passed))
        # The mean of a * P(g).
        both = (sum_ag - (sum_a * of_shift + sum_az * of_scale) * part) * part
        share = gain * part
        by_z = b - share * sum_az
        of_grad = torch.addcmul(_by_channel(c - share * sum_a), a, _by_channel(gain))
        of_grad.addcmul_(z, _by_channel(by_z))
        of_grad = torch.ops.aten.threshold_backward(of_grad, y, 0)
        by_a, by_g, rest = -inverse * share * of_scale, inverse * by_z, inverse * gain * both
        ahead = (by_a * sum_a + by_g * of_shift) * -part
        of_x = torch.addcmul(_by_channel(ahead), a, _by_channel(by_a)).addcmul_(passed, _by_channel(by_g))
        of_x.addcmul_(z, _by_channel((by_a * sum_az + by_g * of_scale) * -part - rest))
        return of_grad, of_x, inverse * both / part, None, None, None


def _by_channel(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)
