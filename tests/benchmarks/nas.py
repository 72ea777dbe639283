"""A network search with the defaults on each kind of data, through the queue and the runner: test scores of winners."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from core import datasets, results
from core.datasets import Dataset
from core.queue import jobs
from core.specs import NASSpec
from runner import loop
from tests.benchmarks import DATA, own_home

SEARCHES = {  # by dataset: seconds, and the metric
    "digits": (180, "accuracy"),
    "trec": (240, "accuracy"),
    "adult": (240, "auc"),
    "cifar10": (1200, "accuracy"),
}


def figures() -> Iterator[tuple[str, str]]:
    """Yield the figures of this part as they are measured."""
    with own_home() as folder:
        for name, (budget_s, metric) in SEARCHES.items():
            dataset = register(name, folder)
            job_id = jobs.submit(
                NASSpec(dataset_id=dataset.id, cpus=2, budget_s=budget_s, max_candidates=1000, metric=metric)
            )
            loop.run_once("benchmark")
            job = jobs.overview(job_id=job_id).iloc[0]
            if job.status != "succeeded":
                yield f"{name}: the job {job.status}", str(job.error)
                continue
            best = results.leaderboard(dataset.id, metric=metric).iloc[0]
            n_trained = (results.candidates(job_id).epochs > 0).sum()
            yield (
                f"{name}, {budget_s} s on 2 cores ({job.elapsed_s:.0f} s elapsed), {n_trained} candidates trained",
                f"test {best.metric} {best.test:.4f} [{best.lower:.4f}, {best.upper:.4f}], valid {best.valid:.4f}",
            )
            yield "  the winner", str(best.candidate)


def register(name: str, folder: Path) -> Dataset:
    """Register a dataset, with its own test rows where it has some."""
    if name == "digits":
        return datasets.add_sample("digits_images")
    if name == "cifar10":
        parts = {"train": "train15k", "test": "test2500"}
        arrays = {}
        for part, suffix in parts.items():
            arrays |= pictures(DATA / f"cifar10jpg_{suffix}.npz", part)
        np.savez(folder / "cifar10.npz", **arrays)
        return datasets.register_images(folder / "cifar10.npz", name=name)
    if name == "trec":
        return datasets.register(
            DATA / "text" / "trec.csv", name=name, target="label", split_column="split", types={"fine_label": "ignored"}
        )
    return datasets.register(DATA / "tabular" / "adult.csv", name=name, target="income")


def pictures(path: Path, part: str) -> dict[str, np.ndarray]:
    """Return the decoded images and the labels of a file of JPEGs, under the names for `register_images`."""
    with np.load(path) as file:
        jpeg, offset, labels = file["jpeg"].tobytes(), file["offset"], file["classes"][file["label"]]
    images = [np.asarray(Image.open(io.BytesIO(jpeg[a:b]))) for a, b in pairwise(offset)]
    return {f"x_{part}": np.stack(images), f"y_{part}": labels}
