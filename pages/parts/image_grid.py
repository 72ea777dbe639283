"""A set of images, for the pages that add and show a dataset: examples of each class, and how many there are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from core.datasets.images import image_table
from core.datasets.images.pixels import Shape
from pages import words

CLASSES, EACH = 24, 6
_THUMB, _GAP = 48, 4  # pixels


@st.cache_data(ttl=3600, max_entries=32, show_spinner="Choosing examples")
def examples(parquet: Path, shape: Shape, labels: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return some images of each class; a staged or registered set never changes."""
    return image_table.examples(parquet, shape, labels, EACH)


def grid(parquet: Path, shape: Shape, counts: Mapping[str, int]) -> None:
    """Draw a card for each of the most common classes with some of its images; `counts` are images by class."""
    labels = sorted(counts, key=lambda label: (-counts[label], label))[:CLASSES]
    images = examples(parquet, shape, tuple(labels))
    if len(counts) > len(labels):
        st.caption(f"The {len(labels)} most common of {len(counts):,} classes")
    with st.grid(3, min_column_width=300):
        for label in labels:
            with st.container(border=True, gap="small"):
                st.markdown(f"**{words.plain(label)}** :gray[{counts[label]:,} images]")
                st.image(strip(images[label]), output_format="PNG", alt=f"Examples of the class {label}")
    if len(counts) > len(labels):
        with st.expander("All classes", icon=":material/list:"):
            frame = pd.DataFrame({"Class": list(counts), "Images": list(counts.values())})
            st.dataframe(frame, hide_index=True, height=400, alt="Images of each class")


def strip(values: np.ndarray) -> np.ndarray:
    """Return images side by side as RGBA, small ones enlarged in whole pixels, with transparent gaps between them."""
    zoom = max(1, _THUMB // max(values.shape[1:3]))
    step = max(1, max(values.shape[1:3]) // (2 * _THUMB))
    large = values[:, ::step, ::step].repeat(zoom, axis=1).repeat(zoom, axis=2)
    rgb = large.repeat(3, axis=3) if large.shape[3] == 1 else large
    opaque = np.pad(rgb, [(0, 0), (0, 0), (0, 0), (0, 1)], constant_values=255)
    spaced = np.pad(opaque, [(0, 0), (0, 0), (0, _GAP), (0, 0)])
    return np.concatenate(list(spaced), axis=1)


def size(shape: Shape) -> str:
    """Return the size and colours of all images, in words."""
    height, width, channels = shape
    return f"{width} x {height} pixels, {'grey' if channels == 1 else 'RGB'}"
