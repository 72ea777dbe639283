"""A small canvas to draw on with the mouse or a finger, and the drawings of a session."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st

from core.datasets.images import examples, folders
from core.datasets.images.examples import Picture
from core.datasets.images.pixels import Shape
from core.errors import InputError, MetascoutError
from pages import words
from pages.parts.fewshot import gallery

MAX_DRAWINGS = 100  # drawings of a session
MAX_BYTES, MAX_SIDE = 2**20, 1024  # of one drawing
PREDICT = "To predict"
AGAIN = "Draw it again."
FIRST = ("A", "B", "C")
_SIDE = 280
_PREFIX = "data:image/png;base64,"

_HTML = """
<div class="pad">
  <canvas aria-label="Canvas: draw with the mouse or a finger"></canvas>
  <div class="row">
    <button type="button" class="add"></button>
    <button type="button" class="clear">Clear</button>
  </div>
</div>
"""
_CSS = """
.pad { display: inline-flex; flex-direction: column; gap: 8px; font-family: var(--st-font); max-width: 100%; }
canvas { width: 280px; max-width: 100%; aspect-ratio: 1; border: 1px solid var(--st-border-color);
  border-radius: var(--st-base-radius); cursor: crosshair; touch-action: none; }
.row { display: flex; gap: 8px; width: 280px; max-width: 100%; }
button { font: inherit; font-size: 0.95rem; padding: 6px 12px; border-radius: var(--st-button-radius, 8px);
  border: 1px solid var(--st-border-color); background: var(--st-background-color); color: var(--st-text-color);
  cursor: pointer; }
