"""Few-shot tasks drawn by (seed, split, episode): the same numbers give the same task, whenever it is asked for."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

Split = str  # "train", "valid" or "test"
SPLITS = ("train", "valid", "test")
_DISTORTION = 0.07  # deviation of the entries of an affine map, of which the whole image is 2 wide
_LEAST_CLASSES = 5  # of valid and of test, where there are enough


class TooFew(ValueError):
    """A task that the data cannot give, told in a sentence for the user."""


@dataclass(frozen=True)
class Batch:
    """Tasks of one size: x [tasks, rows, ...]; y [tasks, rows] (classes) or [tasks, rows, outputs] (numbers)."""

    support_x: Tensor
    support_y: Tensor
    query_x: Tensor
    query_y: Tensor

    def __len__(self) -> int:
        return len(self.support_x)

    def to(self, device: str) -> Batch:
        """The same on a device."""
        return Batch(*(part.to(device) for part in self._parts))

    def part(self, first: int, last: int) -> Batch:
        """The tasks from `first` to before `last`."""
        return Batch(*(part[first:last] for part in self._parts))

    @property
    def _parts(self) -> tuple[Tensor, ...]:
        return self.support_x, self.support_y, self.query_x, self.query_y


def split_classes(groups: Sequence[str], seed: int, valid: float = 0.1, test: float = 0.25) -> dict[Split, list[int]]:
    """The numbers of the classes of each split, disjoint; classes of one group (an alphabet, say) stay together.

    `groups` has the group of each class; give each class its own where there are none. Shares are of the groups, at
    least one each; where they would leave few classes, valid and test get five each, or a third of all if that is
    less. Raises TooFew below three groups.
    """
    names = sorted(set(groups))
    if len(names) < 3:
        raise TooFew(f"Train, valid and test need classes of three groups, and there are {len(names)}: add classes.")
    random.Random(f"{seed} classes").shuffle(names)
    sizes, least = Counter(groups), min(_LEAST_CLASSES, len(groups) // 3)
    n_test = _n_groups([sizes[name] for name in names[:-2]], test * len(names), least)
    n_valid = _n_groups([sizes[name] for name in names[n_test:-1]], valid * len(names), least)
    cuts = {"test": names[:n_test], "valid": names[n_test : n_test + n_valid], "train": names[n_test + n_valid :]}
    return {split: [c for c, group in enumerate(groups) if group in set(cuts[split])] for split in SPLITS}


def _n_groups(sizes: Sequence[int], wanted: float, least: int) -> int:
    """How many groups of these sizes to take: about `wanted`, more until they have `least` classes, at most all."""
    n = max(1, min(round(wanted), len(sizes)))
    while n < len(sizes) and sum(sizes[:n]) < least:
        n += 1
    return n


@dataclass(frozen=True)
class ClassTasks:
    """N-way K-shot tasks from `inputs` [n, ...] of any kind with their classes' numbers `labels` [n].

    Bytes are pixels, which become numbers from 0 to 1; other inputs stay as they are. With `rotated`, a train class
    of images [n, channels, side, side] comes in any of its four quarter turns, once in a task; valid and test never
    turn. With `distorted`, train images are each moved, turned and stretched a little. Tasks are made on the inputs'
    device. `train_seed` is that of the train tasks, `seed` that of the others; `train_ways` and `train_queries` are
    those of train tasks where they differ.
    """

    inputs: Tensor
    labels: Tensor
    splits: Mapping[Split, Sequence[int]]
    ways: int = 5
    shots: int = 1
    queries: int = 15
    seed: int = 0
    rotated: bool = False
    train_seed: int = 0
    distorted: bool = False
    train_ways: int | None = None
    train_queries: int | None = None
    metric: ClassVar[str] = "accuracy"

    def __post_init__(self) -> None:
        """Raise TooFew where a split cannot give a task."""
        if min(self.ways - 1, self.shots, self.queries) < 1:
            raise TooFew(
                f"{self.ways}-way {self.shots}-shot with {self.queries} queries: ways are 2 or more, others 1."
            )
        for split in SPLITS:
            if len(self.usable[split]) < self._size(split)[0]:
                raise TooFew(self._too_few(split))
        if self.rotated and (self.inputs.ndim != 4 or self.inputs.shape[2] != self.inputs.shape[3]):
            raise ValueError(f"Inputs of {tuple(self.inputs.shape[2:])} cannot turn: make them square images.")

    @cached_property
    def rows(self) -> dict[int, list[int]]:
        """Rows of the inputs of each class."""
        return rows_of(self.labels)

    @cached_property
    def usable(self) -> dict[Split, list[int]]:
        """The classes of each split that have enough rows for support and query."""
        least = {split: self.shots + self._size(split)[1] for split in SPLITS}
        return {s: [label for label in self.splits[s] if len(self.rows.get(label, ())) >= least[s]] for s in SPLITS}

    def draw(self, split: Split, episode: int) -> list[tuple[int, int, list[int]]]:
        """One task: a class, its quarter turns, and its rows (first the support's, then the query's) for each way."""
        rng, (ways, queries) = _generator(self, split, episode), self._size(split)
        chosen, each = rng.sample(self.usable[split], ways), self.shots + queries
        turns = 4 if split == "train" and self.rotated else 1
        return [(label, rng.randrange(turns), rng.sample(self.rows[label], each)) for label in chosen]

    def batch(self, split: Split, first: int, count: int) -> Batch:
        """The tasks of `count` episodes from `first` on; rows are ordered by shot, then by way."""
        tasks = [self.draw(split, episode) for episode in range(first, first + count)]
        rows = torch.tensor([[drawn for *_, drawn in task] for task in tasks]).transpose(1, 2)
        found = self.inputs[rows.to(self.inputs.device)]
        if split == "train" and self.rotated:
            turns = torch.tensor([[turn for _, turn, _ in task] for task in tasks], device=found.device)
            for turn in range(1, 4):
                place = (turns == turn).unsqueeze(1).expand(found.shape[:3])
                found[place] = torch.rot90(found[place], turn, (2, 3))
        found = scaled(found)
        if split == "train" and self.distorted:
            found = torch.stack([_distorted(x, self.train_seed, first + i) for i, x in enumerate(found)])
        y = torch.arange(found.shape[2], device=found.device).expand(found.shape[:3])
        k = self.shots
        parts = [part.flatten(1, 2) for part in (found[:, :k], y[:, :k], found[:, k:], y[:, k:])]
        return Batch(*(part.contiguous() for part in parts))

    def _size(self, split: Split) -> tuple[int, int]:
        """Ways and queries of a split's tasks."""
        if split != "train":
            return self.ways, self.queries
        return self.train_ways or self.ways, self.train_queries or self.queries

    def _too_few(self, split: Split) -> str:
        """What is wrong, and the most that the classes of a split can give."""
        ways, queries = self._size(split)
        sizes = sorted((len(self.rows.get(label, ())) for label in self.splits[split]), reverse=True)
        kth = sizes[ways - 1] if len(sizes) >= ways else 0
        told = [
            f"{ways}-way {self.shots}-shot with {queries} queries a class is more than the {len(sizes)} {split} "
            f"classes can give: at most {len(self.usable[split])}-way with {self.shots} shots, and at most "
            f"{max(0, kth - queries)} shots with {ways} ways."
        ]
        if kth > self.shots:
            told.append(f"With at most {kth - self.shots} queries it would do.")
        return " ".join([*told, "Choose fewer, or add classes and examples."])


