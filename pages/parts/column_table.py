"""The table of a dataset's columns and its warnings, for the pages that add and show a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from core.datasets import Column, Finding
from core.datasets.columns import TABLE_TYPES
from pages import words

_ICONS = {"leak": ":material/water_drop:", "imbalance": ":material/balance:", "constant": ":material/block:"}
_SHOWN = 6


def frame(columns: Sequence[Column]) -> pd.DataFrame:
    """Return a table with a row for each column."""
    return pd.DataFrame(
        {
            "name": [column.name for column in columns],
            "type": [column.type for column in columns],
            "missing": [column.missing_frac for column in columns],
            "values": [column.cardinality for column in columns],
            "distribution": [list(column.histogram) for column in columns],
            "examples": [", ".join(column.examples) for column in columns],
        }
    )


def config(*, editable: bool) -> dict[str, Any]:
    """Return how the table of columns is drawn."""
    types: Any = st.column_config.TextColumn("Type")
    if editable:
        types = st.column_config.SelectboxColumn("Type", options=list(TABLE_TYPES), required=True)
    return {
        "name": st.column_config.TextColumn("Column", pinned=True),
        "type": types,
        "missing": st.column_config.ProgressColumn("Missing", format="percent", min_value=0, max_value=1),
        "values": st.column_config.NumberColumn("Unique values", format="localized"),
        "distribution": st.column_config.BarChartColumn(
            "Distribution", y_min=0, help="Bins of a number or date from low to high; otherwise the most common values"
        ),
        "examples": st.column_config.TextColumn("Examples", width="medium"),
    }


def findings(items: Sequence[Finding]) -> None:
    """Draw the warnings: the first ones in full, the others in an expander."""
    for finding in items[:_SHOWN]:
        _finding(finding)
    if len(items) > _SHOWN:
        with st.expander(f"{len(items) - _SHOWN} more warnings", icon=":material/warning:"):
            for finding in items[_SHOWN:]:
                _finding(finding)


def _finding(finding: Finding) -> None:
    if finding.kind == "own_split":
        st.info(words.plain(finding.text), icon=":material/call_split:")
        return
    st.warning(words.plain(finding.text), icon=_ICONS.get(finding.kind, ":material/warning:"))
