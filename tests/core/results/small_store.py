"""A store with a dataset of images and one of regressions, and the results of meta-trainings on them."""

from __future__ import annotations

import math
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core import datasets, results
from core.datasets import Dataset
from core.events import Event, Initialised
from core.queue import jobs
from core.queue.jobs import Job
from core.specs import FewShotSpec


@cache  # once a session
def _prepared(base: Path) -> Path:
    folder = base / "small-store"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METASCOUT_HOME", str(folder / "home"))
        patch.delenv("METASCOUT_STORE", raising=False)
        values = np.random.default_rng(0).integers(0, 256, (60, 4, 4), np.uint8)
        np.savez(folder / "signs.npz", x=values, y=np.repeat([f"sign {c:02}" for c in range(15)], 4))
        datasets.register_images(folder / "signs.npz", name="signs")
        rows = [(wave, x, math.sin(x + wave)) for wave in range(9) for x in range(6)]
        lines = "".join(f"w{wave},{x},{y:.4f}\n" for wave, x, y in rows)
        (folder / "waves.csv").write_text("wave,x,y\n" + lines)
        datasets.register(folder / "waves.csv", name="waves", target="y", task="regression")
    return folder / "home"


@pytest.fixture
def signs(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """15 classes of four small images; the store has the `waves`, too."""
    shutil.copytree(_prepared(tmp_path_factory.getbasetemp()), home, dirs_exist_ok=True)
    return datasets.get("signs")


def waves() -> Dataset:
    """The other dataset of the store: nine groups of six rows, for regression."""
    return datasets.get("waves")


def meta_trained(dataset: Dataset, directory: Path, *more: Event, **choices: Any) -> Job:
    """A meta-training that succeeded with an initialisation and more."""
    jobs.submit(FewShotSpec(dataset_id=dataset.id, **choices), user="ada")
    job = jobs.claim("w")
    assert job is not None
    file = directory / f"{job.id}.safetensors"
    file.write_bytes(f"weights of {job.id}".encode())
    about = {"kind": "image", "classes": ["sign 00"], "profile": {"sign 00": [0.5, float("nan")]}}
    event = Initialised(str(file), "MAML", "Conv4-64", 5, 1, 113_000, about)
    assert results.record(job, [event, *more])
    jobs.finish(job, "succeeded")
    return job
