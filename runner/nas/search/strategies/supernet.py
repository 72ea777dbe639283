"""A supernet: one network that has all operations of a space and weighs them by gradient.

First-order DARTS (Liu et al. 2019) with the partial channels and the warm-up of PC-DARTS (Xu et al. 2020).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from runner.nas.space.designs import ACTIVATIONS, BLOCKS, OPERATIONS, ImageDesign, Recipe, TableDesign, TextDesign
from runner.nas.space.networks import Perceptron, Reader, build_convolution, build_operation
from runner.nas.space.spaces import ImageSpace, Space, TableSpace, TextSpace
from runner.nas.training import losses
from runner.nas.training.batches import Pair, batch_size, batches

STEPS = 1_200  # maximum; each one of the weights and, after the warm-up, one of the policy
WARM_UP = 0.3  # part of the training in which only the weights learn
_SNAPSHOTS = 20  # of a training
_PARTS = 4  # one of so many channels passes through the mixed operation
_MINIMUM_WIDTH = 16  # of the first stage for images
_RATE, _DECAY = 3e-3, 1e-3  # of the weights
_POLICY_RATE, _POLICY_DECAY, _POLICY_BETAS = 1e-2, 1e-3, (0.5, 0.999)
_CLIP = 5.0
_PLAIN = Recipe(_RATE, _DECAY, 0.0)

OptionShares = dict[str, list[float]]  # decision -> probability of each option


@dataclass(frozen=True, slots=True)
class PolicySnapshot:
    """The policy at a step of the training, and the mean loss on the held-out batches since the last snapshot."""

    step: int
    loss: float
    policy: OptionShares


class Supernet(nn.Module):
    """`logits` has those of each mixed decision by its name; at first all options are equally likely."""

    def __init__(self, decisions: dict[str, int]) -> None:
        super().__init__()
        self.logits = nn.ParameterDict({name: torch.zeros(options) for name, options in decisions.items()})

    def shares(self, decision: str) -> Tensor:
        """Return the probabilities of a decision's options."""
        return self.logits[decision].softmax(0)

    def policy(self) -> OptionShares:
        """Return the probabilities of all mixed decisions."""
        return {name: logits.detach().double().softmax(0).tolist() for name, logits in self.logits.items()}

    def weights(self) -> list[nn.Parameter]:
        """Return all trained parameters except the logits."""
        named = self.named_parameters()
        return [weight for name, weight in named if weight.requires_grad and not name.startswith("logits.")]


class _Mixed(nn.Module):
    """All operations on a part of the channels, mixed by their shares; then the channels are shuffled."""

    def __init__(self, width: int, design: ImageDesign) -> None:
        super().__init__()
        self.part = width // _PARTS
        self.operations = nn.ModuleList(_choice(name, self.part, design) for name in OPERATIONS)

    def forward(self, x: Tensor, shares: Tensor) -> Tensor:
        part, rest = x[:, : self.part], x[:, self.part :]
        mixed = sum(share * choice(part) for share, choice in zip(shares, self.operations, strict=True))
        return torch.cat([mixed, rest], 1).unflatten(1, (_PARTS, self.part)).transpose(1, 2).flatten(1, 2)


