"""Few-shot on Omniglot through the queue and the runner: meta-trainings of minutes on one core, and their answers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from core import datasets
from core.datasets import Dataset
from core.queue import jobs
from core.results import initialisations
from core.specs import FewShotSpec
from runner import loop
from tests.benchmarks import DATA, own_home

COMMON: dict[str, Any] = {"cpus": 1, "rotations": True, "test_episodes": 1000}
# Up to 30% of each budget is reserved for the evaluation.
TRAININGS: dict[str, dict[str, Any]] = {
    "ProtoNet, 5-way 1-shot, 300 s": {"algorithm": "ProtoNet", "budget_s": 300, "distortions": True},
    "ProtoNet, 20-way 1-shot, 300 s": {"algorithm": "ProtoNet", "budget_s": 300, "distortions": True, "ways": 20},
    "ANIL, 5-way 1-shot, 240 s": {"algorithm": "ANIL", "budget_s": 240},
    "MAML of one step, 5-way 1-shot, 240 s": {"algorithm": "MAML", "budget_s": 240, "inner_steps": 1},
    "MAML of one step, 5-way 1-shot, 1,200 s": {"algorithm": "MAML", "budget_s": 1200, "inner_steps": 1},
    "First-order MAML, 5-way 1-shot, 240 s": {"algorithm": "First-order MAML", "budget_s": 240, "inner_steps": 1},
    "Reptile, 5-way 1-shot, 240 s": {"algorithm": "Reptile", "budget_s": 240},
}


def figures() -> Iterator[tuple[str, str]]:
    """The figures of this part, as they are measured; FEWSHOT names some of TRAININGS by their beginnings."""
    prefixes = tuple(filter(None, os.environ.get("FEWSHOT", "").split(";")))
    with own_home() as folder:
        dataset = omniglot(folder)
        for name, settings in TRAININGS.items():
            if prefixes and not name.startswith(prefixes):
                continue
            job_id = jobs.submit(FewShotSpec(dataset_id=dataset.id, **COMMON | settings))
            loop.run_once("benchmark")
            job = jobs.overview(job_id=job_id).iloc[0]
            if job.status != "succeeded":
                yield f"{name}: the job {job.status}", str(job.error)
            for row in initialisations.evaluations_of(job_id).itertuples():
                yield (
                    f"{name} ({job.elapsed_s:.0f} s), {row.protocol}",
                    f"test {row.test:.2%} [{row.lower:.2%}, {row.upper:.2%}] of {row.n_episodes:,} episodes, valid "
                    f"{row.valid:.2%}, a task is learned in {1e3 * row.adapt_s:.0f} ms",
                )


def omniglot(folder: Path) -> Dataset:
    """The background split, whose classes are "alphabet/character"; whole alphabets are held out."""
    with np.load(DATA / "omniglot28_background.npz") as file:
        alphabets, characters = file["alphabet_names"][file["alphabet"]], file["character"]
        labels = np.array(
            [f"{alphabet}/character{number:04d}" for alphabet, number in zip(alphabets, characters, strict=True)]
        )
        np.savez(folder / "omniglot.npz", images=file["images"], labels=labels)
    return datasets.register_images(folder / "omniglot.npz", name="omniglot")
