"""Image tables: reads the images of a staged or a registered Parquet, without loading all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.datasets.images.pixels import Shape


def groups(parquet: Path) -> Iterator[pa.Table]:
    """Yield the row groups one by one, each of some megabytes."""
    file = pq.ParquetFile(parquet)
    for group in range(file.num_row_groups):
        yield file.read_row_group(group)


def class_counts(parquet: Path) -> dict[str, int]:
    """Return the number of images of each class, by its name."""
    labels = pq.read_table(parquet, columns=["c1"]).to_pandas()["c1"]
    return {str(label): int(n) for label, n in labels.value_counts().sort_index().items()}


def examples(parquet: Path, shape: Shape, labels: Sequence[str], each: int) -> dict[str, np.ndarray]:
    """Return the first `each` images of the classes in `labels`: uint8 [N, H, W, C] by class."""
    keys = pq.read_table(parquet, columns=["c1"]).to_pandas()["c1"]
    first = keys[keys.isin(list(labels))].groupby(keys).head(each)
    images = take(parquet, shape, first.index.to_list())
    return {label: images[(first == label).to_numpy()] for label in labels}


def take(parquet: Path, shape: Shape, places: Sequence[int]) -> np.ndarray:
    """Return the images at these places of the file, in the order of `places`: uint8 [N, H, W, C].

    Reads only the row groups that hold one of them.
    """
    file = pq.ParquetFile(parquet)
    ordered, contents, start = sorted(set(places)), dict[int, bytes](), 0
    for group in range(file.num_row_groups):
        end = start + file.metadata.row_group(group).num_rows
        here = [place for place in ordered if start <= place < end]
        if here:
            values = file.read_row_group(group, columns=["c0"]).column(0).take(pa.array([p - start for p in here]))
            contents |= zip(here, values.to_pylist(), strict=True)
        start = end
    return _array([contents[place] for place in places], shape).copy()  # writable


def load(parquet: Path, shape: Shape, split: str, n: int) -> tuple[np.ndarray, list[str]]:
    """Return the `n` images of a split of a registered Parquet, uint8 [N, H, W, C], and their classes, in its order."""
    images = np.empty((n, *shape), np.uint8)
    labels: list[str] = []
    for batch in pq.ParquetFile(parquet).iter_batches(batch_size=1024, columns=["c0", "c1", "split"]):
        batch = batch.filter(pc.equal(batch.column("split"), split))
        images[len(labels) : len(labels) + batch.num_rows] = _array(batch.column("c0").to_pylist(), shape)
        labels += batch.column("c1").to_pylist()
    return images, labels


def _array(values: list[bytes], shape: Shape) -> np.ndarray:
    return np.frombuffer(b"".join(values), np.uint8).reshape(-1, *shape)
