"""One network that holds all operations of a space, to weigh them by gradient.

First-order DARTS (Liu et al. 2019) with the partial channels and the warm-up of PC-DARTS (Xu et al. 2020).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from runner.nas.space.networks import Perceptron, Reader, convolution, operation
from runner.nas.space.spaces import (
    ACTIVATIONS,
    BLOCKS,
    OPERATIONS,
    ImageDesign,
    ImageSpace,
    Recipe,
    Space,
    TableDesign,
    TableSpace,
    TextDesign,
    TextSpace,
)
from runner.nas.training import losses
from runner.nas.training.batches import Pair, batch_size, batches

STEPS = 1_200  # at the most, each one of the weights and, after the warm-up, one of the policy
WARM_UP = 0.3  # of the training, in which only the weights learn
_LOOKS = 20  # times that the training is reported
_PARTS = 4  # one of so many channels goes through the mixed operation
_LEAST_WIDTH = 16  # of the first stage of images
_RATE, _DECAY = 3e-3, 1e-3  # of the weights
_POLICY_RATE, _POLICY_DECAY, _POLICY_BETAS = 1e-2, 1e-3, (0.5, 0.999)
_CLIP = 5.0
_PLAIN = Recipe(_RATE, _DECAY, 0.0)

Policy = dict[str, list[float]]  # decision -> probability of each option


@dataclass(frozen=True, slots=True)
class Look:
    """The training at a step: mean loss on the held-out batches since the last look, and the policy."""

    step: int
    loss: float
    policy: Policy


class Supernet(nn.Module):
    """`logits` holds those of each mixed decision, by its name; at first all options are equally likely."""

    def __init__(self, decisions: dict[str, int]) -> None:
        super().__init__()
        self.logits = nn.ParameterDict({name: torch.zeros(options) for name, options in decisions.items()})

    def shares(self, decision: str) -> Tensor:
        """The probabilities of a decision's options."""
        return self.logits[decision].softmax(0)

    def policy(self) -> Policy:
        """The probabilities of all mixed decisions."""
        return {name: logits.detach().double().softmax(0).tolist() for name, logits in self.logits.items()}

    def weights(self) -> list[nn.Parameter]:
        """Everything trained but the logits."""
        named = self.named_parameters()
        return [weight for name, weight in named if weight.requires_grad and not name.startswith("logits.")]


class _Mixed(nn.Module):
    """All operations on a part of the channels, mixed by their shares; then the channels change places."""

    def __init__(self, width: int, design: ImageDesign) -> None:
        super().__init__()
        self.part = width // _PARTS
        self.operations = nn.ModuleList(_choice(name, self.part, design) for name in OPERATIONS)

    def forward(self, x: Tensor, shares: Tensor) -> Tensor:
        part, rest = x[:, : self.part], x[:, self.part :]
        mixed = sum(share * choice(part) for share, choice in zip(shares, self.operations, strict=True))
        return torch.cat([mixed, rest], 1).unflatten(1, (_PARTS, self.part)).transpose(1, 2).flatten(1, 2)


