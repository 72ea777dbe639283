"""Results: the events of jobs, recorded once and read as trials, curves and leaderboards."""

from core.results.curves import architecture, candidates, curve, policy
from core.results.record import record
from core.results.trials import (
    Scope,
    Trial,
    artifacts_of,
    best_by_candidate,
    best_by_dataset,
    count_trials,
    filter_values,
    leaderboard,
    pareto,
    performance_table,
    recent_results,
    trial,
    trials_of,
)

__all__ = [
    "Scope",
    "Trial",
    "architecture",
    "artifacts_of",
    "best_by_candidate",
    "best_by_dataset",
    "candidates",
    "count_trials",
    "curve",
    "filter_values",
    "leaderboard",
    "pareto",
    "performance_table",
    "policy",
    "recent_results",
    "record",
    "trial",
    "trials_of",
]  # fmt: skip
