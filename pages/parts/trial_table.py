"""The table of trials, as the leaderboard and a job's page draw it."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from core import kinds
from core.scoring import METRICS
from pages import links, words

BEST_N = 500  # trials that a page shows
_SHOWN = ["open", "rank", "algorithm", "valid", "test", "interval", "error", "fit_s", "predict_us", "size_bytes"]
_SHOWN += ["pareto", "yardstick", "job_id", "engine", "owner", "candidate"]


def table(frame: pd.DataFrame, *, key: str) -> None:
    """Trials, best first; a row's button opens the trial."""
    name = METRICS[frame["metric"].iloc[0]].label if frame["metric"].notna().any() else "Metric"
    bounds = zip(frame["lower"], frame["upper"], strict=True)
    shown = frame.assign(
        open=":material/science: " + frame["trial_id"].astype(str),
        interval=[words.between(low, high) for low, high in bounds],
        error=frame["test_error"],
        predict_us=frame["predict_row_s"] * 1e6,
        engine=frame["engine"].map(kinds.label),
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
    column, digits = st.column_config, words.decimals(frame["test"])
    return {
        "open": column.ButtonColumn(
            "Trial",
            type="tertiary",
            alignment="left",
            pinned=True,
            key=f"{key}_open",
            on_click=_open,
            args=(f"{key}_open",),
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
        "pareto": column.CheckboxColumn("Pareto", help="No trial is both better on the valid rows and faster"),
        "yardstick": column.CheckboxColumn("Yardstick", help="A simple model to compare with"),
        "job_id": column.NumberColumn("Job", format="%d"),
        "engine": "Engine",
        "owner": "Owner",
        "candidate": column.TextColumn("Candidate", width="medium"),
    }


def _open(key: str) -> None:
    # By the label and not by the row: rows move while the table lives.
    st.switch_page(links.TRIAL, query_params={"trial": st.session_state[key].label.rpartition(" ")[2]})
