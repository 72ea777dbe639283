"""Many different candidates of one bucket trained at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from runner.nas.space.networks import build
from runner.nas.space.spaces import AnySpace, Genotype, ImageSpace, TableSpace
from runner.nas.training import losses as losses_of
from runner.nas.training.batches import EVALUATION_ROWS
from runner.nas.training.draws import Draws, draw, noise_width
from runner.nas.training.graphs import Recording
from runner.nas.training.precision import precision
from runner.nas.training.stacks import ImageStack, TableStack
from runner.nas.training.weights import AdamW, Store


def stackable(space: AnySpace) -> bool:
    """Whether candidates of this space can be trained at once; text networks are trained one by one."""
    return isinstance(space, ImageSpace | TableSpace)


class Population:
    """Candidates of one bucket, in the order of `genotypes`, with their weights and optimizer.

    Candidate by candidate it computes what training each alone would: seed, data order and draws are shared.
    With `mixed` training steps compute in bfloat16; with `graph` steps on a GPU are recorded once and replayed.
    Raises ValueError for candidates of several buckets, and torch.OutOfMemoryError or RuntimeError from the device.
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
            raise ValueError("A population holds candidates of one bucket; group them with planner.buckets first.")
        self.space, self.genotypes = space, tuple(genotypes)
        self.seed, self.dtype, self.device, self.clip = seed, dtype, torch.device(device), clip
        self.mixed, self.graph = mixed, graph
        self.recordings: dict[Any, Recording] = {}
        self.stack = _stack(space, self.genotypes, self.device)
        self.store = Store(self.stack.slots, self.device, dtype)
        self.buffers = Store(self.stack.buffers, self.device, dtype, trained=False)
        recipes = [space.decode(genotype).recipe for genotype in genotypes]
        lr = torch.tensor([recipe.lr for recipe in recipes], dtype=torch.float64)
        decay = torch.tensor([recipe.weight_decay for recipe in recipes], dtype=torch.float64)
        self.optimizer = AdamW(self.store, lr.to(self.device, dtype), decay.to(self.device, dtype), clip, not graph)
        self.failed = torch.zeros(len(self.genotypes), dtype=torch.bool, device=self.device)
        if fill:
            self._fill()

    def __len__(self) -> int:
        return len(self.genotypes)

    def step(self, x: Tensor, y: Tensor, rate: float = 1.0) -> Tensor:
        """One optimizer step with the learning rates times `rate`; the loss of each candidate before it.

        A candidate whose loss or gradient is not finite is marked in `failed`; its neighbours do not notice.
        If the device runs out of memory the error leaves the population as it was.
        """
        running = self.buffers.flat.clone()
        try:
            draws = draw(self.space, self._noise_width, len(x), self.seed, self.optimizer.steps, self.store.flat)
            its = [tensor for tensor in (draws.dropout, draws.shift, draws.flip) if tensor is not None]
            self.optimizer.prepare(rate)
            losses = self._run([self._input(x), y.to(self.device), *its])
        except Exception:
            self.recordings.clear()
            self.buffers.flat.copy_(running)
            raise
        self.optimizer.steps += 1
        return losses

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Outputs [candidates, rows, outputs] in evaluation mode."""
        return self.stack.forward(self.store.views, self.buffers.views, self._input(x), None)

    @torch.no_grad()
    def evaluate(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss and error (misclassified fraction, or RMSE) of each candidate; NaN where it failed."""
        loss = torch.zeros(len(self), device=self.device, dtype=self.dtype)
        missed = torch.zeros_like(loss)
        for start in range(0, len(x), EVALUATION_ROWS):
            target = y[start : start + EVALUATION_ROWS].to(self.device)
            outputs = self.predict(x[start : start + EVALUATION_ROWS])
            loss += losses_of.losses(outputs, target) * len(target)
            missed += losses_of.misses(outputs, target)
        gone = self.failed | ~loss.isfinite()
        nan = torch.full_like(loss, torch.nan)
        return torch.where(gone, nan, loss / len(x)), torch.where(gone, nan, losses_of.as_error(missed, len(x), y))

    def keep(self, indices: Sequence[int]) -> None:
        """Go on with these candidates only, in this order; weights and optimizer state are compacted."""
        if len(set(indices)) != len(indices) or not indices:
            raise ValueError(f"Keep at least one candidate and each once, not {list(indices)}.")
        self.__dict__.update(self._part(list(indices)).__dict__)

    def split(self) -> tuple[Population, Population]:
        """Two halves that go on as this one would; the way out of a full memory."""
        if len(self) < 2:
            raise ValueError("One candidate cannot be split.")
        middle = (len(self) + 1) // 2
        return self._part(list(range(middle))), self._part(list(range(middle, len(self))))

    def extract(self, index: int) -> nn.Module:
        """The plain module of one candidate with its weights, in evaluation mode, on the CPU."""
        module = build(self.space, self.genotypes[index], seed=0)
        for name, tensor in _named(module):
            source = self.buffers if "running_" in name else self.store
            tensor.data = source.row(index, name).detach().cpu().clone()
        return module.eval()

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on; torch.save and weights_only loading work on it."""
        optimizer = self.optimizer
        tensors = {"weights": self.store.flat, "buffers": self.buffers.flat, "failed": self.failed}
        tensors |= {"first": optimizer.first, "second": optimizer.second}
        saved = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
        return {"genotypes": self.genotypes, "steps": optimizer.steps, "seed": self.seed, **saved}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state, whoever was kept by then; raises ValueError for candidates that are not here."""
        saved = tuple(tuple(genotype) for genotype in state["genotypes"])
        if not set(saved) <= set(self.genotypes):
            raise ValueError("The checkpoint holds other candidates than this population.")
        if saved != self.genotypes:
            self.keep([self.genotypes.index(genotype) for genotype in saved])
        with torch.no_grad():
            self.store.flat.copy_(state["weights"])
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
        state = [self.store.flat.detach(), self.buffers.flat, self.failed, self.optimizer.first, self.optimizer.second]
        return self.recordings[key](self._advance, inputs, state)

    def _advance(self, x: Tensor, y: Tensor, *draws: Tensor) -> Tensor:
        """The step as a function of tensors, with its effects in place: nothing here waits for the device."""
        with precision(self.device, self.mixed):
            outputs = self.stack.forward(self.store.views, self.buffers.views, x, Draws(*draws))
        losses = losses_of.losses(outputs.to(self.dtype), y)
        finite = self.optimizer.step(torch.autograd.grad(losses.sum(), list(self.store.views.values())))
        losses = losses.detach()
        self.failed |= ~(finite & losses.isfinite())
        return losses

    @property
    def _noise_width(self) -> int:
        return noise_width(self.space, self.genotypes[0])

    def _input(self, x: Tensor) -> Tensor:
        return x.to(self.device, self.dtype)

    def _fill(self) -> None:
        for index, genotype in enumerate(self.genotypes):
            for name, tensor in _named(build(self.space, genotype, self.seed)):
                source = self.buffers if "running_" in name else self.store
                source.row(index, name).copy_(tensor.detach())

    @torch.no_grad()
    def _part(self, indices: list[int]) -> Population:
        chosen = [self.genotypes[index] for index in indices]
        names = ("seed", "dtype", "device", "clip", "mixed", "graph")
        settings: dict[str, Any] = {name: getattr(self, name) for name in names}
        part = Population(self.space, chosen, fill=False, **settings)
        places = self.store.places(indices, part.store)
        part.store.flat.copy_(self.store.flat[places])
        part.buffers.flat.copy_(self.buffers.flat[self.buffers.places(indices, part.buffers)])
        part.optimizer.first.copy_(self.optimizer.first[places])
        part.optimizer.second.copy_(self.optimizer.second[places])
        part.optimizer.steps = self.optimizer.steps
        part.failed.copy_(self.failed[torch.tensor(indices, device=self.device)])
        return part


def _stack(space: AnySpace, genotypes: tuple[Genotype, ...], device: torch.device) -> ImageStack | TableStack:
    if isinstance(space, ImageSpace):
        return ImageStack(space, [space.decode(genotype) for genotype in genotypes], device)
    if isinstance(space, TableSpace):
        return TableStack(space, [space.decode(genotype) for genotype in genotypes], device)
    raise ValueError("Text candidates are trained one by one; use Individuals.")


def _named(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Parameters and running statistics by name."""
    running = [(name, buffer) for name, buffer in module.named_buffers() if "running_" in name]
    return [*module.named_parameters(), *running]
