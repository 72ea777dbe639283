"""The look that all charts share: colours, margins, legends and names."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

COLORS = ["#3B7DD8", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8A8F98"]  # Okabe and Ito
ACCENT, SECOND, FAINT = COLORS[0], COLORS[1], COLORS[-1]
FEW_POINTS = 3  # of a chart, whose own spread would be a poor scale


def draw(figure: go.Figure, alt: str, *, height: int = 380, key: str | None = None) -> None:
    """Draw a figure in the shared look; the theme gives its background and text colours, light or dark."""
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        colorway=COLORS,
        hoverlabel={"namelength": -1},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1, "x": 0, "title": None, "traceorder": "normal"},
    )
    figure.update_xaxes(automargin=True, title_standoff=12)
    figure.update_yaxes(automargin=True, title_standoff=12)
    st.plotly_chart(figure, key=key, alt=alt, config={"displaylogo": False, "displayModeBar": False})


def spans(above: Any, below: Any) -> dict[str, Any]:
    """Return the error bars that draw intervals, from the lengths of their parts above and below the points."""
    return {
        "type": "data", "symmetric": False, "array": above, "arrayminus": below, "color": FAINT, "thickness": 2,
        "width": 4,
    }  # fmt: skip


def padded_range(values: pd.Series) -> list[float] | None:
    """Return an axis range for a few values, with room above and below them; None where none is a number."""
    low, high = float(values.min()), float(values.max())
    room = max(high - low, 0.1 * max(abs(low), abs(high)), 1e-9)
    return [low - room, high + room] if math.isfinite(room) else None


def label(text: str, most: int = 40) -> str:
    """Return a name for a chart, where `<` would start markup; shortened to `most` letters."""
    short = text if len(text) <= most else text[: most - 1] + "…"
    return short.replace("&", "&amp;").replace("<", "&lt;")
