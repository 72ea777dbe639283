"""Few-shot tasks drawn by (seed, split, episode): the same numbers give the same task, whenever it is asked for."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

Split = str  # "train", "valid" or "test"
SPLITS = ("train", "valid", "test")


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
    least one each. Raises TooFew below three groups.
    """
    names = sorted(set(groups))
    if len(names) < 3:
        raise TooFew(f"Train, valid and test need classes of three groups, and there are {len(names)}: add classes.")
    random.Random(f"{seed} classes").shuffle(names)
    n_test = max(1, min(round(test * len(names)), len(names) - 2))
    n_valid = max(1, min(round(valid * len(names)), len(names) - n_test - 1))
    cuts = {"test": names[:n_test], "valid": names[n_test : n_test + n_valid], "train": names[n_test + n_valid :]}
    return {split: [c for c, group in enumerate(groups) if group in set(cuts[split])] for split in SPLITS}


@dataclass(frozen=True)
class ImageTasks:
    """N-way K-shot tasks from images [n, channels, height, width] (uint8) with their classes' numbers `labels` [n].

    With `rotated`, a train class comes in any of its four quarter turns, once in a task; valid and test never turn.
    """

    images: Tensor
    labels: Tensor
    splits: Mapping[Split, Sequence[int]]
    ways: int = 5
    shots: int = 1
    queries: int = 15
    seed: int = 0
    rotated: bool = False

    def __post_init__(self) -> None:
        """Raise TooFew where a split cannot give a task."""
        for split in SPLITS:
            self._check(split)
        if self.rotated and self.images.shape[2] != self.images.shape[3]:
            raise ValueError(f"Images of {tuple(self.images.shape[2:])} cannot turn: make them square.")

    @cached_property
    def rows(self) -> dict[int, list[int]]:
        """Rows of the images of each class."""
        found: dict[int, list[int]] = {}
        for row, label in enumerate(self.labels.tolist()):
            found.setdefault(label, []).append(row)
        return found

    def draw(self, split: Split, episode: int) -> list[tuple[int, int, list[int]]]:
        """One task: a class, its quarter turns, and its rows (first the support's, then the query's) for each way."""
        rng = random.Random(f"{self.seed} {split} {episode}")
        chosen, each = rng.sample(self._usable(split), self.ways), self.shots + self.queries
        turns = 4 if split == "train" and self.rotated else 1
        return [(label, rng.randrange(turns), rng.sample(self.rows[label], each)) for label in chosen]

    def batch(self, split: Split, first: int, count: int) -> Batch:
        """The tasks of `count` episodes from `first` on; pixels from 0 to 1, rows ordered by shot, then by way."""
        tasks = [self.draw(split, episode) for episode in range(first, first + count)]
        rows = torch.tensor([[drawn for *_, drawn in task] for task in tasks])
        images = self.images[rows].float() / 255
        turns = torch.tensor([[turn for _, turn, _ in task] for task in tasks])
        for turn in range(1, 4):
            if (place := turns == turn).any():
                images[place] = torch.rot90(images[place], turn, (3, 4))
        images = images.transpose(1, 2)
        y = torch.arange(self.ways).expand(count, images.shape[1], self.ways)
        k = self.shots
        parts = (images[:, :k], y[:, :k], images[:, k:], y[:, k:])
        return Batch(*(part.flatten(1, 2).contiguous() for part in parts))

    def _usable(self, split: Split) -> list[int]:
        """Classes of a split that have enough images for support and query."""
        return [label for label in self.splits[split] if len(self.rows.get(label, ())) >= self.shots + self.queries]

    def _check(self, split: Split) -> None:
        most = len(self._usable(split))
        if min(self.ways - 1, self.shots, self.queries) < 1:
            raise TooFew(
                f"{self.ways}-way {self.shots}-shot with {self.queries} queries: ways are 2 or more, others 1."
            )
        if most >= self.ways:
            return
        sizes = sorted((len(self.rows.get(label, ())) for label in self.splits[split]), reverse=True)
        shots = sizes[self.ways - 1] - self.queries if len(sizes) >= self.ways else 0
        raise TooFew(
            f"{self.ways}-way {self.shots}-shot with {self.queries} queries a class is more than the {split} classes "
            f"can give: at most {most}-way with {self.shots} shots, and at most {max(0, shots)} shots with "
            f"{self.ways} ways. Choose fewer, or add classes and images."
        )


@dataclass(frozen=True)
class SinusoidTasks:
    """Regression of sine waves whose amplitude and phase differ by task: the classic demonstration."""

    shots: int = 10
    queries: int = 10
    seed: int = 0
    dtype: torch.dtype = torch.float32

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


Tasks = ImageTasks | SinusoidTasks
