"""H2O with only the algorithms that the advice ranks first, against H2O with all of them, in the same time.

The shipped knowledge has the tables in part and with other targets, which helps the ranked side.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from core import advice, datasets, kinds, results
from core.advice import fits
from core.queue import jobs
from core.specs import AutoMLSpec
from runner import loop
from tests.benchmarks import DATA, own_home

TABLES = {"bank_marketing": "y", "telco_churn": "churn", "credit_g": "class", "adult": "income"}
_ROWS, _BUDGET_S, _RANKED = 4_000, 30, 2


def figures() -> Iterator[tuple[str, str]]:
    """Yield the figures of this part as they are measured."""
    with own_home() as folder:
        fits.refit("classification")
        gains = []
        for name, target in TABLES.items():
            table = pd.read_csv(DATA / "tabular" / f"{name}.csv")
            table.sample(min(_ROWS, len(table)), random_state=1).to_csv(folder / f"{name}.csv", index=False)
            dataset = datasets.register(folder / f"{name}.csv", name=name, target=target)
            names = [item.candidate for item in advice.advise(dataset.id).ranking if item.engine == "automl"]
            ranked = [kinds.of_candidate(item)[1] for item in names if "Ensemble" not in item][:_RANKED]
            every, some = (_best(dataset.id, chosen) for chosen in (None, (*ranked, "StackedEnsemble")))
            gains.append(100 * (every - some))
            yield f"{name}: validation error of {', '.join(ranked)}, and of all", f"{some:.4f} against {every:.4f}"
        error = np.std(gains, ddof=1) / len(gains) ** 0.5
        yield "mean over tables, in points of validation AUC", f"{np.mean(gains):+.2f} +-{error:.2f}"


def _best(dataset_id: int, algorithms: tuple[str, ...] | None) -> float:
    """Return the lowest validation error that AutoML reaches."""
    limits = {} if algorithms is None else {"algorithms": algorithms}
    job_id = jobs.submit(AutoMLSpec(dataset_id=dataset_id, budget_s=_BUDGET_S, memory_bytes=2**30, **limits))
    loop.run_once("benchmark")
    trials = results.trials_of(job_id)
    return float(trials.loc[~trials["yardstick"], "valid_error"].min())
