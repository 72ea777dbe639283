"""The drawing of a network: its layers from top to bottom, with the shapes of their outputs."""

from __future__ import annotations

import textwrap
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from pages.parts import charts

LAYERS = 60
_LINE, _PAD, _GAP = 17, 14, 34  # pixels: a line of text, what a box adds to its lines, and the arrow between boxes
_WIDTH, _LINES = 46, 4  # letters of a line of text, and lines of a layer's detail


def draw(layers: list[dict[str, Any]], *, key: str) -> None:
    """Draw a chain of boxes with the shapes between them; the layers of one block have one colour."""
    first = layers[:LAYERS]
    blocks = list(dict.fromkeys(_block(layer) for layer in first))
    shapes, notes, top = [], [], 0
    for layer in first:
        text = _text(layer)
        bottom = top - _PAD - _LINE * (text.count("<br>") + 1)
        shapes.append(_box(top, bottom, charts.COLORS[blocks.index(_block(layer)) % len(charts.COLORS)]))
        notes += [_words(text, (top + bottom) / 2), *_arrow(bottom, str(layer.get("out") or ""))]
        top = bottom - _GAP
    figure = go.Figure(layout={"shapes": shapes, "annotations": notes})  # at once: one by one takes seconds
    figure.update_xaxes(range=[0, 1], visible=False, fixedrange=True)
    figure.update_yaxes(range=[top, 2], visible=False, fixedrange=True)
    text = "; ".join(f"{layer.get('name')} {layer.get('detail') or ''} outputs {layer.get('out')}" for layer in first)
    charts.draw(figure, f"Layers from top to bottom: {text}", height=48 - top, key=key)
    if len(layers) > len(first):
        st.caption(f"The first {len(first)} of {len(layers)} layers")


def _block(layer: dict[str, Any]) -> str:
    return str(layer.get("name", "?")).partition(",")[0]


def _text(layer: dict[str, Any]) -> str:
    lines = textwrap.wrap(str(layer.get("detail") or ""), _WIDTH, max_lines=_LINES, placeholder=" …")
    name = charts.label(str(layer.get("name", "?")), 36)
    return "<br>".join([f"<b>{name}</b>", *(charts.label(line, _WIDTH) for line in lines)])


def _box(top: int, bottom: int, color: str) -> dict[str, Any]:
    line = {"color": color, "width": 1.5}
    place = {"x0": 0.02, "x1": 0.98, "y0": bottom, "y1": top}
    return {"type": "rect", **place, "line": line, "fillcolor": _pale(color), "layer": "below"}


def _words(text: str, y: float) -> dict[str, Any]:
    return {"x": 0.5, "y": y, "text": text, "showarrow": False, "font": {"size": 13, "color": _ink()}}


def _pale(color: str) -> str:
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.16)"


def _ink() -> str:
    """Return the text colour: the theme's own grey is hard to read on a coloured box."""
    return "#F0F2F6" if st.context.theme.type == "dark" else "#1B2030"


def _arrow(bottom: int, out: str) -> list[dict[str, Any]]:
    ends = {"x": 0.5, "y": bottom - _GAP, "ax": 0.5, "ay": bottom, "axref": "x", "ayref": "y", "xref": "x", "yref": "y"}
    look = {"showarrow": True, "arrowhead": 2, "arrowwidth": 1.5, "arrowcolor": charts.FAINT}
    beside = {"x": 0.5, "y": bottom - _GAP / 2, "showarrow": False, "xanchor": "left", "xshift": 10}
    return [{**ends, **look, "text": ""}, {**beside, "text": charts.label(out, 28), "font": {"size": 12}}]
