"""Tables of meta-features and errors in which the answer is planted, or there is none."""

from __future__ import annotations

import numpy as np
import pandas as pd

FEW = {"trees": 100, "plan_trees": 50}


def planted(n: int = 80, seed: int = 0, noise: float = 0.02) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return features and errors of three candidates: the sign of one feature says which is good; the third is safe."""
    random = np.random.default_rng(seed)
    features = pd.DataFrame(random.normal(size=(n, 6)), columns=[f"f{place}" for place in range(6)])
    features.index = [f"d{place}" for place in range(n)]
    left = features["f2"] < 0
    errors = pd.DataFrame({"left": np.where(left, 0.1, 0.5), "right": np.where(left, 0.5, 0.1), "safe": 0.25})
    errors.index = features.index
    return features, errors + random.normal(scale=noise, size=errors.shape) + 0.05


def random_table(n: int = 100, candidates: int = 8, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return features and errors that have nothing to do with each other."""
    random = np.random.default_rng(seed)
    names = [f"d{place}" for place in range(n)]
    features = pd.DataFrame(random.normal(size=(n, 10)), names, [f"f{place}" for place in range(10)])
    return features, pd.DataFrame(random.random((n, candidates)), names, [f"c{place}" for place in range(candidates)])
