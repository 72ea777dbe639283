"""Cached reads of core: all sessions share one read until the store changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import streamlit as st

from core.store import database

P = ParamSpec("P")
R = TypeVar("R")

LIVE_S = 2.0  # between two looks of a page at what is running


def read(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Return what a function of core reads, from the cache unless the store has changed or two seconds are over."""
    name = f"{function.__module__}.{function.__qualname__}"
    return _read(name, args, tuple(sorted(kwargs.items())), _stamp(), _function=function)


@st.cache_data(ttl=LIVE_S, max_entries=200, show_spinner=False)
def _read(name: str, args: Any, kwargs: Any, stamp: Any, *, _function: Callable[..., Any]) -> Any:
    return _function(*args, **dict(kwargs))


def _stamp() -> tuple[str, int, int]:
    """Return what changes with every write to the store; it costs one call of stat."""
    path = database.store_path()
    try:
        stat = path.stat()
    except FileNotFoundError:  # before the first read
        return str(path), 0, 0
    return str(path), stat.st_mtime_ns, stat.st_size