@dataclass(frozen=True)
class GroupTasks:
    """Regression tasks: K support and Q query rows of one group, from x [n, inputs] and y [n, outputs].

    `groups` [n] has the number of each row's group, and `splits` the groups' numbers; see `split_classes`.
    """

    x: Tensor
    y: Tensor
    groups: Tensor
    splits: Mapping[Split, Sequence[int]]
    shots: int = 10
    queries: int = 10
    seed: int = 0
    train_seed: int = 0
    metric: ClassVar[str] = "mse"

    def __post_init__(self) -> None:
        """Raise TooFew where a split cannot give a task."""
        for split in SPLITS:
            if not self.usable[split]:
                most = max((len(self.rows.get(group, ())) for group in self.splits[split]), default=0)
                raise TooFew(
                    f"{self.shots} shots and {self.queries} queries are more than a {split} group can give: the "
                    f"largest has {most} rows, which is at most {max(0, most - self.queries)} shots with "
                    f"{self.queries} queries. Choose fewer, or add rows."
                )

    @cached_property
    def rows(self) -> dict[int, list[int]]:
        """Rows of each group."""
        return rows_of(self.groups)

    @cached_property
    def usable(self) -> dict[Split, list[int]]:
        """The groups of each split that have enough rows for support and query."""
        each = self.shots + self.queries
        return {s: [group for group in self.splits[s] if len(self.rows.get(group, ())) >= each] for s in SPLITS}

    def draw(self, split: Split, episode: int) -> tuple[int, list[int]]:
        """One task: its group, and its rows (first the support's, then the query's)."""
        rng = _generator(self, split, episode)
        group = rng.choice(self.usable[split])
        return group, rng.sample(self.rows[group], self.shots + self.queries)

    def batch(self, split: Split, first: int, count: int) -> Batch:
        """The tasks of `count` episodes from `first` on."""
        drawn = [self.draw(split, episode)[1] for episode in range(first, first + count)]
        rows, k = torch.tensor(drawn, device=self.x.device), self.shots
        return Batch(self.x[rows[:, :k]], self.y[rows[:, :k]], self.x[rows[:, k:]], self.y[rows[:, k:]])


