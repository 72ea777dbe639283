"""The weights of a population in one flat tensor, and AdamW with a learning rate and decay per candidate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

BETAS, EPSILON = (0.9, 0.999), 1e-8


@dataclass(frozen=True, slots=True)
class Slot:
    """One stacked tensor: the parameter `name` of the plain modules of `members`, each of `shape`, in this order."""

    key: str
    name: str
    members: tuple[int, ...]
    shape: tuple[int, ...]


class FlatTensors:
    """Stacked tensors as views of one flat tensor: an optimizer step then takes a few kernels.

    `views[key]` has the shape [members, *shape]. `owner` holds the candidate of each number.
    """

    def __init__(self, slots: Sequence[Slot], device: torch.device, dtype: torch.dtype, trainable: bool = True) -> None:
        self.slots = tuple(slots)
        self.rows: dict[tuple[int, str], tuple[int, tuple[int, ...]]] = {}
        owners, lengths, offset = [], [], 0
        for slot in self.slots:
            for member in slot.members:
                self.rows[member, slot.name] = (offset, slot.shape)
                owners.append(member)
                lengths.append(math.prod(slot.shape))
                offset += lengths[-1]
        self.flat = torch.zeros(offset, device=device, dtype=dtype)
        self.lengths = torch.tensor(lengths, device=device, dtype=torch.long)
        self.row_owner = torch.tensor(owners, device=device, dtype=torch.long)
        self.owner = self.row_owner.repeat_interleave(self.lengths)
        self.views: dict[str, Tensor] = {}
        start = 0
        for slot in self.slots:
            size = len(slot.members) * math.prod(slot.shape)
            view = self.flat[start : start + size].view(len(slot.members), *slot.shape)
            self.views[slot.key] = view.requires_grad_() if trainable else view
            start += size

    def row(self, member: int, name: str) -> Tensor:
        """Return one candidate's tensor as a view."""
        start, shape = self.rows[member, name]
        return self.flat.detach()[start : start + math.prod(shape)].view(shape)

    def indices(self, members: Sequence[int], smaller: FlatTensors) -> Tensor:
        """Return the index of the numbers that `smaller` takes from here; it holds these members, renumbered."""
        parts = [
            torch.arange(self.rows[members[member], name][0], self.rows[members[member], name][0] + math.prod(shape))
            for (member, name), (_, shape) in smaller.rows.items()
        ]
        return torch.cat(parts).to(self.flat.device) if parts else torch.zeros(0, dtype=torch.long)


class AdamW:
    """AdamW (Loshchilov and Hutter 2019) over flat tensors; learning rate, decay and clipping are per candidate.

    What changes between steps is in tensors, so a step can be recorded as a graph. Without `branches` a step never
    waits for the device.
    """

    def __init__(
        self, tensors: FlatTensors, lr: Tensor, weight_decay: Tensor, clip: float, branches: bool = True
    ) -> None:
        self.tensors, self.clip, self.steps, self.branches = tensors, clip, 0, branches and lr.device.type == "cpu"
        self.rate, self.scale, self.shift = lr.new_zeros(()), lr.new_zeros(()), lr.new_zeros(())
        self.first, self.second = torch.zeros_like(tensors.flat), torch.zeros_like(tensors.flat)
        self.lr, self.decay = lr[tensors.owner], (lr * weight_decay)[tensors.owner]
        # Sums per candidate as a matrix product: the order of additions is fixed, also on a GPU.
        self.members = torch.zeros(len(lr), len(tensors.row_owner), device=lr.device, dtype=lr.dtype)
        self.members[tensors.row_owner, torch.arange(len(tensors.row_owner), device=lr.device)] = 1

    def prepare(self, rate: float) -> None:
        """Set the next step's factor on the learning rates and its bias corrections."""
        (beta1, beta2), step = BETAS, self.steps + 1
        self.rate.fill_(rate)
        self.scale.fill_((1 - beta1**step) / math.sqrt(1 - beta2**step))
        self.shift.fill_(EPSILON * (1 - beta1**step))

    @torch.no_grad()
    def step(self, grads: Sequence[Tensor]) -> Tensor:
        """Update the weights in place; return which candidates had finite gradients. Does not count `steps`."""
        tensors, (beta1, beta2) = self.tensors, BETAS
        grad = torch.cat([g.reshape(-1) for g in grads])
        norms = self._norms(grad)
        finite = norms.isfinite()
        # A gradient that is not finite is set to zero: the weights stay finite and cannot harm other candidates.
        scale = torch.where(finite, (self.clip / (norms + 1e-6)).clamp(max=1.0), math.nan)
        grad.mul_(scale[tensors.owner])
        if not self.branches or not bool(finite.all()):
            grad.nan_to_num_(0.0, 0.0, 0.0)
        self.first.lerp_(grad, 1 - beta1)
        self.second.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        root, flat = self.second.sqrt().mul_(self.scale).add_(self.shift), tensors.flat.detach()
        change = torch.mul(self.first, self.lr, out=grad).div_(root).addcmul_(flat, self.decay)
        flat.addcmul_(change, self.rate, value=-1)
        return finite

    def _norms(self, grad: Tensor) -> Tensor:
        rows = torch.segment_reduce(grad.square(), "sum", lengths=self.tensors.lengths, unsafe=True)
        bad = ~rows.isfinite()
        # In a product a NaN of one candidate would reach all sums (0 x NaN), so these are counted separately.
        sums = self.members @ rows.masked_fill(bad, 0.0)
        return torch.where(self.members @ bad.to(rows.dtype) > 0, torch.nan, sums.sqrt())
