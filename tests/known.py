"""Made-up knowledge to ship, in which the share of categories decides what is best."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from core.metafeatures import LANDMARKERS, NAMES

N_TASKS = 40
CANDIDATES = ("HistGradientBoosting", "Linear", "SVM", "Baseline")


def ship(path: Path, *, tasks: int = N_TASKS, noise: float = 0.005, seed: int = 0) -> Path:
    """Write the file: linear models win where all columns are numbers, boosting where they are categories."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(tasks):
        features = {f"feature:{name}": random.random() for name in NAMES if name not in LANDMARKERS}
        features |= {"feature:categorical_frac": float(number % 2), "feature:numeric_frac": float(1 - number % 2)}
        n_rows = 100 * (3 + number)
        features |= {
            "feature:n_rows": float(n_rows),
            "feature:log_n_rows": np.log10(n_rows),
            "feature:log_n_features": 1.0,
        }
        errors = (0.1, 0.3, 0.2, 0.5) if number % 2 else (0.3, 0.1, 0.2, 0.5)
        for candidate, error in zip(CANDIDATES, errors, strict=True):
            told = {"task": f"task {number}", "origin": "generated", "family": f"family {number}", "kind": "binary"}
            told |= {"fingerprint": f"print {number}", "candidate": candidate, "metric": "auc"}
            rows.append({**told, "error": error + noise * random.normal(), "fit_s": n_rows / 1000, **features})
    pd.DataFrame(rows).to_parquet(path)
    return path
