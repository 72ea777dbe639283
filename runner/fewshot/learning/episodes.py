"""Few-shot tasks, drawn by (seed, split, episode): the same numbers always give the same task."""

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
_DISTORTION = 0.07  # standard deviation of the entries of an affine map; an image is 2 wide and 2 high
_MIN_CLASSES = 5  # of valid and of test, if there are enough


class TooFewExamples(ValueError):
    """The data cannot give such a task. The text is a sentence for the user."""


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
        """Return the batch on a device."""
        return Batch(*(part.to(device) for part in self._parts))

    def part(self, first: int, last: int) -> Batch:
        """Return the tasks from `first` to before `last`."""
        return Batch(*(part[first:last] for part in self._parts))

    @property
    def _parts(self) -> tuple[Tensor, ...]:
        return self.support_x, self.support_y, self.query_x, self.query_y


def split_classes(groups: Sequence[str], seed: int, valid: float = 0.1, test: float = 0.25) -> dict[Split, list[int]]:
    """Return the class numbers of each split, disjoint; classes of one group (such as an alphabet) stay together.

    `groups` has the group of each class; without groups, give each class its own. `valid` and `test` are shares of
    the groups, at least one group each. If that gives few classes, valid and test get five classes each, or a third of
    all if that is less. Raises TooFewExamples below three groups.
    """
    names = sorted(set(groups))
    if len(names) < 3:
        raise TooFewExamples(
            f"Train, valid and test need classes of three groups, and there are {len(names)}: add classes."
        )
    random.Random(f"{seed} classes").shuffle(names)
    sizes, minimum = Counter(groups), min(_MIN_CLASSES, len(groups) // 3)
    n_test = _n_groups([sizes[name] for name in names[:-2]], test * len(names), minimum)
    n_valid = _n_groups([sizes[name] for name in names[n_test:-1]], valid * len(names), minimum)
    cuts = {"test": names[:n_test], "valid": names[n_test : n_test + n_valid], "train": names[n_test + n_valid :]}
    return {split: [c for c, group in enumerate(groups) if group in set(cuts[split])] for split in SPLITS}


def _n_groups(sizes: Sequence[int], target: float, min_classes: int) -> int:
    """Return how many groups of these sizes to use: about `target`, and more until they have `min_classes`."""
    n = max(1, min(round(target), len(sizes)))
    while n < len(sizes) and sum(sizes[:n]) < min_classes:
        n += 1
    return n


@dataclass(frozen=True)
class ClassTasks:
    """N-way K-shot tasks from `inputs` [n, ...] of any kind and their class numbers `labels` [n].

    Bytes are pixels and become numbers from 0 to 1; other inputs stay unchanged. With `rotations`, a train class of
    images [n, channels, side, side] appears in any of its four quarter turns, once in a task; valid and test classes
    never turn. With `distortions`, each train image is moved, turned and stretched a little. Tasks are made on the
    inputs' device. `train_seed` is the seed of the train tasks, `seed` that of the others. `train_ways` and
    `train_queries` apply to train tasks, where they differ from the others. Raises TooFewExamples where a split cannot
    give a task.
    """

    inputs: Tensor
    labels: Tensor
    splits: Mapping[Split, Sequence[int]]
    ways: int = 5
    shots: int = 1
    queries: int = 15
    seed: int = 0
    rotations: bool = False
    train_seed: int = 0
    distortions: bool = False
    train_ways: int | None = None
    train_queries: int | None = None
    metric: ClassVar[str] = "accuracy"

    def __post_init__(self) -> None:
        if min(self.ways - 1, self.shots, self.queries) < 1:
            raise TooFewExamples(
                f"{self.ways}-way {self.shots}-shot with {self.queries} queries: ways must be at least 2, shots and "
                "queries at least 1."
            )
        for split in SPLITS:
            if len(self.usable[split]) < self._size(split)[0]:
                raise TooFewExamples(self._shortage(split))
        if self.rotations and (self.inputs.ndim != 4 or self.inputs.shape[2] != self.inputs.shape[3]):
            raise ValueError(f"Inputs of {tuple(self.inputs.shape[2:])} cannot be rotated: make them square images.")

    @cached_property
    def rows(self) -> dict[int, list[int]]:
        """The rows of each class among the inputs."""
        return rows_of(self.labels)

    @cached_property
    def usable(self) -> dict[Split, list[int]]:
        """The classes of each split that have enough rows for support and query."""
        needed = {split: self.shots + self._size(split)[1] for split in SPLITS}
        return {s: [label for label in self.splits[s] if len(self.rows.get(label, ())) >= needed[s]] for s in SPLITS}

    def draw(self, split: Split, episode: int) -> list[tuple[int, int, list[int]]]:
        """Return one task: for each way a class, its quarter turns, and its rows (the support's, then the query's)."""
        rng, (ways, queries) = _generator(self, split, episode), self._size(split)
        chosen, each = rng.sample(self.usable[split], ways), self.shots + queries
        turns = 4 if split == "train" and self.rotations else 1
        return [(label, rng.randrange(turns), rng.sample(self.rows[label], each)) for label in chosen]

    def batch(self, split: Split, first: int, count: int) -> Batch:
        """Return the tasks of `count` episodes from `first` on; rows are ordered by shot, then by way."""
        tasks = [self.draw(split, episode) for episode in range(first, first + count)]
        rows = torch.tensor([[of_class for *_, of_class in task] for task in tasks]).transpose(1, 2)
        x = self.inputs[rows.to(self.inputs.device)]
        if split == "train" and self.rotations:
            turns = torch.tensor([[turn for _, turn, _ in task] for task in tasks], device=x.device)
            for turn in range(1, 4):
                place = (turns == turn).unsqueeze(1).expand(x.shape[:3])
                x[place] = torch.rot90(x[place], turn, (2, 3))
        x = scale_pixels(x)
        if split == "train" and self.distortions:
            x = torch.stack([_distort(images, self.train_seed, first + i) for i, images in enumerate(x)])
        y = torch.arange(x.shape[2], device=x.device).expand(x.shape[:3])
        k = self.shots
        parts = [part.flatten(1, 2) for part in (x[:, :k], y[:, :k], x[:, k:], y[:, k:])]
        return Batch(*(part.contiguous() for part in parts))

    def _size(self, split: Split) -> tuple[int, int]:
        """Return the ways and queries of a split's tasks."""
        if split != "train":
            return self.ways, self.queries
        return self.train_ways or self.ways, self.train_queries or self.queries

    def _shortage(self, split: Split) -> str:
        """Return what is wrong, and the maximum that the classes of a split can give."""
        ways, queries = self._size(split)
        sizes = sorted((len(self.rows.get(label, ())) for label in self.splits[split]), reverse=True)
        kth = sizes[ways - 1] if len(sizes) >= ways else 0
        sentences = [
            f"{ways}-way {self.shots}-shot with {queries} queries a class is more than the {len(sizes)} {split} "
            f"classes can give: at most {len(self.usable[split])}-way with {self.shots} shots, and at most "
            f"{max(0, kth - queries)} shots with {ways} ways."
        ]
        if kth > self.shots:
            sentences.append(f"At most {kth - self.shots} queries would be possible.")
        return " ".join([*sentences, "Choose fewer, or add classes and examples."])


@dataclass(frozen=True)
class GroupTasks:
    """Regression tasks: K support and Q query rows of one group, from x [n, inputs] and y [n, outputs].

    `groups` [n] has the number of each row's group, and `splits` the groups' numbers; see `split_classes`. Raises
    TooFewExamples where a split cannot give a task.
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
        for split in SPLITS:
            if not self.usable[split]:
                largest = max((len(self.rows.get(group, ())) for group in self.splits[split]), default=0)
                raise TooFewExamples(
                    f"{self.shots} shots and {self.queries} queries are more than a {split} group can give: the "
                    f"largest has {largest} rows, which is at most {max(0, largest - self.queries)} shots with "
                    f"{self.queries} queries. Choose fewer, or add rows."
                )

    @cached_property
    def rows(self) -> dict[int, list[int]]:
        """The rows of each group."""
        return rows_of(self.groups)

    @cached_property
    def usable(self) -> dict[Split, list[int]]:
        """The groups of each split that have enough rows for support and query."""
        each = self.shots + self.queries
        return {s: [group for group in self.splits[s] if len(self.rows.get(group, ())) >= each] for s in SPLITS}

    def draw(self, split: Split, episode: int) -> tuple[int, list[int]]:
        """Return one task: its group, and its rows (the support's, then the query's)."""
        rng = _generator(self, split, episode)
        group = rng.choice(self.usable[split])
        return group, rng.sample(self.rows[group], self.shots + self.queries)

    def batch(self, split: Split, first: int, count: int) -> Batch:
        """Return the tasks of `count` episodes from `first` on."""
        tasks = [self.draw(split, episode)[1] for episode in range(first, first + count)]
        rows, k = torch.tensor(tasks, device=self.x.device), self.shots
        return Batch(self.x[rows[:, :k]], self.y[rows[:, :k]], self.x[rows[:, k:]], self.y[rows[:, k:]])


def rows_of(labels: Tensor) -> dict[int, list[int]]:
    """Return the rows of each label, by its number."""
    rows: dict[int, list[int]] = {}
    for row, label in enumerate(labels.tolist()):
        rows.setdefault(label, []).append(row)
    return rows


def scale_pixels(inputs: Tensor) -> Tensor:
    """Return pixels (bytes) as numbers from 0 to 1, and other inputs unchanged."""
    return inputs.float().div_(255) if inputs.dtype == torch.uint8 else inputs.contiguous()


def _distort(images: Tensor, seed: int, episode: int) -> Tensor:
    """Apply a small random affine map to each image of a task [shots, ways, channels, height, width]."""
    flat, generator = images.flatten(0, 1), torch.Generator().manual_seed(hash((seed, episode)) % 2**63)
    maps = torch.eye(2, 3) + _DISTORTION * torch.randn(len(flat), 2, 3, generator=generator)
    grid = F.affine_grid(maps.to(images), list(flat.shape), align_corners=False)
    return F.grid_sample(flat, grid, padding_mode="border", align_corners=False).view(images.shape)


def _generator(tasks: ClassTasks | GroupTasks, split: Split, episode: int) -> random.Random:
    return random.Random(f"{tasks.train_seed if split == 'train' else tasks.seed} {split} {episode}")


@dataclass(frozen=True)
class SinusoidTasks:
    """Regression of sine waves whose amplitude and phase differ by task: the classic demonstration of MAML."""

    shots: int = 10
    queries: int = 10
    seed: int = 0
    dtype: torch.dtype = torch.float32
    metric: ClassVar[str] = "mse"

    def batch(self, split: Split, first: int, count: int) -> Batch:
        """Return the tasks of `count` episodes from `first` on; x and y are [tasks, rows, 1]."""
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
