"""Measure the knowledge that ships: `python -m tools.shipped_knowledge.measurement --out FILE`.

Each task is registered in a data directory of its own and goes through the ordinary queue and runner. What is done is
not done again: a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from core import datasets, kinds, metafeatures, results
from core.datasets import Dataset
from core.errors import MetascoutError
from core.knowledge import METRIC, MIN_ROWS
from core.queue import jobs
from core.results import Scope
from core.specs import AutoMLSpec, PortfolioSpec, Spec
from runner import loop
from runner.__main__ import sole_runner
from tools.shipped_knowledge.tasks import KnownTask, known_tasks

_CANDIDATE_S, _BUDGET_S = 300, 3_600  # seldom reached: the run may have to stand back behind other work
_H2O_BYTES = 2**30
_WRITTEN_EVERY = 10  # tasks

log = logging.getLogger("metascout.knowledge")


def measure(tasks: Sequence[KnownTask], path: Path, *, h2o_s: int = 0) -> pd.DataFrame:
    """Run what is not done yet, and write what is known to a Parquet file, now and then and at the end.

    With `h2o_s`, each table that is large enough to count has a run of H2O AutoML of so many seconds, too. Columns of
    the result, a row a task and candidate: task, origin, family, kind (of task), fingerprint, candidate, error (on the
    test rows, of the trial that the valid rows chose; lower is better), metric, fit_s, and each meta-feature under
    "feature:" and its name.
    """
    known = pd.DataFrame()
    for number, task in enumerate(tasks, 1):
        dataset = _registered(task)
        for spec in _missing(dataset, h2o_s):
            jobs.submit(spec)
        loop.serve(drain=True)
        found = rows(task, dataset)
        log.info("%d of %d: %s, %d candidates", number, len(tasks), task.name, len(found))
        known = pd.concat([known, found], ignore_index=True)
        if number % _WRITTEN_EVERY == 0 or number == len(tasks):
            _write(known, path)
    return known


def rows(task: KnownTask, dataset: Dataset) -> pd.DataFrame:
    """What the jobs of a task found, a row a candidate; the columns are those of `measure`."""
    board = results.leaderboard(dataset.id, metric=METRIC[dataset.task], scope=Scope(yardsticks=False))
    board["candidate"] = [kinds.candidate(*pair) for pair in zip(board["engine"], board["algorithm"], strict=True)]
    best = board.drop_duplicates("candidate")[["candidate", "test_error", "metric", "fit_s"]]
    best = best.rename(columns={"test_error": "error"})
    best = best[np.isfinite(best["error"])].reset_index(drop=True)
    about = pd.DataFrame({"task": task.name, "origin": task.origin, "family": task.family}, best.index)
    about = about.assign(kind=dataset.task, fingerprint=dataset.fingerprint)
    features = {f"feature:{name}": value for name, value in metafeatures.get(dataset.id).items()}
    return pd.concat([about, best, pd.DataFrame(features, best.index)], axis=1)


def _registered(task: KnownTask) -> Dataset:
    made = task.make()
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(made, pd.DataFrame):
            path = Path(folder) / "task.csv"
            made.to_csv(path, index=False)
            return datasets.register(
                path, name=task.name, target=task.target, task=task.task, drop_rare_classes=True, source=task.origin
            )
        path = Path(folder) / "task.npz"
        np.savez(path, images=made[0], labels=made[1])
        return datasets.register_images(path, name=task.name, drop_rare_classes=True, source=task.origin)


def _missing(dataset: Dataset, h2o_s: int) -> list[Spec]:
    """The jobs that the dataset has not had; one that failed is not tried again."""
    wanted: list[Spec] = [
        PortfolioSpec(dataset_id=dataset.id, cpus=1, budget_s=_BUDGET_S, candidate_s=_CANDIDATE_S, keep_models=False)
    ]
    if h2o_s and dataset.modality == "table" and dataset.n_rows["train"] >= MIN_ROWS:
        wanted.append(AutoMLSpec(dataset_id=dataset.id, cpus=1, budget_s=h2o_s, memory_bytes=_H2O_BYTES))
    had = jobs.overview(dataset_id=dataset.id)
    return [spec for spec in wanted if spec.kind not in set(had["kind"])]


def _write(known: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    known.to_parquet(part, index=False, compression="zstd")
    part.replace(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and measure; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.shipped_knowledge.measurement", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the Parquet file to write")
    parser.add_argument("--home", type=Path, required=True, help="the data directory of the run, not one that is used")
    parser.add_argument("--tasks", type=int, help="only the first so many (default: all)")
    parser.add_argument(
        "--h2o", type=int, default=0, metavar="SECONDS", help="of H2O AutoML on each table (default: 0)"
    )
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", stream=sys.stdout)
    log.setLevel(logging.INFO)
    os.environ["METASCOUT_HOME"] = str(given.home.resolve())
    os.environ.pop("METASCOUT_STORE", None)
    try:
        with sole_runner():
            known = measure(known_tasks()[: given.tasks], given.out, h2o_s=given.h2o)
    except MetascoutError as error:
        print(error, file=sys.stderr)
        return 1
    n_tasks, n_candidates = known["task"].nunique(), known["candidate"].nunique()
    print(f"{n_tasks} tasks, {n_candidates} candidates, {len(known):,} errors in {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
