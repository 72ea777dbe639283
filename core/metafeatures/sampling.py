"""Sampling: some train rows of a dataset as numbers, categories and words."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from core.datasets import Dataset
from core.datasets.columns import Column
from core.scoring import Array

ROWS, COLUMNS, BUCKETS = 2_000, 100, 64
_SEED = 1
_PLACES = 8  # of the file, from which rows are read
_READ_CELLS, _READ_BYTES = 1_000_000, 48 * 2**20
_BATCH_ROWS, _BUFFER_BYTES = 512, 2**20
_PIXEL_GRID = 8
_TEXT_CHARACTERS, _TEXT_WORDS = 5_000, 200
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class RowSample:
    """At most 2,000 train rows and 100 features of a dataset.

    `numbers` [rows, ...] float, NaN where missing: numeric and datetime columns; for texts alone the share of their
    words in each of 64 buckets; for images the grey values of an 8 x 8 grid. `codes` [rows, ...] are categories, -1
    where missing. `target` holds class codes, or numbers. `words` are the words of each text, `pixels` float
    [rows, H, W, C] from 0 to 1 or None.
    """

    n_tabular: int  # this many columns of `numbers`, the first, are columns of the table
    numbers: Array
    codes: Array
    target: Array
    words: tuple[tuple[str, ...], ...]
    pixels: Array | None


def draw(dataset: Dataset) -> RowSample:
    """Return the sample of a dataset: the same one each time."""
    random = np.random.default_rng(_SEED)
    columns = _columns(dataset, random)
    keys = [column.key for column in (*columns, dataset.target_column)]
    table = _read(dataset, keys, random)
    rows = np.sort(random.permutation(table.num_rows)[:ROWS])
    frame = table.take(pa.array(rows)).to_pandas()
    return _sample(dataset, columns, frame)


def _columns(dataset: Dataset, random: np.random.Generator) -> tuple[Column, ...]:
    features = dataset.features
    return tuple(features[place] for place in np.sort(random.permutation(len(features))[:COLUMNS]))


def _read(dataset: Dataset, keys: Sequence[str], random: np.random.Generator) -> pa.Table:
    """Return train rows from evenly spaced places of the file, which may be sorted."""
    # Read in pieces: a row group of texts or pixels may not fit into memory.
    with pq.ParquetFile(dataset.table, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
        groups, limit = file.num_row_groups, max(2 * ROWS, _READ_CELLS // len(keys))
        n_places = min(groups, _PLACES)
        order = np.linspace(0, groups - 1, n_places).round().astype(int).tolist()
        rest = sorted(set(range(groups)) - set(order), key=lambda group: (group * 7919) % groups)
        pieces: list[pa.Table] = []
        n_rows = 0
        for group in (*order, *rest):
            if n_rows >= limit:
                break
            piece = pa.concat_tables(_train(file, group, keys, -(-limit // n_places), _READ_BYTES // n_places))
            pieces.append(piece)
            n_rows += piece.num_rows
    return pa.concat_tables(pieces)


def _train(file: pq.ParquetFile, group: int, keys: Sequence[str], n_rows: int, n_bytes: int) -> Iterator[pa.Table]:
    for batch in file.iter_batches(_BATCH_ROWS, [group], columns=[*keys, "split"], use_threads=False):
        table = pa.Table.from_batches([batch])
        table = table.filter(pa.compute.equal(table["split"], "train")).select(list(keys))
        yield table
        n_rows, n_bytes = n_rows - table.num_rows, n_bytes - table.nbytes
        if n_rows <= 0 or n_bytes <= 0:
            return


def _sample(dataset: Dataset, columns: tuple[Column, ...], frame: pd.DataFrame) -> RowSample:
    n = len(frame)
    plain = [_number(frame[c.key], c) for c in columns if c.type in ("numeric", "datetime")]
    codes = [pd.factorize(frame[c.key])[0] for c in columns if c.type == "categorical"]
    words = _words(frame, [c.key for c in columns if c.type == "text"])
    pixels = next((_pixels(frame[c.key], c) for c in columns if c.shape), None)
    general = [_buckets(words)] if dataset.modality == "text" else [_grid(pixels)] if pixels is not None else []
    target = frame[dataset.target_column.key]
    return RowSample(
        len(plain),
        np.concatenate([np.reshape(plain, (len(plain), n)).T, *general], axis=1),
        np.reshape(codes, (len(codes), n)).T.astype(int),
        target.to_numpy(float) if dataset.task == "regression" else _codes(target, dataset),
        words,
        pixels,
    )


def _codes(target: pd.Series, dataset: Dataset) -> Array:
    return pd.Categorical(target, categories=list(dataset.labels)).codes.astype(int)


def _number(values: pd.Series, column: Column) -> Array:
    if column.type == "datetime":
        values = values.astype("datetime64[us]").astype("int64").where(values.notna()) / 1e6
    numbers = values.to_numpy(float, copy=True)
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers


def _words(frame: pd.DataFrame, keys: list[str]) -> tuple[tuple[str, ...], ...]:
    if not keys:
        return ()
    rows = frame[keys].itertuples(index=False)
    texts = (" ".join(value[:_TEXT_CHARACTERS] for value in row if isinstance(value, str)) for row in rows)
    return tuple(tuple(_WORD.findall(text.lower())) for text in texts)


def _buckets(words: tuple[tuple[str, ...], ...]) -> Array:
    result = np.zeros((len(words), BUCKETS))
    for place, row in enumerate(words):
        for word in row[:_TEXT_WORDS]:
            result[place, zlib.crc32(word.encode()) % BUCKETS] += 1  # not hash(), which differs between processes
    return result / np.maximum(1, result.sum(axis=1, keepdims=True))


def _pixels(values: pd.Series, column: Column) -> Array:
    raw = np.frombuffer(b"".join(values), np.uint8)
    return raw.reshape(len(values), *column.shape).astype(np.float32) / 255  # type: ignore[misc]


def _grid(pixels: Array) -> Array:
    """Return mean grey values of a grid over each image."""
    grey = pixels.mean(axis=3)
    rows, columns = (np.linspace(0, side, _PIXEL_GRID + 1).astype(int) for side in grey.shape[1:])
    cells = [
        grey[:, a : max(b, a + 1), c : max(d, c + 1)].mean(axis=(1, 2))
        for a, b in pairwise(rows)
        for c, d in pairwise(columns)
    ]
    return np.stack(cells, axis=1).astype(float)