class Images(Supernet):
    """A chain as the space has it, of its middle width, with a mixed operation at each searched position."""

    def __init__(self, space: ImageSpace, activation: str = "relu") -> None:
        places = [(stage, place) for stage, count in enumerate(space.positions, 1) for place in range(1, count + 1)]
        super().__init__({f"stage {stage}, operation {place}": len(OPERATIONS) for stage, place in places})
        width = max(_LEAST_WIDTH, _middle(space.widths) // _PARTS * _PARTS)
        design = ImageDesign(width, (), activation, _PLAIN)
        self.enter, self.stages = nn.ModuleList(), nn.ModuleList()
        for stage, count in enumerate(space.positions):
            inputs, width = (width, 2 * width) if stage else (space.shape[0], width)
            enter = nn.Conv2d(inputs, width, 3, stride=2 if stage else space.stride, padding=1, bias=False)
            self.enter.append(convolution(enter, design))
            self.stages.append(nn.ModuleList(_Mixed(width, design) for _ in range(count)))
        self.head = nn.Linear(width, space.outputs)

    def forward(self, x: Tensor) -> Tensor:
        decisions = iter(self.logits)
        for enter, stage in zip(self.enter, self.stages, strict=True):
            x = enter(x)
            for mixed in stage.children():
                x = mixed(x, self.shares(next(decisions)))
        return self.head(x.mean((2, 3)))


class Tables(Supernet):
    """A perceptron of the middle width whose activation is mixed, and whose head reads a mix of all its depths."""

    def __init__(self, space: TableSpace) -> None:
        super().__init__({"depth": len(space.depths), "residual": 2, "activation": len(ACTIVATIONS)})
        design = TableDesign(_middle(space.widths), max(space.depths), False, ACTIVATIONS[0], _PLAIN)
        self.depths, body = space.depths, Perceptron(space, design)
        self.layers, self.head = body.layers, body.head
        # What is left of the perceptron gives the input of its first layer.
        self.embedded: nn.Module = body
        self.embedded.add_module("layers", nn.ModuleList())
        self.embedded.add_module("head", nn.Identity())
        self.activations: tuple[Callable[[Tensor], Tensor], ...] = (torch.relu, nn.functional.silu, nn.functional.gelu)

    def forward(self, x: Tensor) -> Tensor:
        x, by_depth = self.embedded(x), []
        residual = self.shares("residual")[1]
        for index, layer in enumerate(self.layers):
            linear, norm, *_ = layer.children()
            y = self._activated(norm(linear(x)))
            x = y + residual * x if index else y
            by_depth.append(x)
        depths = zip(self.shares("depth"), self.depths, strict=True)
        return self.head(torch.stack([share * by_depth[depth - 1] for share, depth in depths]).sum(0))

    def _activated(self, x: Tensor) -> Tensor:
        pairs = zip(self.shares("activation"), self.activations, strict=True)
        return torch.stack([share * activation(x) for share, activation in pairs]).sum(0)


class Texts(Supernet):
    """One embedding, and a reader of the least depth for each kind of block, whose outputs are mixed."""

    def __init__(self, space: TextSpace) -> None:
        super().__init__({"block": len(BLOCKS)})
        embedding, width, depth = _middle(space.embeddings), _middle(space.widths), min(space.depths)
        designs = [TextDesign(embedding, block, width, depth, _PLAIN) for block in BLOCKS]
        self.readers = nn.ModuleList(Reader(space, design) for design in designs)
        for reader in self.readers:
            reader.embed, reader.head = self.readers[0].embed, nn.Identity()
        # Blocks whose outputs are small by nature must not look the worse for it.
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.head = nn.Linear(width, space.outputs)

    def forward(self, codes: Tensor) -> Tensor:
        pairs = zip(self.shares("block"), self.readers, strict=True)
        return self.head(torch.stack([share * self.norm(reader(codes)) for share, reader in pairs]).sum(0))


def supernet(space: Space, seed: int) -> Supernet:
    """The supernet of a space; its weights depend on the seed only. Raises ValueError for a space that has none."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(space, ImageSpace):
            return Images(space)
        if isinstance(space, TableSpace):
            return Tables(space)
        if isinstance(space, TextSpace):
            return Texts(space)
    raise ValueError(f"There is no supernet of {type(space).__name__}: search it by another strategy.")


def trained(
    net: Supernet, train: Pair, *, seed: int, budget_s: float, stopped: Callable[[], bool], steps: int
) -> Iterator[Look]:
    """Train weights and policy in turn, on two halves of the train rows, until the steps or the seconds are up.

    Ends early where it is stopped or a loss is no number. Raises what the device raises when its memory is full.
    """
    ours, held = _halves(train, seed)
    weights = torch.optim.AdamW(net.weights(), _RATE, weight_decay=_DECAY)
    policy = torch.optim.Adam(net.logits.values(), _POLICY_RATE, _POLICY_BETAS, weight_decay=_POLICY_DECAY)
    began, seen, shown = time.monotonic(), [], 0
    net.train()
    for step, (batch, other) in enumerate(zip(_endless(ours, seed), _endless(held, seed + 1), strict=True), 1):
        done = max(step / steps, (time.monotonic() - began) / max(budget_s, 1e-9))
        for group in weights.param_groups:
            group["lr"] = _RATE * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        seen.append(policy_step(net, policy, other, learns=done > WARM_UP))
        _stepped(weights, net.weights(), loss(net, batch))
        if stopped():
            return
        if done >= min(1.0, (shown + 1) / _LOOKS):
            value, shown, seen = float(torch.stack(seen).mean()), int(done * _LOOKS), []
            if not math.isfinite(value):
                return
            yield Look(step, value, net.policy())
        if done >= 1:
            return


def policy_step(net: Supernet, optimizer: torch.optim.Optimizer, batch: Pair, *, learns: bool) -> Tensor:
    """The loss on a held-out batch, and where the policy `learns` one step of it down that loss."""
    with torch.set_grad_enabled(learns):
        value = loss(net, batch)
    if learns:
        _stepped(optimizer, list(net.logits.values()), value)
    return value.detach()


def loss(net: Supernet, batch: Pair) -> Tensor:
    """Mean loss over the rows of a batch."""
    x, y = batch
    return losses.losses(net(x).unsqueeze(0), y)[0]


def _stepped(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], value: Tensor) -> None:
    for parameter, grad in zip(parameters, torch.autograd.grad(value, parameters, allow_unused=True), strict=True):
        parameter.grad = grad
    nn.utils.clip_grad_norm_(parameters, _CLIP)
    optimizer.step()


def _halves(train: Pair, seed: int) -> tuple[Pair, Pair]:
    x, y = train
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    ours, held = order[: (len(order) + 1) // 2], order[len(order) // 2 :]
    return (x[ours], y[ours]), (x[held], y[held])


def _endless(pair: Pair, seed: int) -> Iterator[Pair]:
    size, epoch = batch_size(len(pair[0])), 0
    while True:
        yield from batches(*pair, size, len(pair[0]), seed, epoch)
        epoch += 1


def _choice(name: str, width: int, design: ImageDesign) -> nn.Module:
    """An operation whose batch norm has no scale of its own, so that it does not weigh more by its size."""
    made = nn.Identity() if name == "skip" else operation(name, width, design)
    for norm in made.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.requires_grad_(False)
    return made


def _middle(widths: tuple[int, ...]) -> int:
    return widths[len(widths) // 2]
