"""Meta-knowledge: the table of datasets by candidates that holds errors, and where it comes from."""

from core.knowledge.scenarios import TASK_TYPES, Scenario, TaskType, all_scenarios, get, remove, task_type
from core.knowledge.table import (
    METRIC,
    MIN_ROWS,
    Knowledge,
    advises,
    from_jobs,
    from_scenario,
    from_shipped_file,
    gather,
    our_features,
    overview,
    stamp,
)

__all__ = [
    "METRIC", "MIN_ROWS", "TASK_TYPES", "Knowledge", "Scenario", "TaskType", "advises", "all_scenarios", "from_jobs",
    "from_scenario", "from_shipped_file", "gather", "get", "our_features", "overview", "remove", "stamp", "task_type",
]  # fmt: skip