def rows_of(labels: Tensor) -> dict[int, list[int]]:
    """The rows of each label, by its number."""
    found: dict[int, list[int]] = {}
    for row, label in enumerate(labels.tolist()):
        found.setdefault(label, []).append(row)
    return found


def scaled(inputs: Tensor) -> Tensor:
    """Pixels (bytes) as numbers from 0 to 1; other inputs as they are."""
    return inputs.float().div_(255) if inputs.dtype == torch.uint8 else inputs.contiguous()


def _distorted(images: Tensor, seed: int, episode: int) -> Tensor:
    """Images [shots, ways, channels, height, width] of a task under small affine maps of their own."""
    flat, generator = images.flatten(0, 1), torch.Generator().manual_seed(hash((seed, episode)) % 2**63)
    maps = torch.eye(2, 3) + _DISTORTION * torch.randn(len(flat), 2, 3, generator=generator)
    grid = F.affine_grid(maps.to(images), list(flat.shape), align_corners=False)
    return F.grid_sample(flat, grid, padding_mode="border", align_corners=False).view(images.shape)


def _generator(tasks: ClassTasks | GroupTasks, split: Split, episode: int) -> random.Random:
    return random.Random(f"{tasks.train_seed if split == 'train' else tasks.seed} {split} {episode}")


@dataclass(frozen=True)
class SinusoidTasks:
    """Regression of sine waves whose amplitude and phase differ by task: the classic demonstration."""

    shots: int = 10
    queries: int = 10
    seed: int = 0
    dtype: torch.dtype = torch.float32
    metric: ClassVar[str] = "mse"

    def batch(self, split: Split, first: int, count: int) -> Batch:
        """The tasks of `count` episodes from `first` on; x and y are [tasks, rows, 1]."""
        x = torch.empty(count, self.shots + self.queries, 1, dtype=torch.float64)
        y = torch.empty_like(x)
        for task in range(count):
            rng = random.Random(f"{self.seed} {split} {first + task}")
            amplitude, phase = rng.uniform(0.1, 5.0), rng.uniform(0.0, math.pi)
            x[task, :, 0] = torch.tensor([rng.uniform(-5.0, 5.0) for _ in range(x.shape[1])], dtype=x.dtype)
            y[task] = amplitude * torch.sin(x[task] + phase)
        x, y, k = x.to(self.dtype), y.to(self.dtype), self.shots
        return Batch(x[:, :k], y[:, :k], x[:, k:], y[:, k:])


Tasks = ClassTasks | GroupTasks | SinusoidTasks
