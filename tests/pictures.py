"""Small pictures and files of them, for the tests of images."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from core.datasets import Dataset

Files = dict[str, bytes]
Zipped = Callable[..., Path]


def pixels(number: int, height: int = 8, width: int = 8, channels: int = 3) -> np.ndarray:
    """The pixels of the image of that number, unlike any other's."""
    return np.random.default_rng(number).integers(0, 256, (height, width, channels), np.uint8)


def encoded(values: np.ndarray | Image.Image, kind: str = "PNG", **options: object) -> bytes:
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def folders(n: int = 12, labels: tuple[str, ...] = ("cat", "dog"), **size: int) -> Files:
    """n PNG images a class, each unlike the others."""
    return {
        f"{label}/{i}.png": encoded(pixels(100 * k + i, **size)) for k, label in enumerate(labels) for i in range(n)
    }


@pytest.fixture
def zipped(home: Path, tmp_path: Path) -> Zipped:
    def pack(files: Files, name: str = "set.zip", method: int = zipfile.ZIP_STORED) -> Path:
        with zipfile.ZipFile(tmp_path / name, "w", method) as archive:
            for entry, content in files.items():
                archive.writestr(entry, content)
        return tmp_path / name

    return pack


def finding_text(dataset: Dataset, kind: str) -> str:
    """The text of the only finding of a kind."""
    [text] = [finding.text for finding in dataset.findings if finding.kind == kind]
    return text


def kinds(dataset: Dataset) -> set[str]:
    return {finding.kind for finding in dataset.findings} - {"few_rows"}


def all_rows(dataset: Dataset) -> pd.DataFrame:
    return pd.read_parquet(dataset.table)


def stored_pixels(dataset: Dataset, row: int) -> np.ndarray:
    """The stored pixels of the image of that row."""
    frame = all_rows(dataset).set_index("row")
    return np.frombuffer(frame.loc[row, "c0"], np.uint8).reshape(dataset.features[0].shape)