class Images(Supernet):
    """A chain of the space's middle width with a mixed operation at each searched position."""

    def __init__(self, space: ImageSpace, activation: str = "relu") -> None:
        places = [(stage, place) for stage, count in enumerate(space.positions, 1) for place in range(1, count + 1)]
        super().__init__({f"stage {stage}, operation {place}": len(OPERATIONS) for stage, place in places})
        width = max(_MINIMUM_WIDTH, _middle(space.widths) // _PARTS * _PARTS)
        design = ImageDesign(width, (), activation, _PLAIN)
        self.enter, self.stages = nn.ModuleList(), nn.ModuleList()
        for stage, count in enumerate(space.positions):
            inputs, width = (width, 2 * width) if stage else (space.shape[0], width)
            enter = nn.Conv2d(inputs, width, 3, stride=2 if stage else space.stride, padding=1, bias=False)
            self.enter.append(build_convolution(enter, design))
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
    """A perceptron of the middle width with mixed activations; its head reads a mix of all depths."""

    def __init__(self, space: TableSpace) -> None:
        super().__init__({"depth": len(space.depths), "residual": 2, "activation": len(ACTIVATIONS)})
        design = TableDesign(_middle(space.widths), max(space.depths), False, ACTIVATIONS[0], _PLAIN)
        self.depths, body = space.depths, Perceptron(space, design)
        self.layers, self.head = body.layers, body.head
        # The rest of the perceptron makes the input of the first layer.
        self.embedded: nn.Module = body
        self.embedded.add_module("layers", nn.ModuleList())
        self.embedded.add_module("head", nn.Identity())
        self.activations: tuple[Callable[[Tensor], Tensor], ...] = (torch.relu, nn.functional.silu, nn.functional.gelu)

    def forward(self, x: Tensor) -> Tensor:
        x, by_depth = self.embedded(x), []
        residual = self.shares("residual")[1]
        for index, layer in enumerate(self.layers):
            linear, norm, *_ = layer.children()
            y = self._activate(norm(linear(x)))
            x = y + residual * x if index else y
            by_depth.append(x)
        depths = zip(self.shares("depth"), self.depths, strict=True)
        return self.head(torch.stack([share * by_depth[depth - 1] for share, depth in depths]).sum(0))

    def _activate(self, x: Tensor) -> Tensor:
        pairs = zip(self.shares("activation"), self.activations, strict=True)
        return torch.stack([share * activation(x) for share, activation in pairs]).sum(0)


class Texts(Supernet):
    """One embedding, and a reader of the lowest depth for each kind of block; their outputs are mixed."""

    def __init__(self, space: TextSpace) -> None:
        super().__init__({"block": len(BLOCKS)})
        embedding, width, depth = _middle(space.embeddings), _middle(space.widths), min(space.depths)
        designs = [TextDesign(embedding, block, width, depth, _PLAIN) for block in BLOCKS]
        self.readers = nn.ModuleList(Reader(space, design) for design in designs)
        for reader in self.readers:
            reader.embed, reader.head = self.readers[0].embed, nn.Identity()
        # The scale of a block's outputs must not decide how good it looks.
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.head = nn.Linear(width, space.outputs)

    def forward(self, codes: Tensor) -> Tensor:
        pairs = zip(self.shares("block"), self.readers, strict=True)
        return self.head(torch.stack([share * self.norm(reader(codes)) for share, reader in pairs]).sum(0))


def build_supernet(space: Space, seed: int) -> Supernet:
    """Return the supernet of a space; its weights depend on the seed only. Raises ValueError for other spaces."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(space, ImageSpace):
            return Images(space)
        if isinstance(space, TableSpace):
            return Tables(space)
        if isinstance(space, TextSpace):
            return Texts(space)
    raise ValueError(f"There is no supernet of {type(space).__name__}: use another strategy.")


def train_supernet(
    net: Supernet, train: Pair, *, seed: int, budget_s: float, must_stop: Callable[[], bool], steps: int
) -> Iterator[PolicySnapshot]:
    """Train weights and policy in turn, on two halves of the train rows, until the steps or the seconds are over.

    It ends early after a stop or a loss that is not finite. Raises the device's error where memory runs out.
    """
    first, second = _halves(train, seed)
    weights = torch.optim.AdamW(net.weights(), _RATE, weight_decay=_DECAY)
    policy = torch.optim.Adam(net.logits.values(), _POLICY_RATE, _POLICY_BETAS, weight_decay=_POLICY_DECAY)
    began, held_out, n_snapshots = time.monotonic(), list[Tensor](), 0
    net.train()
    for step, (batch, other) in enumerate(zip(_endless(first, seed), _endless(second, seed + 1), strict=True), 1):
        done = max(step / steps, (time.monotonic() - began) / max(budget_s, 1e-9))
        for group in weights.param_groups:
            group["lr"] = _RATE * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        held_out.append(policy_step(net, policy, other, learns=done > WARM_UP))
        _step(weights, net.weights(), loss(net, batch))
        if must_stop():
            return
        if done >= min(1.0, (n_snapshots + 1) / _SNAPSHOTS):
            value, n_snapshots, held_out = float(torch.stack(held_out).mean()), int(done * _SNAPSHOTS), []
            if not math.isfinite(value):
                return
            yield PolicySnapshot(step, value, net.policy())
        if done >= 1:
            return


def policy_step(net: Supernet, optimizer: torch.optim.Optimizer, batch: Pair, *, learns: bool) -> Tensor:
    """Return the loss on a held-out batch, after one step of the policy on it if it `learns`."""
    with torch.set_grad_enabled(learns):
        value = loss(net, batch)
    if learns:
        _step(optimizer, list(net.logits.values()), value)
    return value.detach()


def loss(net: Supernet, batch: Pair) -> Tensor:
    """Return the mean loss over the rows of a batch."""
    x, y = batch
    return losses.mean_losses(net(x).unsqueeze(0), y)[0]


def _step(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], value: Tensor) -> None:
    for parameter, grad in zip(parameters, torch.autograd.grad(value, parameters, allow_unused=True), strict=True):
        parameter.grad = grad
    nn.utils.clip_grad_norm_(parameters, _CLIP)
    optimizer.step()


def _halves(train: Pair, seed: int) -> tuple[Pair, Pair]:
    x, y = train
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    first, second = order[: (len(order) + 1) // 2], order[len(order) // 2 :]
    return (x[first], y[first]), (x[second], y[second])


def _endless(pair: Pair, seed: int) -> Iterator[Pair]:
    size, epoch = batch_size(len(pair[0])), 0
    while True:
        yield from batches(*pair, size, len(pair[0]), seed, epoch)
        epoch += 1


def _choice(name: str, width: int, design: ImageDesign) -> nn.Module:
    """Return an operation whose batch norm is not trained: a large scale must not add to its weight."""
    choice = nn.Identity() if name == "skip" else build_operation(name, width, design)
    for norm in choice.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.requires_grad_(False)
    return choice


def _middle(widths: tuple[int, ...]) -> int:
    return widths[len(widths) // 2]
