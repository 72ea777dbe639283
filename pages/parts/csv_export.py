"""Tables as CSV files that a spreadsheet opens safely."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st


def button(table: Callable[[], pd.DataFrame], file_name: str, label: str = "Export as CSV") -> None:
    """Draw the button that downloads a table, which is read once it is clicked."""
    st.download_button(
        label, lambda: csv_safe(table()), file_name, "text/csv", icon=":material/download:", on_click="ignore",
        key="export",
    )  # fmt: skip


def csv_safe(frame: pd.DataFrame) -> str:
    """Return the table as CSV in which no text starts a formula when a spreadsheet opens it."""
    frame = frame.rename(columns=_harmless).copy()
    for position, kind in enumerate(frame.dtypes):
        if not pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind):
            frame.isetitem(position, frame.iloc[:, position].map(_harmless))
    return frame.to_csv(index=False)


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
