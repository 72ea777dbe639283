"""Candidates as advice names them: an algorithm and, where it is not scikit-learn's, the engine that trains it."""

from __future__ import annotations

from core.datasets import Dataset
from core.specs import AUTOML_ALGORITHMS, PORTFOLIO_CANDIDATES

_PREFIXES = {"automl": "H2O ", "nas": "NAS "}
NETWORKS = {"image": ("CNN",), "text": ("Conv1d", "GRU", "LSTM", "Transformer"), "table": ("MLP", "ResidualMLP")}

# The candidate of a trial `t`, in SQL. A yardstick is fitted with scikit-learn by whatever engine.
NAMED = (
    "CASE WHEN t.yardstick THEN t.algorithm "
    + " ".join(f"WHEN t.engine = '{engine}' THEN '{prefix}' || t.algorithm" for engine, prefix in _PREFIXES.items())
    + " ELSE t.algorithm END"
)


def named(engine: str, algorithm: str) -> str:
    """The candidate of an engine's algorithm, as NAMED has it."""
    return _PREFIXES.get(engine, "") + algorithm


def engine_of(candidate: str) -> str | None:
    """The kind of job that trains it; None for a candidate that is known from imported runs only."""
    for engine, prefix in _PREFIXES.items():
        if candidate.startswith(prefix):
            return engine
    return "portfolio" if candidate in PORTFOLIO_CANDIDATES else None


def algorithm_of(candidate: str) -> str:
    """What its engine calls it."""
    return candidate.removeprefix(_PREFIXES.get(engine_of(candidate) or "", ""))


def runnable(candidate: str, dataset: Dataset) -> bool:
    """Whether a job of this dataset can train it."""
    engine, algorithm = engine_of(candidate), algorithm_of(candidate)
    if engine == "automl":
        return dataset.modality == "table" and algorithm in AUTOML_ALGORITHMS
    if engine == "nas":
        return algorithm in NETWORKS[dataset.modality]
    return engine == "portfolio"
