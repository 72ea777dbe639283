"""Results: what jobs reported, recorded once, and read back as trials, curves and leaderboards."""

from core.results.trials import (
    Scope,
    Trial,
    architecture,
    artifacts_of,
    best_trials,
    candidates,
    chosen_trials,
    curve,
    facets,
    leaderboard,
    messages,
    pareto,
    performance_table,
    policy,
    recent_results,
    record,
    trial,
    trials_of,
    warnings,
)

__all__ = [
    "Scope", "Trial", "architecture", "artifacts_of", "best_trials", "candidates", "chosen_trials", "curve", "facets",
    "leaderboard", "messages", "pareto", "performance_table", "policy", "recent_results", "record", "trial",
    "trials_of", "warnings",
]  # fmt: skip
