"""Images with their predictions, as a grid of small cards."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from core.datasets.images import pixels
from pages import words

MAX_IMAGES = 60
_RIGHT, _WRONG, _OPEN = "#009E73", "#D55E00", "#8A8F98"  # told apart with every kind of colour vision
_GRID = "display:grid;grid-template-columns:repeat(auto-fill,minmax(92px,1fr));gap:10px;margin:2px 0 6px"
_CARD = "margin:0;padding:6px 4px;border:1px solid {0};border-top:4px solid {0};border-radius:8px;text-align:center"
_IMAGE = "width:64px;height:64px;object-fit:contain;image-rendering:pixelated;border-radius:4px"
_TEXT = "font-size:0.8rem;line-height:1.25;overflow-wrap:anywhere"


def draw(predictions: Sequence[dict[str, Any]], images: Mapping[int, np.ndarray]) -> None:
    """Draw images with their predictions, unlabelled ones first, then the wrong ones; `images` by `row`."""
    first = sorted(predictions, key=order)[:MAX_IMAGES]
    cards = [card(one, images[one["row"]]) for one in first if one["row"] in images]
    st.html(f'<div style="{_GRID}">{"".join(cards)}</div>')
    if len(predictions) > len(cards):
        st.caption(f"{len(cards)} of {len(predictions):,}; unlabelled and wrong ones come first")


def order(one: dict[str, Any]) -> int:
    """Return the place of a prediction: unlabelled ones first, then wrong ones, then right ones."""
    return 0 if one["actual"] is None else 1 if one["actual"] != one["predicted"] else 2


def card(one: dict[str, Any], values: np.ndarray) -> str:
    """Return one image with its predicted class, the probability, and the actual class if it is another."""
    state = order(one)
    color = (_OPEN, _WRONG, _RIGHT)[state]
    name, sure = html.escape(str(one["predicted"])), f"{certainty(one):.0%}"
    actual = html.escape(str(one["actual"]))
    mark = ("", f'<br><span style="color:{_WRONG}">✖ {actual}</span>', "")[state]
    data = base64.b64encode(pixels.png(values)).decode()
    alt = html.escape(f"{one.get('name') or 'image'}, predicted {one['predicted']}")
    return (
        f'<figure style="{_CARD.format(color)}"><img src="data:image/png;base64,{data}" alt="{alt}" style="{_IMAGE}">'
        f'<figcaption style="{_TEXT}"><b>{name}</b> {sure}{mark}</figcaption></figure>'
    )


def certainty(one: dict[str, Any]) -> float:
    """Return the probability of the predicted class, the largest one."""
    return max((value for value in one.get("probabilities") or () if value is not None), default=float("nan"))


def plain(values: Sequence[np.ndarray]) -> None:
    """Draw images in rows, without text."""
    tags = [
        f'<img src="data:image/png;base64,{base64.b64encode(pixels.png(one)).decode()}" alt="" style="{_IMAGE}">'
        for one in values[:MAX_IMAGES]
    ]
    st.html(f'<div style="display:flex;flex-wrap:wrap;gap:4px">{"".join(tags)}</div>')
    if len(values) > MAX_IMAGES:
        st.caption(words.plain(f"The first {MAX_IMAGES} of {len(values):,}"))
