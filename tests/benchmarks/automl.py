"""An H2O AutoML job of 60 s on telco_churn, through the queue and the runner, against its baseline."""

from __future__ import annotations

import time
from collections.abc import Iterator

from core import datasets, results
from core.queue import jobs
from core.specs import AutoMLSpec
from runner import loop
from tests.benchmarks import DATA, own_home

_BUDGET_S = 60


def figures() -> Iterator[tuple[str, str]]:
    """The figures of this part, as they are measured."""
    with own_home():
        dataset = datasets.register(DATA / "tabular" / "telco_churn.csv", name="telco_churn", target="churn")
        job_id = jobs.submit(AutoMLSpec(dataset_id=dataset.id, budget_s=_BUDGET_S))
        begin = time.monotonic()
        loop.run_once("benchmark")
        wall_s = time.monotonic() - begin
        board = results.leaderboard(dataset.id)
        if jobs.get(job_id).status != "succeeded":
            yield "the job failed", str(jobs.overview(job_id=job_id).error[0])
            return
        best = board[~board.yardstick].iloc[0]
        baseline = board[board.algorithm == "HistGradientBoosting"].iloc[0]
        yield "best AutoML model by validation score: test AUC", f"{best.test:.4f} [{best.lower:.4f}, {best.upper:.4f}]"
        yield "  its algorithm", str(best.algorithm)
        yield "HistGradientBoosting on the same rows: test AUC", f"{baseline.test:.4f}"
        yield "models", str(int((~board.yardstick).sum()))
        yield f"wall seconds for a budget of {_BUDGET_S} s (the start of Java included)", f"{wall_s:.1f}"
