"""Results: what jobs reported, recorded once, and read back as trials, curves and leaderboards."""

from core.results.curves import architecture, candidates, curve, policy
from core.results.record import record
from core.results.trials import (
    Scope,
    Trial,
    artifacts_of,
    best_trials,
    chosen_trials,
    count_trials,
    facets,
    leaderboard,
    pareto,
    performance_table,
    recent_results,
    trial,
    trials_of,
)

__all__ = [
    "Scope", "Trial", "architecture", "artifacts_of", "best_trials", "candidates", "chosen_trials", "count_trials",
    "curve", "facets", "leaderboard", "pareto", "performance_table", "policy", "recent_results", "record", "trial",
    "trials_of",
]  # fmt: skip
