"""Loading: the rows and images of registered datasets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from core.datasets.files import scratch
from core.datasets.images import image_table
from core.datasets.registry import SPLITS, Dataset, Split
from core.store.database import explain_disk_full


def load(dataset: Dataset, split: Split | None = None) -> pd.DataFrame:
    """Return the rows of one split, or of all, in the file's order: columns are keys (c0, ...), the index is `row`."""
    # Not "= ANY", which DuckDB turns into a join that loses the order.
    query = "SELECT * EXCLUDE split FROM read_parquet(?) WHERE list_contains(?, split)"
    return scratch.query(query, [str(dataset.table), [split] if split else list(SPLITS)]).set_index("row")


def rows(dataset: Dataset, numbers: Sequence[int]) -> pd.DataFrame:
    """Return the rows with these numbers, as `load` does and in its order; numbers without a row are skipped."""
    query = "SELECT * EXCLUDE split FROM read_parquet(?) WHERE list_contains(?, row)"
    return scratch.query(query, [str(dataset.table), [int(number) for number in numbers]]).set_index("row")


def load_images(dataset: Dataset, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Return the images of one split, uint8 [N, H, W, C], and their classes as int64 codes into `labels`.

    Both are in the file's order.
    """
    shape = next(column.shape for column in dataset.columns if column.shape)
    images, labels = image_table.load(dataset.table, shape, split, dataset.n_rows[split])
    return images, pd.Categorical(labels, categories=list(dataset.labels)).codes.astype(np.int64)


def export_csv(dataset: Dataset, split: Split, path: Path) -> int:
    """Write a split as UTF-8 CSV in the file's order, without loading it into memory; return the number of rows.

    The header is the keys, including the target; times are seconds since the epoch; a missing value is an empty field
    without quotes. Raises MetascoutError when the disk is full.
    """
    used = [column for column in dataset.columns if column.type != "ignored"]
    select = ", ".join(f"epoch({c.key}) AS {c.key}" if c.type == "datetime" else c.key for c in used)
    # All texts are quoted: a reader may trim the blanks around a bare value.
    texts = ", ".join(c.key for c in used if c.type in ("categorical", "text"))
    quoted = f", FORCE_QUOTE ({texts})" if texts else ""
    query = f"""COPY (SELECT {select} FROM read_parquet(?) WHERE split = ?)
        TO ? (FORMAT csv, HEADER, DELIMITER ',', QUOTE '"', ESCAPE '"', NULLSTR ''{quoted})"""
    with explain_disk_full(), scratch.connect(len(used)) as connection:
        return connection.execute(query, [str(dataset.table), split, str(path)]).fetchall()[0][0]
