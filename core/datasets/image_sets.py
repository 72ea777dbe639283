"""Image sets: whether staged images can train a classifier, and the Parquet in which each image has its split."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.datasets import splits, target
from core.datasets.columns import MIN_ROWS, Column
from core.datasets.files import scratch
from core.datasets.files.findings import Finding, plural
from core.datasets.images import image_table
from core.datasets.images.conversion import StagedImages
from core.errors import InputError
from core.scoring import Task

MAX_CLASSES = 5_000  # few-shot learning has many
_RULES = 1  # raise it when converting or splitting changes, so that old and new sets get different fingerprints
_CUT = ("", "train")  # the parts from which the other splits are cut


@dataclass(frozen=True, slots=True)
class ImageClasses:
    """The classes of staged images. `counts`: images of each class that is used, by its name."""

    task: Task
    counts: dict[str, int]
    n_different: int
    findings: tuple[Finding, ...]


def analyse(images: StagedImages, drop_rare_classes: bool = False) -> ImageClasses:
    """Return the classes with their task and all findings.

    Raises InputError with the value and the remedy where no model could be trained and scored.
    """
    keys, name = _keys(images), images.label_name
    different = keys[keys["part"].isin(_CUT)].drop_duplicates(["c1", "unit"])["c1"].value_counts()
    n_different = {label: int(different.get(label, 0)) for label in sorted(keys["c1"].unique())}
    if len(n_different) == 1:
        text = f"All images are of one class, {next(iter(n_different))!r}."
        raise InputError(text, remedy="Add images of another class.")
    if len(n_different) > MAX_CLASSES:
        text = f"{name!r} has {len(n_different):,} classes; at most {MAX_CLASSES:,} are allowed."
        raise InputError(text, remedy="Remove some classes.")
    large, rare = target.split_rare(n_different, name, drop_rare_classes, unit="different images to train on")
    rows = keys[keys["c1"].isin(large)]
    counts = {str(label): int(n) for label, n in rows["c1"].value_counts().sort_index().items()}
    if len(rows) < MIN_ROWS:
        text = f"{len(rows)} images have a usable class; at least {MIN_ROWS} are needed."
        raise InputError(text, remedy="Add images.")
    findings = [*images.findings, *_findings(keys, rows, rare)]
    findings += target.size_findings(counts, len(rows), name, unit="images")
    task: Task = "binary" if len(counts) == 2 else "multiclass"
    return ImageClasses(task, counts, rows["unit"].nunique(), tuple(findings))


def fingerprint(images: StagedImages, seed: int, drop_rare_classes: bool, inner_folders: bool = False) -> str:
    """Return the hash of the file's content and of every choice that changes the stored set."""
    choices: dict[str, Any] = {"rules": _RULES, "images": images.sha256, "shape": images.shape, "seed": seed}
    choices |= {"drop_rare_classes": drop_rare_classes}
    if inner_folders:  # left out otherwise, which is how older sets were fingerprinted
        choices["inner_folders"] = True
    return hashlib.sha256(json.dumps(choices, sort_keys=True).encode()).hexdigest()


def columns(images: StagedImages, classes: ImageClasses) -> tuple[Column, ...]:
    """Return the two columns of a set: c0, the image, and c1, its class."""
    name = "image" if images.label_name != "image" else "pixels"
    counts = tuple(sorted(classes.counts.values(), reverse=True)[:16])
    examples = tuple(label[:80] for label in list(classes.counts)[:3])
    return (
        Column(name, "c0", "image", 0.0, classes.n_different, (), (), images.shape),
        Column(images.label_name, "c1", "categorical", 0.0, len(classes.counts), counts, examples),
    )


def write(images: StagedImages, classes: ImageClasses, seed: int, work: Path) -> None:
    """Write table.parquet into the folder `work`: the images of the used classes with their split.

    60% train, 20% valid, 20% test within each class, equal images of a class together. The file's own test part
    stays as it is; without a valid part a fifth of train becomes valid.
    """
    keys = _keys(images)
    split_column = pa.array(_split(keys[keys["c1"].isin(classes.counts)], seed, work).reindex(keys.index), pa.string())
    schema = pa.schema([("c0", pa.binary()), ("c1", pa.string()), ("split", pa.string()), ("row", pa.int64())])
    start = 0
    with pq.ParquetWriter(work / "table.parquet", schema, compression="zstd", use_dictionary=["c1", "split"]) as writer:
        for group in image_table.groups(images.parquet):
            split = split_column.slice(start, group.num_rows)
            group = group.append_column("split", split).filter(pc.is_valid(split))
            writer.write_table(group.select(schema.names))
            start += len(split)


def _keys(images: StagedImages) -> pd.DataFrame:
    if not images.parquet.exists():
        raise InputError("The converted images have been deleted.", remedy="Choose the file again.")
    return pq.read_table(images.parquet, columns=["c1", "part", "unit"]).to_pandas()


def _findings(keys: pd.DataFrame, rows: pd.DataFrame, rare: tuple[str, ...]) -> list[Finding]:
    findings = []
    if rare:
        n, classes = len(keys) - len(rows), plural(len(rare), "rare class", "rare classes")
        text = f"{plural(n, 'image', 'images')} of {classes}: {', '.join(rare[:5])}. Dropped."
        findings.append(Finding("rare_classes", text))
    for part in ("valid", "test"):
        if (rows["part"] == part).any():
            missing = sorted(set(rows["c1"]) - set(rows["c1"][rows["part"] == part]))
            if missing:
                classes = plural(len(missing), f"class has no {part} image", f"classes have no {part} image")
                text = f"{classes}: {', '.join(missing[:5])}. Not covered by the {part} score."
                findings.append(Finding("no_test", text))
    return findings


def _split(rows: pd.DataFrame, seed: int, work: Path) -> pd.Series:
    """Return the split of each image; equal images of a class count once and go together."""
    has_parts = not (rows["part"] == "").any()
    units = rows[rows["part"].isin(_CUT)].drop_duplicates(["c1", "unit"])[["c1", "unit"]].reset_index(drop=True)
    units.to_parquet(work / "units.parquet")
    with scratch.connect() as connection:
        splits.make(connection, work / "units.parquet", ["unit"], "c1", regression=False, seed=seed)
        units["split"] = [split for (split,) in connection.execute("SELECT split FROM splits").fetchall()]
    (work / "units.parquet").unlink()
    if has_parts:
        uncut = ["valid", "test"] if (rows["part"] == "valid").any() else ["test"]
        units.loc[units["split"].isin(uncut), "split"] = "train"
    cut = rows.merge(units, on=["c1", "unit"], how="left")["split"].set_axis(rows.index)
    return rows["part"].where(~rows["part"].isin(_CUT), cut)
