"""The features of all images of a meta-training: computed once by the pretrained network, and stored for resuming."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.errors import InputError
from core.events import Event, Progress
from core.specs import FewShotSpec
from runner.fewshot import backbone_network, recipes
from runner.fewshot.learning.episodes import ClassTasks
from runner.fewshot.training_setup import TrainingSetup
from runner.shared.context import Context

# The length of an image's feature vector. Of 1, 2, 4 and 8 these learned the best within 12 s on Omniglot with a
# network of random numbers: ProtoNet 53, 52, 47 and 43% of 5-way 1-shot, MAML 45, 48, 51 and 49%.
_LENGTH, _PROTONET_LENGTH = 4.0, 1.0
_REPORT_S = 1.0
_SAVE_S = 30.0  # between two writings of the features so far
_SURE_S = 10.0  # of computing, after which the estimate of the time is reliable


@dataclass(frozen=True, slots=True)
class _Speed:
    """The speed of computing: `first` of `total` features were there at the beginning."""

    began: float
    first: int
    total: int

    def spent_s(self) -> float:
        return time.monotonic() - self.began

    def remaining_s(self, n: int) -> float:
        """Return the estimated seconds to the end, once `n` features are there."""
        return self.spent_s() / max(1, n - self.first) * (self.total - n)


def compute(
    spec: FewShotSpec, context: Context, setup: TrainingSetup, device: str, deadline: float
) -> Generator[Event, None, TrainingSetup | None]:
    """Return the same tasks on standardised features instead of images; None if the job was cancelled or paused.

    Features of an earlier attempt are reused. `deadline` is of the monotonic clock. Raises InputError as soon as it is
    clear that the deadline will be missed.
    """
    images, sha256 = _class_tasks(setup).inputs, spec.backbone or ""
    # Features of other weights, other images or another order of images must not be reused.
    mark = hashlib.blake2b(f"{sha256} {context.dataset.fingerprint}".encode(), digest_size=8).hexdigest()
    path = context.directory / f"features-{mark}.npy"
    parts = _earlier(context, path.name)
    n, network = sum(map(len, parts)), backbone_network.load(sha256).to(device)
    speed = _Speed(time.monotonic(), n, len(images))
    last_report = last_save = 0.0
    for part in backbone_network.feature_batches(network, images[n:]) if n < len(images) else ():
        parts.append(part.numpy())
        n += len(part)
        if context.cancelled() or context.paused():
            _save(parts, path)
            return None
        _check_deadline(spec, speed, n, deadline)
        if speed.spent_s() > last_report + _REPORT_S:
            last_report = speed.spent_s()
            yield _progress(spec, speed, n, deadline)
        if speed.spent_s() > last_save + _SAVE_S:
            _save(parts, path)
            last_save = speed.spent_s()
    _save(parts, path)
    length = _PROTONET_LENGTH if spec.algorithm == "ProtoNet" else _LENGTH
    return use_features(setup, torch.from_numpy(np.concatenate(parts)), length)


def use_features(setup: TrainingSetup, features: Tensor, length: float) -> TrainingSetup:
    """Return the tasks on these features [n, features], standardised by the train classes to about this length."""
    tasks = _class_tasks(setup)
    trains = torch.isin(tasks.labels, torch.tensor(tasks.splits["train"]))
    recipe = recipes.feature_recipe(setup.recipe, features[trains].numpy(), length)
    return replace(setup, recipe=recipe, tasks=replace(tasks, inputs=recipes.encode_features(recipe, features)))


def _class_tasks(setup: TrainingSetup) -> ClassTasks:
    assert isinstance(setup.tasks, ClassTasks)  # images have classes
    return setup.tasks


def _earlier(context: Context, name: str) -> list[np.ndarray]:
    """Return the largest part that attempts of this job have computed."""
    arrays: list[np.ndarray] = [np.load(path) for path in _paths(context, name)]
    return [max(arrays, key=len)] if arrays else []


def _paths(context: Context, name: str) -> Iterator[Path]:
    return context.directory.parent.glob(f"{context.job_id}-*/{name}")


def _save(parts: list[np.ndarray], path: Path) -> None:
    """Write the features so far, atomically."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.save(file, np.concatenate(parts))
    os.replace(part, path)


def _check_deadline(spec: FewShotSpec, speed: _Speed, n: int, deadline: float) -> None:
    late = time.monotonic() + speed.remaining_s(n) > deadline
    if late and (speed.spent_s() > _SURE_S or time.monotonic() > deadline):
        raise InputError(
            f"The features of {speed.total:,} images need about {speed.spent_s() + speed.remaining_s(n):,.0f} s, but "
            f"the whole meta-training has {spec.budget_s:,} s.",
            field="budget_s",
            value=spec.budget_s,
            remedy="Give it more time or more CPUs, or use weights of a smaller network.",
        )


def _progress(spec: FewShotSpec, speed: _Speed, n: int, deadline: float) -> Progress:
    stage = f"Features of the images: {n:,} of {speed.total:,}, {speed.remaining_s(n):,.0f} s remaining"
    remaining_s = max(0.0, deadline - time.monotonic())
    return Progress(max(0.0, 1 - remaining_s / spec.budget_s), stage, remaining_s)
