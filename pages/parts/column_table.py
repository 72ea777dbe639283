"""The table of a dataset's columns and its guard rails, as the pages that add and show a dataset draw them."""

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
    """One row a column."""
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
    """How the table of columns is drawn."""
    types: Any = st.column_config.TextColumn("Type")
    if editable:
        types = st.column_config.SelectboxColumn("Type", options=list(TABLE_TYPES), required=True)
    return {
        "name": st.column_config.TextColumn("Column", pinned=True),
        "type": types,
        "missing": st.column_config.ProgressColumn("Missing", format="percent", min_value=0, max_value=1),
        "values": st.column_config.NumberColumn("Different values", format="localized"),
        "distribution": st.column_config.BarChartColumn(
            "Distribution", y_min=0, help="Bins of a number or date from low to high; else the commonest values"
        ),
        "examples": st.column_config.TextColumn("Examples", width="medium"),
    }


def findings(found: Sequence[Finding]) -> None:
    """The guard rails: the first ones in full, the others folded away."""
    for finding in found[:_SHOWN]:
        _finding(finding)
    if len(found) > _SHOWN:
        with st.expander(f"{len(found) - _SHOWN} more warnings", icon=":material/warning:"):
            for finding in found[_SHOWN:]:
                _finding(finding)


def _finding(finding: Finding) -> None:
    if finding.kind == "own_split":
        st.info(words.plain(finding.text), icon=":material/call_split:")
        return
    st.warning(words.plain(finding.text), icon=_ICONS.get(finding.kind, ":material/warning:"))
