"""Labels, numbers with their units, times, and text that is shown as it is."""

from __future__ import annotations

import math
import os
import re
import sys

import pandas as pd
import streamlit as st

from core.errors import InputError, MetascoutError
from core.scoring import METRICS
from core.specs import LABELS

NONE = "\N{EN DASH}"
TASKS = {"binary": "Binary classification", "multiclass": "Multiclass classification", "regression": "Regression"}
# A job's state: the colour of its badge and its icon.
STATUSES = {
    "queued": ("gray", ":material/schedule:"),
    "running": ("blue", ":material/play_circle:"),
    "paused": ("violet", ":material/pause_circle:"),
    "succeeded": ("green", ":material/check_circle:"),
    "failed": ("red", ":material/error:"),
    "cancelled": ("orange", ":material/cancel:"),
}
# The Python that runs this page has what the runner needs; another one may not.
START_RUNNER = f"{os.path.relpath(sys.executable)} -m runner"


def plain(text: str) -> str:
    """Return the text for a Markdown context, where it is shown without formatting, links, icons or formulas."""
    escaped = re.sub(r"([\\`*_{}\[\]()<>#+|~$!&])", r"\\\1", text)
    # Codes such as :smile: and -> are replaced after Markdown has been parsed: an invisible joiner breaks them.
    return re.sub(r"([:\-=@])(?=\S)", "\\1\u2060", escaped)


def sentence(error: MetascoutError) -> str:
    """Return the text of a known error, with a spec's fields under the labels that forms give them."""
    return error.sentence(LABELS) if isinstance(error, InputError) else str(error)


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with the digits that matter; a dash for none."""
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 10 ** (digits + 2):
        decimals = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if abs(value) >= 1 else digits
        return f"{value:,.{decimals}f}"
    return f"{value:.{digits - 1}g}"


def interval(value: float | None, lower: float | None, upper: float | None) -> str:
    """Return a value with its interval, where that is known."""
    has_bounds = lower is not None and upper is not None and math.isfinite(lower) and math.isfinite(upper)
    return f"{number(value)} ({between(lower, upper)})" if has_bounds else number(value)


def between(lower: float | None, upper: float | None) -> str:
    """Return the bounds of an interval."""
    return f"{number(lower)} to {number(upper)}"


def duration(seconds: float | None) -> str:
    """Return seconds in the two units that matter."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    for limit, factor, unit in ((1e-3, 1e6, "µs"), (1, 1e3, "ms")):
        if 0 < seconds < limit:
            return f"{seconds * factor:.3g} {unit}"
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, hours = divmod(round(seconds), 60), divmod(round(seconds / 60), 60)
    return f"{minutes[0]} min {minutes[1]} s" if seconds < 3600 else f"{hours[0]} h {hours[1]} min"


def size(n_bytes: float | None) -> str:
    """Return bytes in the unit that fits."""
    if n_bytes is None or not math.isfinite(n_bytes):
        return NONE
    value, units = float(n_bytes), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.3g} {units[0]}"


def count(value: float) -> str:
    """Return a large count in the unit that fits, such as 1.23 M."""
    for limit, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.0f}"


def times(seconds: pd.Series) -> pd.Series:
    """Return seconds since the epoch as times where the reader is."""
    stamps = pd.to_datetime(pd.to_numeric(seconds), unit="s", utc=True)
    return stamps.dt.tz_convert(st.context.timezone or "UTC").dt.tz_localize(None).dt.floor("s")


def moment(seconds: float) -> str:
    """Return one time where the reader is, such as 24 Nov 2026, 07:08."""
    return str(times(pd.Series([seconds]))[0].strftime("%-d %b %Y, %H:%M"))


def decimals(values: pd.Series) -> str:
    """Return the format of a table's column of metric values."""
    largest = values.abs().max()
    return "%,.0f" if largest >= 1000 else "%.2f" if largest >= 10 else "%.4f"


def metric_label(metric: str) -> str:
    """Return a metric's name with its better direction."""
    return f"{METRICS[metric].label} {'↑' if METRICS[metric].higher_is_better else '↓'}"
