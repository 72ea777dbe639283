"""Measure candidates on the tasks of the shipped knowledge.

Each task is registered in a separate data directory and goes through the ordinary queue and runner. Finished jobs are
not repeated, so a stopped run resumes.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from core import datasets, kinds, metafeatures, results
from core.datasets import Dataset
from core.knowledge import METRIC, MIN_ROWS
from core.queue import jobs
from core.results import Scope
from core.specs import AutoMLSpec, PortfolioSpec, Spec
from runner import loop
from tools.shipped_knowledge.tasks import BenchmarkTask

_CANDIDATE_S, _BUDGET_S = 300, 3_600  # seldom reached, even if other work slows the run down
_H2O_BYTES = 2**30
_WRITE_EVERY = 10  # tasks

log = logging.getLogger("metascout.knowledge")


def measure(tasks: Sequence[BenchmarkTask], path: Path, *, h2o_s: int = 0) -> pd.DataFrame:
    """Run the missing jobs, and write all results to a Parquet file, regularly and at the end.

    With `h2o_s`, H2O AutoML also runs for so many seconds on each table that is large enough. Columns of the result,
    one row per task and candidate: task, origin, family, kind (type of task), fingerprint, candidate, error (test error
    of the trial with the best validation score; lower is better), metric, fit_s, and each meta-feature as
    "feature:NAME".
    """
    table = pd.DataFrame()
    for number, task in enumerate(tasks, 1):
        dataset = _register(task)
        for spec in _missing_jobs(dataset, h2o_s):
            jobs.submit(spec)
        loop.serve(drain=True)
        part = rows(task, dataset)
        log.info("%d of %d: %s, %d candidates", number, len(tasks), task.name, len(part))
        table = pd.concat([table, part], ignore_index=True)
        if number % _WRITE_EVERY == 0 or number == len(tasks):
            _write(table, path)
    return table


def rows(task: BenchmarkTask, dataset: Dataset) -> pd.DataFrame:
    """Return the results of a task's jobs, one row per candidate; columns as in `measure`."""
    board = results.leaderboard(dataset.id, metric=METRIC[dataset.task], scope=Scope(baselines=False))
    board["candidate"] = [kinds.candidate(*pair) for pair in zip(board["engine"], board["algorithm"], strict=True)]
    best = board.drop_duplicates("candidate")[["candidate", "test_error", "metric", "fit_s"]]
    best = best.rename(columns={"test_error": "error"})
    best = best[np.isfinite(best["error"])].reset_index(drop=True)
    about = pd.DataFrame({"task": task.name, "origin": task.origin, "family": task.family}, best.index)
    about = about.assign(kind=dataset.task, fingerprint=dataset.fingerprint)
    features = {f"feature:{name}": value for name, value in metafeatures.get(dataset.id).items()}
    return pd.concat([about, best, pd.DataFrame(features, best.index)], axis=1)


def _register(task: BenchmarkTask) -> Dataset:
    data = task.make()
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(data, pd.DataFrame):
            path = Path(folder) / "task.csv"
            data.to_csv(path, index=False)
            return datasets.register(
                path, name=task.name, target=task.target, task=task.task, drop_rare_classes=True, source=task.origin
            )
        path = Path(folder) / "task.npz"
        np.savez(path, images=data[0], labels=data[1])
        return datasets.register_images(path, name=task.name, drop_rare_classes=True, source=task.origin)


def _missing_jobs(dataset: Dataset, h2o_s: int) -> list[Spec]:
    """Return the jobs that the dataset has not had; a failed one is not repeated."""
    specs: list[Spec] = [
        PortfolioSpec(dataset_id=dataset.id, cpus=1, budget_s=_BUDGET_S, candidate_s=_CANDIDATE_S, keep_models=False)
    ]
    if h2o_s and dataset.modality == "table" and dataset.n_rows["train"] >= MIN_ROWS:
        specs.append(AutoMLSpec(dataset_id=dataset.id, cpus=1, budget_s=h2o_s, memory_bytes=_H2O_BYTES))
    queued = set(jobs.overview(dataset_id=dataset.id)["kind"])
    return [spec for spec in specs if spec.kind not in queued]


def _write(table: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    table.to_parquet(part, index=False, compression="zstd")
    part.replace(path)
