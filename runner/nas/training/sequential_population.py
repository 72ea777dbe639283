"""Candidates trained one by one behind the interface of a BatchedPopulation: for texts, and where that is faster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from runner.nas.space.networks import build
from runner.nas.space.spaces import AnySpace, Genotype, ImageSpace
from runner.nas.training import losses
from runner.nas.training.batches import EVALUATION_ROWS
from runner.nas.training.flat_weights import BETAS, EPSILON
from runner.nas.training.noise import SharedDropout, augment, draw_noise, noise_width
from runner.nas.training.precision import precision


class Member:
    """One candidate: its module and its torch optimizer."""

    def __init__(self, owner: SequentialPopulation, genotype: Genotype) -> None:
        self.space, self.genotype, self.seed, self.clip = owner.space, genotype, owner.seed, owner.clip
        self.mixed, self.device = owner.mixed, owner.device
        self.recipe, self.steps = owner.space.decode(genotype).recipe, 0
        self.failed = torch.zeros((), dtype=torch.bool, device=owner.device)
        module = build(owner.space, genotype, owner.seed).to(owner.device, owner.dtype)
        self.channels_last = owner.channels_last and isinstance(owner.space, ImageSpace)
        self.module = module
        if self.channels_last:
            for weight in module.parameters():
                if weight.dim() == 4:
                    weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        self.dropouts = _replace_dropouts(self.module)
        self.width = noise_width(owner.space, genotype)
        self.weights = list(self.module.parameters())
        self.optimizer = torch.optim.AdamW(
            self.weights, self.recipe.lr, BETAS, EPSILON, self.recipe.weight_decay, fused=True
        )

    def step(self, x: Tensor, y: Tensor, rate: float) -> Tensor:
        """Take one optimizer step; a loss or gradient that is not finite marks the candidate as failed."""
        self.module.train()
        noise = draw_noise(self.space, self.width, len(x), self.seed, self.steps, self.weights[0])
        for dropout, values in zip(self.dropouts, noise.dropout, strict=False):
            dropout.noise = values
        with precision(self.device, self.mixed):
            outputs = self.module(self.layout(augment(x, self.recipe.augment, noise)))
        loss = losses.mean_losses(outputs.to(self.weights[0].dtype).unsqueeze(0), y)[0]
        for weight, grad in zip(self.weights, torch.autograd.grad(loss, self.weights), strict=True):
            weight.grad = grad
        norm = nn.utils.clip_grad_norm_(self.weights, self.clip, foreach=True)
        self.steps += 1
        # Not read here: a GPU would have to wait in every step, and a failed candidate does no harm.
        self.failed |= ~(norm.isfinite() & loss.detach().isfinite())
        self.optimizer.param_groups[0]["lr"] = self.recipe.lr * rate
        self.optimizer.step()
        return loss.detach()

    def layout(self, x: Tensor) -> Tensor:
        """Return images in the memory layout of this candidate's convolutions."""
        return x.contiguous(memory_format=torch.channels_last) if self.channels_last else x


