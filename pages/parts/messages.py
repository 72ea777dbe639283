"""Boxes that tell the reader something: errors, what an action led to, what is missing, and a job's state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import streamlit as st

from core.errors import InputError, MetascoutError
from pages import links, words


@contextmanager
def show_errors() -> Iterator[None]:
    """Show a known error that is raised inside as its sentence."""
    try:
        yield
    except MetascoutError as error:
        show(error)


def show(error: MetascoutError) -> None:
    """Show the sentence of a known error."""
    st.error(words.plain(words.sentence(error)), icon=":material/error:")


def dead_end(title: str, error: InputError, page: str, label: str) -> None:
    """Draw a page whose link leads nowhere: why, and where to go instead."""
    st.title(title)
    show(error)
    links.link(page, label, icon=":material/arrow_forward:")


def empty(text: str, page: str, label: str, **params: Any) -> None:
    """Draw an empty state: what is missing, and the link to the next step."""
    with st.container(border=True, horizontal_alignment="center", gap="small"):
        st.markdown(f":gray[{words.plain(text)}]", text_alignment="center")
        links.link(page, label, icon=":material/arrow_forward:", **params)


def show_outcome() -> None:
    """Show what the last action led to (see `actions.save_outcome`), once."""
    kind, text = st.session_state.pop("outcome", (None, ""))
    if kind == "error":
        st.error(words.plain(text), icon=":material/error:")
    elif kind:
        st.toast(words.plain(text), icon=":material/check:")


def badge(status: str) -> None:
    """Draw a job's state, as a word, a colour and an icon."""
    color, icon = words.STATUSES[status]
    st.badge(status.capitalize(), icon=icon, color=color)  # type: ignore[arg-type]
