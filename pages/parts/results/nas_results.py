"""The results of a network search: its finalists, its candidates, their networks, and what its policy prefers."""

from __future__ import annotations

import json
from collections.abc import Callable

from core.queue import jobs
from pages.parts.results import policy_charts, search_candidates, search_networks, trial_results

BOARD, figures = trial_results.BOARD, trial_results.figures
WAITING = "The finalists appear here once they are fully trained; Candidates shows the search."


def tabs(job: jobs.Job) -> dict[str, Callable[[jobs.Job], None]]:
    """Return the tabs of a search; Policy where its strategy has one."""
    common = trial_results.tabs(job, WAITING, "candidate")
    search = {"Candidates": search_candidates.show, "Networks": search_networks.show}
    if json.loads(job.spec_text).get("strategy") in policy_charts.STRATEGIES:
        search["Policy"] = policy_charts.show
    return {"Trials": common["Trials"], **search, "Progress": common["Progress"]}
