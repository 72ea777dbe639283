"""Fingerprints: they must never change, or a dataset would be registered a second time under another one."""

from __future__ import annotations

from pathlib import Path

from core import datasets
from core.datasets import image_sets
from core.datasets.images.conversion import StagedImages


def rows() -> str:
    """The text of a CSV file with a split column."""
    lines = ["size,colour,part,target"]
    for row in range(120):
        size, colour, part = row * 37 % 101, ("red", "green", "blue")[row % 3], ("train", "train", "test")[row // 2 % 3]
        lines.append(f"{size / 10},{colour},{part},{'yes' if (size > 50) != (row % 3 == 0) else 'no'}")
    return "\n".join(lines) + "\n"


def test_the_fingerprints_of_tables_are_those_of_the_first_version(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "small.csv"
    path.write_text(rows())
    plain = datasets.register(path, name="plain", target="target")
    assert plain.fingerprint == "9570364d19cd70ef790670393c80fe1c471dabb4a3fd1de4851675e9fcf1b702"
    assert plain.n_rows == {"train": 72, "valid": 24, "test": 24}
    chosen = datasets.register(
        path, name="chosen", target="target", split_column="part", types={"colour": "text"}, seed=3,
        drop_rare_classes=True,
    )  # fmt: skip
    assert chosen.fingerprint == "a212629cb008481da617532487e613ddb00f147fc4d561d6620e7956da941c2b"
    assert chosen.n_rows == {"train": 64, "valid": 16, "test": 40}


def test_the_fingerprints_of_images_are_those_of_the_first_version() -> None:
    images = StagedImages(Path("images.parquet"), "ab" * 32, "label", (8, 8, 3), 24, ())
    plain, inner = image_sets.fingerprint(images, 1, False), image_sets.fingerprint(images, 1, True, True)
    assert plain == "731336d4f7ea74a4339b6f823f7bd457c54e946c1cfa6631630a4ecc7d36a3f4"
    assert inner == "3add5df1bcf03d527c578a591b6cce6d4b7dbd18028ef4f5eac55f2cdc33c92c"
