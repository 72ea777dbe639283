"""The table of trials, on the leaderboard and on a job's page."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from core import kinds
from core.scoring import METRICS
from pages import links, words

BEST_N = 500  # trials that a page shows


def table(frame: pd.DataFrame, *, key: str) -> None:
    """Draw trials, best first; a row's button opens the trial."""
    name = METRICS[frame["metric"].iloc[0]].label if frame["metric"].notna().any() else "Metric"
    bounds = zip(frame["lower"], frame["upper"], strict=True)
    rows = frame.assign(
        open=f"{links.ENTRIES[links.TRIAL].icon} " + frame["trial_id"].astype(str),
        interval=[words.between(low, high) for low, high in bounds],
        error=frame["test_error"],
        predict_us=frame["predict_row_s"] * 1e6,
        engine=frame["engine"].map(kinds.label),
    )
    config = _columns(words.decimals(frame["test"]), name, f"{key}_open")
    st.dataframe(
        rows, column_order=[column for column in config if column in rows], column_config=config, hide_index=True,
        height="content" if len(frame) <= 15 else 560, key=key, placeholder="",
        alt=f"Trials ranked by validation {name}",
    )  # fmt: skip


def _columns(digits: str, name: str, button: str) -> dict[str, Any]:
    column = st.column_config
    return {
        "open": column.ButtonColumn(
            "Trial", type="tertiary", alignment="left", pinned=True, key=button, on_click=_open, args=(button,)
        ),
        "rank": column.NumberColumn("Rank", help="By validation score"),
        "algorithm": "Algorithm",
        "valid": column.NumberColumn(f"Validation {name}", format=digits),
        "test": column.NumberColumn(f"Test {name}", format=digits),
        "interval": column.TextColumn("Test 95% interval"),
        "error": column.NumberColumn("Test error", format=digits, help="Lower is better for every metric"),
        "fit_s": column.NumberColumn("Fit time (s)", format="%.1f"),
        "predict_us": column.NumberColumn("Prediction (µs/row)", format="%.1f"),
        "size_bytes": column.NumberColumn("Size", format="bytes"),
        "pareto": column.CheckboxColumn("Pareto-optimal", help="No trial is both better and faster"),
        "yardstick": column.CheckboxColumn("Baseline", help="A simple model for comparison"),
        "job_id": column.NumberColumn("Job", format="%d"),
        "engine": "Engine",
        "owner": "Owner",
        "candidate": column.TextColumn("Candidate", width="medium"),
    }


def _open(button: str) -> None:
    # By the label and not by the row: rows move while the table lives.
    st.switch_page(links.TRIAL, query_params={"trial": st.session_state[button].label.rpartition(" ")[2]})
