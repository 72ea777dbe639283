"""Few-shot jobs on small made-up images, and a store with two meta-trained initialisations."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core import datasets, results
from core.events import Event, Message
from core.queue import jobs
from core.results import initialisations
from core.specs import FewShotSpec, FineTuneSpec, Spec
from runner import launch

LABELS = tuple(f"pattern{number:02}" for number in range(15))
PROTONET, MAML = 1, 2  # the jobs of `patterns`


def pattern(number: int, n: int, side: int = 16, seed: int = 0) -> np.ndarray:
    """Noisy, shifted images of one pattern of 4 x 4 fields, uint8 [n, side, side]."""
    fields = np.random.default_rng(number).integers(0, 256, (4, 4))
    base = fields.repeat(side // 4, 0).repeat(side // 4, 1)
    rng = np.random.default_rng((number, seed))
    moved = [np.roll(base, rng.integers(-1, 2, 2), (0, 1)) + rng.normal(0, 25, base.shape) for _ in range(n)]
    return np.clip(moved, 0, 255).astype(np.uint8)


def register(folder: Path, name: str = "patterns") -> datasets.Dataset:
    """The dataset of all patterns, 20 images each."""
    images = np.concatenate([pattern(number, 20) for number in range(len(LABELS))])
    np.savez(folder / f"{name}.npz", images=images, labels=np.repeat(LABELS, 20))
    return datasets.register_images(folder / f"{name}.npz", name=name)


def run_here(spec: Spec) -> tuple[int, list[Event]]:
    """A job's id and events, run in this process (which has torch loaded) on its real order, and recorded."""
    job_id = jobs.submit(spec)
    job = jobs.claim("tests")
    assert job is not None
    assert job.id == job_id
    directory = launch.prepare(job)
    try:
        parsed, context, run = launch.receive(directory)
        events = list(run(parsed, context))
    except Exception:
        jobs.finish(job, "failed")
        raise
    results.record(job, events)
    jobs.finish(job, "succeeded")
    return job_id, events


def meta_train(dataset: datasets.Dataset, algorithm: str, **more: object) -> int:
    """A short meta-training on 3-way 2-shot tasks; returns its job."""
    settings: dict[str, object] = {"ways": 3, "shots": 2, "queries": 5, "width": 8, "iterations": 30, "cpus": 1}
    spec = FewShotSpec(dataset_id=dataset.id, algorithm=algorithm, test_episodes=10, **settings | more)
    return run_here(spec)[0]


def finetune_spec(dataset: datasets.Dataset, **more: Any) -> FineTuneSpec:
    """A fine-tuning on the first three patterns, or on what `more` says."""
    return FineTuneSpec(dataset_id=dataset.id, cpus=1, **{"classes": LABELS[:3]} | more)


def fine_tune(spec: FineTuneSpec) -> tuple[dict[str, Any], list[Event]]:
    """Run a fine-tuning in this process; returns its stored answer and its events."""
    job_id, events = run_here(spec)
    body = initialisations.adaptation(job_id)
    assert body is not None
    return body, events


def messages(events: list[Event]) -> str:
    """The texts of all messages."""
    return "\n".join(event.text for event in events if isinstance(event, Message))


@cache  # once a session
def _trained(base: Path) -> Path:
    folder = base / "trained-patterns"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METASCOUT_HOME", str(folder / "home"))
        patch.delenv("METASCOUT_STORE", raising=False)
        dataset = register(folder)
        meta_train(dataset, "ProtoNet")
        meta_train(dataset, "MAML", iterations=10)
    return folder / "home"


@pytest.fixture
def patterns(home: Path, tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    """The dataset of patterns, with a ProtoNet (job 1) and a MAML (job 2) that were meta-trained on it."""
    shutil.copytree(_trained(tmp_path_factory.getbasetemp()), home, dirs_exist_ok=True)
    [dataset] = datasets.all_datasets()
    return dataset
