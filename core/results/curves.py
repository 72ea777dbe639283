"""Curves of jobs: metrics by step, the candidates of a search, their layers, and the policy of the search."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from core.store import database

if TYPE_CHECKING:
    import pandas as pd


def curve(job_id: int, name: str, *, candidate: str | None = None) -> pd.DataFrame:
    """Return one curve of a job's shown attempt (the last with results): step, value, happened_at."""
    with database.transaction() as connection:
        return connection.execute(
            "SELECT m.step, m.value, m.happened_at FROM metrics m"
            " JOIN jobs j ON j.id = m.job_id AND j.shown_attempt = m.attempt"
            " WHERE m.job_id=? AND m.name=? AND m.candidate IS NOT DISTINCT FROM ? ORDER BY m.step",
            [int(job_id), name, candidate],
        ).df()


def candidates(job_id: int) -> pd.DataFrame:
    """Return the candidates of a search: those trained longest first, then by their error.

    Columns: candidate, epochs (trained so far), valid_error after them, n_parameters, flops of one row, latency_s of
    one row alone (each NaN if unknown), trial_id (NaN if not a finalist; trials of continued jobs count too).
    """
    with database.transaction() as connection:
        frame = connection.execute(
            "SELECT m.candidate, coalesce(max(m.step) FILTER (m.name = 'valid_error'), 0) AS epochs,"
            " coalesce(arg_max(m.value, m.step) FILTER (m.name = 'valid_error'), 'nan') AS valid_error,"
            " coalesce(max(m.value) FILTER (m.name = 'n_parameters'), 'nan') AS n_parameters,"
            " coalesce(max(m.value) FILTER (m.name = 'flops'), 'nan') AS flops,"
            " coalesce(max(m.value) FILTER (m.name = 'latency_s'), 'nan') AS latency_s"
            " FROM metrics m JOIN jobs j ON j.id = m.job_id AND j.shown_attempt = m.attempt"
            " WHERE m.job_id = ? AND m.candidate IS NOT NULL"
            " AND m.name IN ('valid_error', 'n_parameters', 'flops', 'latency_s')"
            " GROUP BY m.candidate ORDER BY epochs DESC, valid_error, n_parameters, m.candidate",
            [int(job_id)],
        ).df()
        finalists = connection.execute(
            "WITH RECURSIVE line AS (SELECT id, continues, shown_attempt FROM jobs WHERE id = ?"
            " UNION ALL SELECT j.id, j.continues, j.shown_attempt FROM jobs j JOIN line ON line.continues = j.id)"
            " SELECT t.candidate, t.id FROM trials t JOIN line ON line.id = t.job_id AND line.shown_attempt = t.attempt"
            " ORDER BY t.job_id DESC, t.id",
            [int(job_id)],
        ).fetchall()
    trial_ids = dict(reversed(finalists))  # the first trial of a candidate counts
    frame["trial_id"] = [trial_ids.get(name, np.nan) for name in frame["candidate"]]
    return frame


def architecture(job_id: int, candidate: str) -> list[dict[str, Any]]:
    """Return the layers of a candidate, as in `events.Architecture`; empty if it was not reported."""
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT layers FROM architectures WHERE job_id=? AND candidate=? ORDER BY attempt DESC LIMIT 1",
            [int(job_id), candidate],
        ).fetchall()
    return json.loads(rows[0][0]) if rows else []


def policy(job_id: int, source: str = "strategy") -> pd.DataFrame:
    """Return the policy of a search over time: decision, option, step and probability, in the order of their events.

    `source` is "strategy" for the policy of the strategy (steps are candidates), and "supernet" for the policy of a
    supernet in training (steps are training steps). Empty if the strategy has no policy.
    """
    with database.transaction() as connection:
        return connection.execute(
            "SELECT p.decision, p.option, p.step, p.probability FROM policy_points p"
            " JOIN jobs j ON j.id = p.job_id AND j.shown_attempt = p.attempt"
            " WHERE p.job_id = ? AND p.source = ? ORDER BY p.step, p.rowid",
            [int(job_id), source],
        ).df()
