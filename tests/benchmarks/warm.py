"""The gain of starting a search with the best candidates of searches on other tables: warm against cold, same seeds.

Each table is searched once with seed 1; then anew with other seeds, cold, and warm from all the other tables' searches.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from core import datasets, results
from core.queue import jobs
from core.specs import NASSpec
from runner import loop
from tests.benchmarks import DATA, own_home

TABLES = {"adult": "income", "bank_marketing": "y", "telco_churn": "churn", "credit_g": "class", "segment": "class"}
_ROWS = 3_000
_SEEDS = (2, 3)
_CANDIDATES, _BUDGET_S = 16, 90


def figures() -> Iterator[tuple[str, str]]:
    """Yield the figures of this part as they are measured."""
    with own_home() as folder:
        known = {name: _register(name, target, folder) for name, target in TABLES.items()}
        sources = {name: _search(dataset_id, 1, ()) for name, dataset_id in known.items()}
        gains: dict[str, list[float]] = {}
        for name, dataset_id in known.items():
            others = tuple(job_id for other, job_id in sources.items() if other != name)
            lines = []
            for seed in _SEEDS:
                cold, warm = (_bests(_search(dataset_id, seed, starts)) for starts in ((), others))
                lines.append((cold, warm))
            for what, place in (("first generation", 0), ("all candidates", -1)):
                gain = float(np.mean([100 * (warm[place] - cold[place]) for cold, warm in lines]))
                gains.setdefault(what, []).append(gain)
                yield f"{name}: best validation accuracy after the {what}, warm against cold", f"{gain:+.2f} points"
        for what, values in gains.items():
            error = np.std(values, ddof=1) / len(values) ** 0.5
            yield f"mean over tables after the {what}", f"{np.mean(values):+.2f} +-{error:.2f} points"


def _register(name: str, target: str, folder: Path) -> int:
    table = pd.read_csv(DATA / "tabular" / f"{name}.csv")
    table = table.sample(min(_ROWS, len(table)), random_state=0)
    table.to_csv(folder / f"{name}.csv", index=False)
    return datasets.register(folder / f"{name}.csv", name=name, target=target).id


def _search(dataset_id: int, seed: int, starts: tuple[int, ...]) -> int:
    spec = NASSpec(
        dataset_id=dataset_id, seed=seed, starts=starts, max_candidates=_CANDIDATES, budget_s=_BUDGET_S, finalists=1,
        epochs=1, metric="accuracy", cpus=1,
    )  # fmt: skip
    job_id = jobs.submit(spec)
    loop.run_once("benchmark")
    return job_id


def _bests(job_id: int) -> list[float]:
    """Return the best validation accuracy after each generation."""
    return [float(value) for value in results.curve(job_id, "best_valid")["value"]]
