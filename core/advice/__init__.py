"""Advice: which candidates will do best on a dataset, from a selector that learned it from past runs."""

from core.advice.advice import Advice, Driver, RankedCandidate, SimilarDataset, advise, last_advice, task_type
from core.advice.outcomes import outcome, track_record
from core.advice.plans import jobs_of, ranked_algorithms, run, specs_of, warm_starts
from core.advice.selector import Selector

__all__ = [
    "Advice", "Driver", "RankedCandidate", "Selector", "SimilarDataset", "advise", "jobs_of", "last_advice", "outcome",
    "ranked_algorithms", "run", "specs_of", "task_type", "track_record", "warm_starts",
]  # fmt: skip
