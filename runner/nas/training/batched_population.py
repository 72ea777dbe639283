"""Many different candidates of one bucket, trained together in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from runner.nas.space.networks import build
from runner.nas.space.spaces import AnySpace, Genotype, ImageSpace, TableSpace
from runner.nas.training import losses
from runner.nas.training.batches import EVALUATION_ROWS
from runner.nas.training.cuda_graphs import Recording
from runner.nas.training.flat_weights import AdamW, FlatTensors
from runner.nas.training.noise import Noise, draw_noise, noise_width
from runner.nas.training.precision import precision
from runner.nas.training.stacked_networks import ImageStack, TableStack


def can_batch(space: AnySpace) -> bool:
    """Return whether candidates of this space can be trained together; text networks are trained one by one."""
    return isinstance(space, ImageSpace | TableSpace)


class BatchedPopulation:
    """Candidates of one bucket, in the order of `genotypes`, with their weights and optimizer.

    The result for each candidate is the same as when it trains alone: seed, data order and noise are shared. With
    `mixed`, training steps compute in bfloat16; with `graph`, steps on a GPU are recorded once and replayed.
    Raises ValueError for candidates of several buckets, and the device's torch.OutOfMemoryError or RuntimeError.
    """

    def __init__(
        self,
        space: AnySpace,
        genotypes: Sequence[Genotype],
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
        clip: float = 5.0,
        mixed: bool = False,
        graph: bool = False,
        fill: bool = True,
    ) -> None:
        if len({space.bucket(genotype) for genotype in genotypes}) != 1:
            raise ValueError(
                "A population holds candidates of one bucket: group them with training_plan.group_by_bucket first."
            )
        self.space, self.genotypes = space, tuple(genotypes)
        self.seed, self.dtype, self.device, self.clip = seed, dtype, torch.device(device), clip
        self.mixed, self.graph = mixed, graph
        self.recordings: dict[Any, Recording] = {}
        self.stack = _stack(space, self.genotypes, self.device)
        self.weights = FlatTensors(self.stack.slots, self.device, dtype)
        self.buffers = FlatTensors(self.stack.buffers, self.device, dtype, trainable=False)
        recipes = [space.decode(genotype).recipe for genotype in genotypes]
        lr = torch.tensor([recipe.lr for recipe in recipes], dtype=torch.float64)
        decay = torch.tensor([recipe.weight_decay for recipe in recipes], dtype=torch.float64)
        self.optimizer = AdamW(self.weights, lr.to(self.device, dtype), decay.to(self.device, dtype), clip, not graph)
        self.failed = torch.zeros(len(self.genotypes), dtype=torch.bool, device=self.device)
        if fill:
            self._fill()

    def __len__(self) -> int:
        return len(self.genotypes)

    def step(self, x: Tensor, y: Tensor, rate: float = 1.0) -> Tensor:
        """Take one optimizer step with the learning rates times `rate`; return each candidate's loss before it.

        A candidate whose loss or gradient is not finite is marked in `failed`; it does not affect the others.
        Where the device runs out of memory, its error is raised and the population stays as it was.
        """
        running = self.buffers.flat.clone()
        try:
            noise = draw_noise(
                self.space, self._noise_width, len(x), self.seed, self.optimizer.steps, self.weights.flat
            )
            parts = [tensor for tensor in (noise.dropout, noise.shift, noise.flip) if tensor is not None]
            self.optimizer.prepare(rate)
            values = self._run([self._input(x), y.to(self.device), *parts])
        except Exception:
            self.recordings.clear()
            self.buffers.flat.copy_(running)
            raise
        self.optimizer.steps += 1
        return values

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Return outputs [candidates, rows, outputs] in evaluation mode."""
        return self.stack.forward(self.weights.views, self.buffers.views, self._input(x), None)

    @torch.no_grad()
    def evaluate(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss and the error (misclassified fraction, or RMSE) of each candidate; NaN if it failed."""
        loss = torch.zeros(len(self), device=self.device, dtype=self.dtype)
        error_sum = torch.zeros_like(loss)
        for start in range(0, len(x), EVALUATION_ROWS):
            target = y[start : start + EVALUATION_ROWS].to(self.device)
            outputs = self.predict(x[start : start + EVALUATION_ROWS])
            loss += losses.mean_losses(outputs, target) * len(target)
            error_sum += losses.error_sums(outputs, target)
        failed = self.failed | ~loss.isfinite()
        nan = torch.full_like(loss, torch.nan)
        return torch.where(failed, nan, loss / len(x)), torch.where(
            failed, nan, losses.mean_errors(error_sum, len(x), y)
        )

    def keep(self, indices: Sequence[int]) -> None:
        """Drop all candidates but these, and put them in this order; weights and optimizer state are compacted."""
        if len(set(indices)) != len(indices) or not indices:
            raise ValueError(f"Keep at least one candidate and each once, not {list(indices)}.")
        self.__dict__.update(self._subset(list(indices)).__dict__)

    def split(self) -> tuple[BatchedPopulation, BatchedPopulation]:
        """Return two halves that train on as the whole would: they need less memory."""
        if len(self) < 2:
            raise ValueError("One candidate cannot be split.")
        middle = (len(self) + 1) // 2
        return self._subset(list(range(middle))), self._subset(list(range(middle, len(self))))

    def extract(self, index: int) -> nn.Module:
        """Return the plain module of one candidate with its weights, in evaluation mode, on the CPU."""
        module = build(self.space, self.genotypes[index], seed=0)
        for name, tensor in _named(module):
            source = self.buffers if "running_" in name else self.weights
            tensor.data = source.row(index, name).detach().cpu().clone()
        return module.eval()

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to continue, in a form that torch.load(weights_only=True) reads."""
        optimizer = self.optimizer
        tensors = {"weights": self.weights.flat, "buffers": self.buffers.flat, "failed": self.failed}
        tensors |= {"first": optimizer.first, "second": optimizer.second}
        saved = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
        return {"genotypes": self.genotypes, "steps": optimizer.steps, "seed": self.seed, **saved}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state, which may hold fewer candidates.

        Raises ValueError where it holds candidates that are not in this population.
        """
        saved = tuple(tuple(genotype) for genotype in state["genotypes"])
        if not set(saved) <= set(self.genotypes):
            raise ValueError("The checkpoint has candidates that are not in this population.")
        if saved != self.genotypes:
            self.keep([self.genotypes.index(genotype) for genotype in saved])
        with torch.no_grad():
            self.weights.flat.copy_(state["weights"])
            self.buffers.flat.copy_(state["buffers"])
        self.failed.copy_(state["failed"])
        self.optimizer.first.copy_(state["first"])
        self.optimizer.second.copy_(state["second"])
        self.optimizer.steps, self.seed = state["steps"], state["seed"]

    def _run(self, inputs: list[Tensor]) -> Tensor:
        if not self.graph:
            return self._advance(*inputs)
        key = tuple((x.shape, x.dtype) for x in inputs)
        if key not in self.recordings:
            self.recordings[key] = Recording(inputs)
        state = [
            self.weights.flat.detach(),
            self.buffers.flat,
            self.failed,
            self.optimizer.first,
            self.optimizer.second,
        ]
        return self.recordings[key](self._advance, inputs, state)

    def _advance(self, x: Tensor, y: Tensor, *noise: Tensor) -> Tensor:
        """Take the step as a function of tensors that changes the state in place and never waits for the device."""
        with precision(self.device, self.mixed):
            outputs = self.stack.forward(self.weights.views, self.buffers.views, x, Noise(*noise))
        values = losses.mean_losses(outputs.to(self.dtype), y)
        finite = self.optimizer.step(torch.autograd.grad(values.sum(), list(self.weights.views.values())))
        values = values.detach()
        self.failed |= ~(finite & values.isfinite())
        return values

    @property
    def _noise_width(self) -> int:
        return noise_width(self.space, self.genotypes[0])

    def _input(self, x: Tensor) -> Tensor:
        return x.to(self.device, self.dtype)

    def _fill(self) -> None:
        for index, genotype in enumerate(self.genotypes):
            for name, tensor in _named(build(self.space, genotype, self.seed)):
                source = self.buffers if "running_" in name else self.weights
                source.row(index, name).copy_(tensor.detach())

    @torch.no_grad()
    def _subset(self, indices: list[int]) -> BatchedPopulation:
        chosen = [self.genotypes[index] for index in indices]
        names = ("seed", "dtype", "device", "clip", "mixed", "graph")
        settings: dict[str, Any] = {name: getattr(self, name) for name in names}
        subset = BatchedPopulation(self.space, chosen, fill=False, **settings)
        selection = self.weights.indices(indices, subset.weights)
        subset.weights.flat.copy_(self.weights.flat[selection])
        subset.buffers.flat.copy_(self.buffers.flat[self.buffers.indices(indices, subset.buffers)])
        subset.optimizer.first.copy_(self.optimizer.first[selection])
        subset.optimizer.second.copy_(self.optimizer.second[selection])
        subset.optimizer.steps = self.optimizer.steps
        subset.failed.copy_(self.failed[torch.tensor(indices, device=self.device)])
        return subset


def _stack(space: AnySpace, genotypes: tuple[Genotype, ...], device: torch.device) -> ImageStack | TableStack:
    if isinstance(space, ImageSpace):
        return ImageStack(space, [space.decode(genotype) for genotype in genotypes], device)
    if isinstance(space, TableSpace):
        return TableStack(space, [space.decode(genotype) for genotype in genotypes], device)
    raise ValueError("Text candidates are trained one by one: use SequentialPopulation.")


def _named(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Return parameters and running statistics by name."""
    running = [(name, buffer) for name, buffer in module.named_buffers() if "running_" in name]
    return [*module.named_parameters(), *running]
