"""Small made-up datasets for few-shot jobs, and data directories that hold one of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import datasets
from core.datasets import Dataset

Maker = Callable[[Path], Dataset]
_homes: dict[Maker, Path] = {}


def copy_of(maker: Maker, home: Path, folder: pytest.TempPathFactory) -> Dataset:
    """Copy a data directory with the maker's dataset to `home`; the dataset is registered once a session."""
    if maker not in _homes:
        own = folder.mktemp(maker.__name__)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("METASCOUT_HOME", str(own / "home"))
            patch.delenv("METASCOUT_STORE", raising=False)
            maker(own)
        _homes[maker] = own / "home"
    shutil.copytree(_homes[maker], home, dirs_exist_ok=True)
    [dataset] = datasets.all_datasets()
    return dataset


def register_signs(path: Path, n_classes: int = 18, each: int = 12, names: list[str] | None = None) -> Dataset:
    """Images of noise over a pattern that those of a class share."""
    rng = np.random.default_rng(0)
    patterns = rng.random((n_classes, 1, 12, 12))
    images = (255 * (0.7 * patterns + 0.3 * rng.random((n_classes, each, 12, 12)))).astype(np.uint8)
    names = names or [f"sign {c:02}" for c in range(n_classes)]
    np.savez(path, x=images.reshape(-1, 12, 12), y=np.repeat(names, each))
    return datasets.register_images(path, name=path.stem)


def signs(folder: Path) -> Dataset:
    """18 classes of 12 small images."""
    return register_signs(folder / "signs.npz")


def things(folder: Path) -> Dataset:
    """A table of 12 kinds of things that differ by two numbers and a colour, 20 rows each."""
    rng = np.random.default_rng(0)
    centres, colours = rng.normal(0, 9, (12, 2)), rng.choice(["red", "green", "blue"], 12)
    lines = ["size,weight,colour,kind"]
    for kind in range(12):
        for a, b in centres[kind] + rng.normal(0, 1, (20, 2)):
            lines.append(f"{100 + a:.3f},{b:.3f},{colours[kind]},kind {kind:02}")
    path = folder / "things.csv"
    path.write_text("\n".join(lines) + "\n")
    return datasets.register(path, name="things", target="kind")


def topics(folder: Path) -> Dataset:
    """Texts of 15 topics, each with a word of its own, and its favourites among words that all share."""
    rng = np.random.default_rng(0)
    lines, shared = ["text,topic"], [f"shared{n}" for n in range(16)]
    for topic in range(15):
        favourites = rng.choice(shared, 4, replace=False)
        for number in range(12):
            words = [*rng.choice(favourites, 6), f"own{topic}", "the", f"n{number}x{topic}"]
            lines.append(f"{' '.join(rng.permutation(words))},t{topic}")
    path = folder / "topics.csv"
    path.write_text("\n".join(lines) + "\n")
    return datasets.register(path, name="topics", target="topic", types={"text": "text"})


def sine_waves(folder: Path) -> Dataset:
    """The built-in sample: 500 sine waves of 20 points."""
    return datasets.add_sample("sine_waves")


def photos(folder: Path) -> Dataset:
    """18 classes of 10 small images, each class of two colours in a pattern of its own."""
    images = np.concatenate([photo(number, 10) for number in range(18)])
    np.savez(folder / "photos.npz", images=images, labels=np.repeat([f"kind {n:02}" for n in range(18)], 10))
    return datasets.register_images(folder / "photos.npz", name="photos")


def photo(number: int, n: int, side: int = 16) -> np.ndarray:
    """Noisy images of one class of photos, uint8 [n, side, side, 3]."""
    rng = np.random.default_rng(number)
    one, other = rng.integers(0, 256, (2, 3))
    mask = rng.random((4, 4)).repeat(side // 4, 0).repeat(side // 4, 1)[..., None]
    base = mask * one + (1 - mask) * other
    return np.clip(base + rng.normal(0, 30, (n, side, side, 3)), 0, 255).astype(np.uint8)


def register_kinds(path: Path, columns: tuple[str, str]) -> Dataset:
    """A table of 9 well separated kinds by two numbers, 20 rows each."""
    rng = np.random.default_rng(0)
    kinds = np.repeat(np.arange(9), 20)
    rows = np.column_stack([kinds % 3, kinds // 3]) * 4 + rng.normal(0, 0.3, (180, 2))
    frame = pd.DataFrame(rows, columns=list(columns)).assign(kind=[f"kind {k}" for k in kinds])
    frame.to_csv(path, index=False)
    return datasets.register(path, name=path.stem, target="kind")
