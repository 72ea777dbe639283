"""The weights of a population in one flat tensor, with an AdamW step whose settings differ by candidate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

BETAS, EPSILON = (0.9, 0.999), 1e-8


@dataclass(frozen=True, slots=True)
class Slot:
    """One stacked tensor: parameter `name` of the plain modules of `members`, each of `shape`, in this order."""

    key: str
    name: str
    members: tuple[int, ...]
    shape: tuple[int, ...]


class Store:
    """Stacked tensors as views of one flat tensor, so that an optimizer step is a handful of kernels.

    `views[key]` has shape [members, *shape]; `owner` holds the candidate of each number.
    """

    def __init__(self, slots: Sequence[Slot], device: torch.device, dtype: torch.dtype, trained: bool = True) -> None:
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
            self.views[slot.key] = view.requires_grad_() if trained else view
            start += size

    def row(self, member: int, name: str) -> Tensor:
        """One candidate's tensor, as a view."""
        start, shape = self.rows[member, name]
        return self.flat.detach()[start : start + math.prod(shape)].view(shape)

    def places(self, members: Sequence[int], smaller: Store) -> Tensor:
        """Index into this flat tensor that makes the flat tensor of `smaller`, which holds `members` renumbered."""
        parts = [
            torch.arange(self.rows[members[member], name][0], self.rows[members[member], name][0] + math.prod(shape))
            for (member, name), (_, shape) in smaller.rows.items()
        ]
        return torch.cat(parts).to(self.flat.device) if parts else torch.zeros(0, dtype=torch.long)


class AdamW:
    """Decoupled weight decay and Adam over a store: learning rate, decay and clipping each by candidate.

    What changes from step to step lies in tensors, so that a step can be recorded; without `branches` it never
    waits for the device.
    """

    def __init__(self, store: Store, lr: Tensor, weight_decay: Tensor, clip: float, branches: bool = True) -> None:
        self.store, self.clip, self.steps, self.branches = store, clip, 0, branches and lr.device.type == "cpu"
        self.rate, self.scale, self.shift = lr.new_zeros(()), lr.new_zeros(()), lr.new_zeros(())
        self.first, self.second = torch.zeros_like(store.flat), torch.zeros_like(store.flat)
        self.lr, self.decay = lr[store.owner], (lr * weight_decay)[store.owner]
        # Sums over candidates as a product: the order of additions is fixed, on a GPU too.
        self.members = torch.zeros(len(lr), len(store.row_owner), device=lr.device, dtype=lr.dtype)
        self.members[store.row_owner, torch.arange(len(store.row_owner), device=lr.device)] = 1

    def prepare(self, rate: float) -> None:
        """Set the next step's factor of the learning rates and its corrections for the averages' start at zero."""
        (beta1, beta2), step = BETAS, self.steps + 1
        self.rate.fill_(rate)
        self.scale.fill_((1 - beta1**step) / math.sqrt(1 - beta2**step))
        self.shift.fill_(EPSILON * (1 - beta1**step))

    @torch.no_grad()
    def step(self, grads: Sequence[Tensor]) -> Tensor:
        """Update in place as prepared; returns which candidates had finite gradients. Does not count `steps`."""
        store, (beta1, beta2) = self.store, BETAS
        grad = torch.cat([g.reshape(-1) for g in grads])
        norms = self._norms(grad)
        finite = norms.isfinite()
        # A candidate without a finite gradient gets none: its weights stay numbers and cannot harm a neighbour.
        scale = torch.where(finite, (self.clip / (norms + 1e-6)).clamp(max=1.0), math.nan)
        grad.mul_(scale[store.owner])
        if not self.branches or not bool(finite.all()):
            grad.nan_to_num_(0.0, 0.0, 0.0)
        self.first.lerp_(grad, 1 - beta1)
        self.second.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        root, flat = self.second.sqrt().mul_(self.scale).add_(self.shift), store.flat.detach()
        change = torch.mul(self.first, self.lr, out=grad).div_(root).addcmul_(flat, self.decay)
        flat.addcmul_(change, self.rate, value=-1)
        return finite

    def _norms(self, grad: Tensor) -> Tensor:
        rows = torch.segment_reduce(grad.square(), "sum", lengths=self.store.lengths, unsafe=True)
        bad = ~rows.isfinite()
        # In a product one candidate's NaN would reach all sums (0 x NaN), so the bad ones are counted apart.
        sums = self.members @ rows.masked_fill(bad, 0.0)
        return torch.where(self.members @ bad.to(rows.dtype) > 0, torch.nan, sums.sqrt())
