"""Trials by the dozen: the best of a dataset, and the table of them, as the leaderboard and a job's page draw it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from core import results
from core.scoring import METRICS
from pages import shared

_SHOWN = ["open", "rank", "algorithm", "valid", "test", "interval", "error", "fit_s", "predict_us", "size_bytes"]
_SHOWN += ["pareto", "yardstick", "job_id", "engine", "owner", "candidate"]


@dataclass(frozen=True)
class View:
    """What the filters ask for."""

    metric: str
    algorithms: tuple[str, ...] = ()
    job_id: int | None = None
    yardsticks: bool = True


@dataclass(frozen=True)
class Board:
    """The best trials of a view, how many it has in all, and what the dataset's filters can offer."""

    frame: pd.DataFrame
    n_trials: int
    algorithms: tuple[str, ...]
    job_ids: tuple[int, ...]


def board(dataset_id: int, view: View, limit: int | None = None) -> Board:
    """The best trials by the valid rows, or all of them."""
    frame = results.leaderboard(dataset_id, metric=view.metric)
    algorithms, job_ids = tuple(sorted(frame["algorithm"].unique())), tuple(sorted(frame["job_id"].unique()))
    if view.algorithms:
        frame = frame[frame["algorithm"].isin(view.algorithms)]
    if view.job_id is not None:
        frame = frame[frame["job_id"] == view.job_id]
    if not view.yardsticks:
        frame = frame[~frame["yardstick"]]
    best = frame if limit is None else frame.head(limit)
    return Board(best.reset_index(drop=True), len(frame), algorithms, tuple(int(job_id) for job_id in job_ids))


def table(frame: pd.DataFrame, *, key: str) -> None:
    """Trials, best first; a row's button opens the trial."""
    name = METRICS[frame["metric"].iloc[0]].label if frame["metric"].notna().any() else "Metric"
    bounds = zip(frame["lower"], frame["upper"], strict=True)
    shown = frame.assign(
        open=":material/science: " + frame["trial_id"].astype(str),
        interval=[shared.between(low, high) for low, high in bounds],
        error=frame["test_error"],
        predict_us=frame["predict_row_s"] * 1e6,
    )
    st.dataframe(
        shown,
        column_order=[column for column in _SHOWN if column in shown],
        column_config=_config(frame, name, key),
        hide_index=True,
        height="content" if len(frame) <= 15 else 560,
        key=key,
        placeholder="",
        alt=f"Trials ranked by {name} on the valid rows",
    )


def _config(frame: pd.DataFrame, name: str, key: str) -> dict[str, Any]:
    column, digits = st.column_config, shared.decimals(frame["test"])
    return {
        "open": column.ButtonColumn(
            "Trial",
            type="tertiary",
            alignment="left",
            pinned=True,
            key=f"{key}_open",
            on_click=_open,
            args=(f"{key}_open", list(frame["trial_id"])),
        ),
        "rank": column.NumberColumn("Rank", help="By the valid rows"),
        "algorithm": "Algorithm",
        "valid": column.NumberColumn(f"{name}, valid", format=digits),
        "test": column.NumberColumn(f"{name}, test", format=digits),
        "interval": column.TextColumn("95% interval of test"),
        "error": column.NumberColumn("Error, test", format=digits, help="Lower is better, whatever the metric"),
        "fit_s": column.NumberColumn("Fit, s", format="%.1f"),
        "predict_us": column.NumberColumn("Predict, µs a row", format="%.1f"),
        "size_bytes": column.NumberColumn("Size", format="bytes"),
        "pareto": column.CheckboxColumn("Pareto", help="No trial is both more accurate on test and faster"),
        "yardstick": column.CheckboxColumn("Yardstick", help="A simple model to compare with"),
        "job_id": column.NumberColumn("Job", format="%d"),
        "engine": "Engine",
        "owner": "Owner",
        "candidate": column.TextColumn("Candidate", width="medium"),
    }


def _open(key: str, trial_ids: list[int]) -> None:
    st.switch_page(shared.TRIAL, query_params={"trial": str(trial_ids[st.session_state[key].row])})