button.add { flex: 1; border-color: var(--st-primary-color); color: var(--st-primary-color);
  overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
button:hover { border-color: var(--st-primary-color); }
button:disabled { opacity: 0.5; cursor: default; }
"""
_JS = """
export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const canvas = parentElement.querySelector("canvas");
  const add = parentElement.querySelector(".add");
  const clear = parentElement.querySelector(".clear");
  const context = canvas.getContext("2d");
  const wipe = () => {
    context.fillStyle = data.paper;
    context.fillRect(0, 0, canvas.width, canvas.height);
    add.disabled = clear.disabled = true;
  };
  const look = [data.side, data.paper, data.ink].join();
  if (canvas.dataset.look !== look) {
    canvas.width = canvas.height = data.side;
    canvas.dataset.look = look;
    wipe();
  }
  add.textContent = data.text;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const scale = canvas.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  };
  let last = null;
  const line = (to) => {
    context.strokeStyle = data.ink;
    context.lineWidth = data.pen;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(...last);
    context.lineTo(...to);
    context.stroke();
    last = to;
    add.disabled = clear.disabled = false;
  };
  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = place(event);
    line(last);
    event.preventDefault();
  };
  canvas.onpointermove = (event) => {
    if (last) (event.getCoalescedEvents?.() ?? [event]).concat(event).forEach((one) => line(place(one)));
  };
  canvas.onpointerup = canvas.onpointercancel = () => { last = null; };
  clear.onclick = wipe;
  add.onclick = () => {
    setTriggerValue("drawn", canvas.toDataURL("image/png"));
    wipe();
  };
}
"""
_pad = st.components.v2.component("metascout.canvas", html=_HTML, css=_CSS, js=_JS)


@dataclass(frozen=True, slots=True)
class Drawing:
    """One drawing of a session: its PNG file, and its class, or None if it is to be predicted."""

    key: str
    content: bytes
    label: str | None


def draw(shape: Shape, bright: bool, key: str) -> list[Picture]:
    """Draw the canvas and the drawings so far, each with a button to delete it; returns them as images of `shape`.

    `bright`: whether ink is bright on dark paper.
    """
    left, right = st.columns([1, 1], gap="medium")
    drawings: list[Drawing] = st.session_state.setdefault("drawings", [])
    with left:
        names = list(dict.fromkeys([*FIRST, *(one.label for one in drawings if one.label is not None)]))
        label = st.selectbox(
            "Class to draw", [*names, PREDICT], key=f"{key}_class", accept_new_options=True,
            help=f"Choose a class or type a new name. Drawings under {PREDICT!r} are classified.",
        )  # fmt: skip
        name = None if label == PREDICT else label
        paper, ink = ("#000000", "#ffffff") if bright else ("#ffffff", "#000000")
        button = "Add to predict" if name is None else f"Add to class {name}"
        pen = min(56.0, max(14.0, 1.7 * _SIDE / max(shape[:2])))  # about as wide as the ink of small images
        _pad(
            key=key, data={"text": button, "paper": paper, "ink": ink, "side": _SIDE, "pen": pen},
            on_drawn_change=partial(_add_sent, key), width="content",
        )  # fmt: skip
        if text := st.session_state.pop("drawing_error", None):
            st.error(words.plain(text), icon=":material/error:")
    with right:
        return _show(drawings, shape)


def _add_sent(key: str) -> None:
    """Add what the canvas has sent under the chosen class."""
    label = st.session_state[f"{key}_class"]
    try:
        add(st.session_state[key].drawn, None if label == PREDICT else label)
    except MetascoutError as error:
        st.session_state["drawing_error"] = str(error)


def add(url: Any, label: str | None) -> None:
    """Add a drawing, sent as a data URL, to the session. Raises InputError for anything else."""
    drawings: list[Drawing] = st.session_state.setdefault("drawings", [])
    if len(drawings) >= MAX_DRAWINGS:
        raise InputError(f"{MAX_DRAWINGS} drawings is the maximum.", remedy="Delete some, or upload images.")
    name = folders.plain_label(label or "") if label is not None else None
    if name == "":
        raise InputError("The class has no name.", remedy="Type one first.")
    drawings.append(Drawing(uuid.uuid4().hex, content(url), name))


def content(url: Any) -> bytes:
    """Return the PNG file in a data URL. Raises InputError if it is not one, or too large."""
    if not isinstance(url, str) or not url.startswith(_PREFIX) or len(url) > 4 * MAX_BYTES // 3:
        raise InputError("The drawing did not arrive as an image.", remedy=AGAIN)
    try:
        png = base64.b64decode(url.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise InputError("The drawing did not arrive completely.", remedy=AGAIN) from None
    image = folders.open_image(png)
    if image is None or max(image.size) > MAX_SIDE:
        raise InputError(f"The drawing is not an image of at most {MAX_SIDE} pixels a side.", remedy=AGAIN)
    return png


def _show(drawings: Sequence[Drawing], shape: Shape) -> list[Picture]:
    """Draw the drawings by class, each with its button to delete it; returns them as images."""
    if not drawings:
        st.caption("Draw at least one example of each class, then some to predict. They appear here.")
        return []
    pictures = [
        examples.read_picture(one.content, f"drawing {number}", one.label, shape)
        for number, one in enumerate(drawings, 1)
    ]
    for label in dict.fromkeys(one.label for one in drawings):
        st.markdown(f"**{words.plain(label) if label is not None else PREDICT}**")
        with st.container(horizontal=True, gap="small"):
            for one, picture in zip(drawings, pictures, strict=True):
                if one.label == label:
                    with st.container(width=72, gap=None, horizontal_alignment="center"):
                        gallery.plain([picture.values])
                        st.button(
                            "", icon=":material/delete:", key=f"delete_{one.key}", type="tertiary", on_click=_delete,
                            args=(one.key,), help="Delete this drawing",
                        )  # fmt: skip
    st.button("Delete all", icon=":material/delete_sweep:", key="delete_drawings", on_click=_delete_all)
    return pictures


def _delete(key: str) -> None:
    st.session_state["drawings"] = [one for one in st.session_state["drawings"] if one.key != key]


def _delete_all() -> None:
    st.session_state["drawings"] = []