class SequentialPopulation:
    """Candidates in the order of `genotypes`, each trained alone; for the rest see BatchedPopulation."""

    def __init__(
        self,
        space: AnySpace,
        genotypes: Sequence[Genotype],
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
        clip: float = 5.0,
        channels_last: bool = True,
        mixed: bool = False,
    ) -> None:
        self.space, self.seed, self.dtype, self.device, self.clip = space, seed, dtype, torch.device(device), clip
        self.channels_last, self.mixed = channels_last, mixed
        self.members = [Member(self, tuple(genotype)) for genotype in genotypes]

    def __len__(self) -> int:
        return len(self.members)

    @property
    def genotypes(self) -> tuple[Genotype, ...]:
        """The candidates in order."""
        return tuple(member.genotype for member in self.members)

    @property
    def failed(self) -> Tensor:
        """Which candidates had a loss or gradient that is not finite."""
        return torch.stack([member.failed for member in self.members])

    def step(self, x: Tensor, y: Tensor, rate: float = 1.0) -> Tensor:
        """Take one optimizer step of each candidate; return its loss before the step."""
        x, y = self._input(x), y.to(self.device)
        return torch.stack([member.step(x, y, rate) for member in self.members])

    def train(self, batches: Sequence[tuple[Tensor, Tensor, float]]) -> Tensor:
        """Train each candidate on all batches (inputs, targets, factor on the learning rate); return its mean loss."""
        ready = [(self._input(x), y.to(self.device), rate) for x, y, rate in batches]
        return torch.stack([self._train(member, ready) for member in self.members])

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Return outputs [candidates, rows, outputs] in evaluation mode."""
        x = self._input(x)
        return torch.stack([member.module.eval()(member.layout(x)) for member in self.members])

    @torch.no_grad()
    def evaluate(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss and the error (misclassified fraction, or RMSE) of each candidate; NaN if it failed."""
        pairs = torch.stack([torch.stack(self._evaluate(member, x, y)) for member in self.members])
        pairs[self.failed | ~pairs[:, 0].isfinite()] = torch.nan
        return pairs[:, 0], pairs[:, 1]

    def keep(self, indices: Sequence[int]) -> None:
        """Drop all candidates but these, and put them in this order."""
        if len(set(indices)) != len(indices) or not indices:
            raise ValueError(f"Keep at least one candidate and each once, not {list(indices)}.")
        self.members = [self.members[index] for index in indices]

    def extract(self, index: int) -> nn.Module:
        """Return the plain module of one candidate with its weights, in evaluation mode, on the CPU."""
        member = self.members[index]
        module = build(self.space, member.genotype, seed=0).to(self.dtype)
        module.load_state_dict({name: tensor.cpu() for name, tensor in member.module.state_dict().items()})
        return module.eval()

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to continue, in a form that torch.load(weights_only=True) reads."""
        members = [
            {
                "module": {name: tensor.clone() for name, tensor in member.module.state_dict().items()},
                "optimizer": member.optimizer.state_dict(),
                "steps": member.steps,
                "failed": bool(member.failed),
            }
            for member in self.members
        ]
        return {"genotypes": self.genotypes, "seed": self.seed, "members": members}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state, which may hold fewer candidates.

        Raises ValueError where it holds candidates that are not in this population.
        """
        saved = [tuple(genotype) for genotype in state["genotypes"]]
        if not set(saved) <= set(self.genotypes):
            raise ValueError("The checkpoint has candidates that are not in this population.")
        self.keep([self.genotypes.index(genotype) for genotype in saved])
        for member, values in zip(self.members, state["members"], strict=True):
            member.module.load_state_dict(values["module"])
            member.optimizer.load_state_dict(values["optimizer"])
            member.steps, member.seed = values["steps"], state["seed"]
            member.failed.fill_(values["failed"])
        self.seed = state["seed"]

    def _train(self, member: Member, batches: Sequence[tuple[Tensor, Tensor, float]]) -> Tensor:
        try:
            return torch.stack([member.step(x, y, rate) for x, y, rate in batches]).mean()
        except (RuntimeError, MemoryError) as error:
            if not losses.is_out_of_memory(error):
                raise
        member.failed.fill_(True)
        return torch.tensor(torch.nan, device=self.device, dtype=self.dtype)

    def _input(self, x: Tensor) -> Tensor:
        x = x.to(self.device)
        return x.to(self.dtype) if x.is_floating_point() else x

    def _evaluate(self, member: Member, x: Tensor, y: Tensor) -> list[Tensor]:
        member.module.eval()
        total = torch.zeros(2, device=self.device, dtype=self.dtype)
        for start in range(0, len(x), EVALUATION_ROWS):
            target = y[start : start + EVALUATION_ROWS].to(self.device)
            source = member.layout(self._input(x[start : start + EVALUATION_ROWS]))
            outputs = member.module(source).unsqueeze(0)
            total[0] += losses.mean_losses(outputs, target)[0] * len(target)
            total[1] += losses.error_sums(outputs, target)[0]
        return [total[0] / len(x), losses.mean_errors(total[1], len(x), y)]


def _replace_dropouts(module: nn.Module) -> list[SharedDropout]:
    """Replace the dropouts of a module; return the new ones in order."""
    dropouts = []
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Dropout):
                dropouts.append(SharedDropout(child.p))
                setattr(parent, name, dropouts[-1])
    return dropouts
