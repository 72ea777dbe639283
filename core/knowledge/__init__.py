"""Meta-knowledge: the table of datasets by candidates that holds errors, and where it comes from."""

from core.knowledge.table import (
    FEWEST_ROWS,
    METRIC,
    Knowledge,
    TaskKind,
    advises,
    gather,
    get,
    kind_of,
    of_scenario,
    our_features,
    overview,
    own,
    remove,
    scenarios,
    shipped,
    stamp,
)

__all__ = [
    "FEWEST_ROWS", "METRIC", "Knowledge", "TaskKind", "advises", "gather", "get", "kind_of", "of_scenario",
    "our_features", "overview", "own", "remove", "scenarios", "shipped", "stamp",
]  # fmt: skip
