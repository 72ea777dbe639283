"""Advice: which candidates will do best on a dataset, from a selector that learned it from past runs."""

from core.advice.advice import (
    Advice,
    Driver,
    Near,
    Ranked,
    advise,
    before_results,
    jobs_of,
    kind_of,
    latest,
    outcome,
    ranked_algorithms,
    run,
    specs_of,
    track_record,
    warm_starts,
)
from core.advice.selector import Selector

__all__ = [
    "Advice", "Driver", "Near", "Ranked", "Selector", "advise", "before_results", "jobs_of", "kind_of",
    "latest", "outcome", "ranked_algorithms", "run", "specs_of", "track_record", "warm_starts",
]  # fmt: skip
