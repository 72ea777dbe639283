"""The features of all images of a meta-training: computed once by its pretrained network, and kept for a resumption."""

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
from runner.fewshot import backbone, recipes
from runner.fewshot.learning.episodes import ClassTasks
from runner.fewshot.preparation import Prepared
from runner.shared.context import Context

# How long an image's features are as a vector. Of 1, 2, 4 and 8 these learned the best within 12 s on Omniglot with a
# network of random numbers: ProtoNet 53, 52, 47 and 43% of 5-way 1-shot, MAML 45, 48, 51 and 49%.
_LENGTH, _PROTONET_LENGTH = 4.0, 1.0
_TELL_S = 1.0
_KEEP_S = 30.0  # between two writings of what is computed so far
_SURE_S = 10.0  # of computing, after which it is known how long it takes


@dataclass(frozen=True, slots=True)
class _Pace:
    """How fast features come: `first` were there at the beginning, `total` are wanted."""

    began: float
    first: int
    total: int

    def spent(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began

    def left(self, done: int) -> float:
        """Seconds to go."""
        return self.spent() / max(1, done - self.first) * (self.total - done)


def computed(
    spec: FewShotSpec, context: Context, prepared: Prepared, device: str, deadline: float
) -> Generator[Event, None, Prepared | None]:
    """The same tasks on standardised features instead of images; None where the job was told to end or to pause.

    What an earlier attempt has computed is taken over. `deadline` is of the monotonic clock; raises InputError once
    it is sure that it will be missed.
    """
    images, sha256 = _tasks(prepared).inputs, spec.backbone or ""
    # Other weights, other images or another order of them must not be taken for these.
    mark = hashlib.blake2b(f"{sha256} {context.dataset.fingerprint}".encode(), digest_size=8).hexdigest()
    path = context.directory / f"features-{mark}.npy"
    found = _earlier(context, path.name)
    n, network = sum(map(len, found)), backbone.load(sha256).to(device)
    pace = _Pace(time.monotonic(), n, len(images))
    told = saved = 0.0
    for part in backbone.batches(network, images[n:]) if n < len(images) else ():
        found.append(part.numpy())
        n += len(part)
        if context.cancelled() or context.paused():
            _keep(found, path)
            return None
        _check(spec, pace, n, deadline)
        if pace.spent() > told + _TELL_S:
            told = pace.spent()
            yield _progress(spec, pace, n, deadline)
        if pace.spent() > saved + _KEEP_S:
            _keep(found, path)
            saved = pace.spent()
    _keep(found, path)
    length = _PROTONET_LENGTH if spec.algorithm == "ProtoNet" else _LENGTH
    return with_features(prepared, torch.from_numpy(np.concatenate(found)), length)


def with_features(prepared: Prepared, features: Tensor, length: float) -> Prepared:
    """The tasks on these features [n, features], by the train classes' means and deviations, of about this length."""
    tasks = _tasks(prepared)
    trains = torch.isin(tasks.labels, torch.tensor(tasks.splits["train"]))
    recipe = recipes.feature_recipe(prepared.recipe, features[trains].numpy(), length)
    return replace(prepared, recipe=recipe, tasks=replace(tasks, inputs=recipes.from_features(recipe, features)))


def _tasks(prepared: Prepared) -> ClassTasks:
    assert isinstance(prepared.tasks, ClassTasks)  # images have classes
    return prepared.tasks


def _earlier(context: Context, name: str) -> list[np.ndarray]:
    """What attempts of this job have computed, the most of it."""
    found: list[np.ndarray] = [np.load(path) for path in _paths(context, name)]
    return [max(found, key=len)] if found else []


def _paths(context: Context, name: str) -> Iterator[Path]:
    return context.directory.parent.glob(f"{context.job_id}-*/{name}")


def _keep(found: list[np.ndarray], path: Path) -> None:
    """Write the features so far, whole or not at all."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.save(file, np.concatenate(found))
    os.replace(part, path)


def _check(spec: FewShotSpec, pace: _Pace, n: int, deadline: float) -> None:
    if time.monotonic() + pace.left(n) > deadline and (pace.spent() > _SURE_S or time.monotonic() > deadline):
        raise InputError(
            f"budget_s: the features of {pace.total:,} images take about {pace.spent() + pace.left(n):,.0f} s, and the "
            f"whole meta-training has {spec.budget_s:,}. Give more, or more cpus, or weights of a smaller network."
        )


def _progress(spec: FewShotSpec, pace: _Pace, n: int, deadline: float) -> Progress:
    stage = f"Features of the images: {n:,} of {pace.total:,}, {pace.left(n):,.0f} s to go"
    left = max(0.0, deadline - time.monotonic())
    return Progress(max(0.0, 1 - left / spec.budget_s), stage, left)
