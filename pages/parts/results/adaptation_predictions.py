"""The predictions of an adapted model: as a gallery of images, or as a table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core import datasets
from core.datasets import Dataset
from core.datasets.images import examples
from core.errors import MetascoutError
from pages import reads, words
from pages.parts import messages
from pages.parts.fewshot import gallery, sample_episodes

_FEATURES = 4  # of a table's row, beside its prediction


def draw(spec: dict[str, Any], body: dict[str, Any]) -> None:
    """Draw the prediction of each further example, and the examples that were learned from."""
    rows, support = body["predictions"], (body.get("support") or [])[: gallery.MAX_IMAGES]
    st.subheader("Predictions")
    st.caption(summary(rows, body.get("outer")))
    first = sorted(rows, key=gallery.order)[: gallery.MAX_IMAGES]
    try:
        images = _images(spec["examples"], spec["dataset_id"], tuple(row["row"] for row in (*first, *support)))
    except MetascoutError as error:
        messages.show(error)
        images = {}
    if images:
        gallery.draw(rows, images)
        st.caption("Examples learned from")
        gallery.plain([images[row["row"]] for row in support if row["row"] in images])
    else:
        table(spec, first)


def summary(rows: list[dict[str, Any]], outer: str | None) -> str:
    """Return how many predictions are right, in a line."""
    n_unlabelled = sum(row["actual"] is None for row in rows)
    n_right = sum(row["actual"] == row["predicted"] for row in rows)
    parts = [f"{n_right:,} of {len(rows) - n_unlabelled:,} are right"] if len(rows) > n_unlabelled else []
    parts += [f"{n_unlabelled:,} without a label"] if n_unlabelled else []
    parts += [f"classes of {words.plain(outer)}"] if outer else []
    return ", ".join(parts)


@st.cache_data(ttl=3600, max_entries=32, show_spinner=False)
def _images(sha256: str | None, dataset_id: int, rows: tuple[int, ...]) -> dict[int, np.ndarray]:
    """Return the images of these rows of a file of examples or of a dataset; none if it has no images."""
    if sha256:
        images = examples.load(sha256).images
        return {row: images[row] for row in rows if 0 <= row < len(images)}
    dataset = datasets.get(dataset_id)
    shape = sample_episodes.shape_of(dataset)
    if shape is None:
        return {}
    key = next(column.key for column in dataset.features if column.shape)
    values = datasets.rows(dataset, rows)[key]
    return {int(row): np.frombuffer(value, np.uint8).reshape(shape) for row, value in values.items()}


def table(spec: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Draw texts or rows of a table with their predictions."""
    dataset = reads.read(datasets.get, spec["dataset_id"])
    features = _features(dataset, tuple(row["row"] for row in rows))
    frame = pd.DataFrame(
        {
            "": [("❔", "✖", "✔")[gallery.order(row)] for row in rows],
            "Predicted": [str(row["predicted"]) for row in rows],
            "Probability": [gallery.certainty(row) for row in rows],
            "Actual": [words.NONE if row["actual"] is None else str(row["actual"]) for row in rows],
        }
    )
    frame = pd.concat([frame, features.reindex([row["row"] for row in rows]).reset_index(drop=True)], axis=1)
    config = {"Probability": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1)}
    st.dataframe(frame, hide_index=True, column_config=config, height=420, key="predictions", alt="Predictions")


@st.cache_data(ttl=3600, max_entries=32, show_spinner=False)
def _features(dataset: Dataset, rows: tuple[int, ...]) -> pd.DataFrame:
    """Return the first features of these rows under their own names."""
    names = {column.key: column.name for column in dataset.features[:_FEATURES]}
    return datasets.rows(dataset, rows)[list(names)].rename(columns=names)
