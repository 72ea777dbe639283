"""Image sets: whether staged images can teach a classifier, and the Parquet in which each has its split."""

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
from core.datasets.files.findings import Finding
from core.datasets.images import conversion
from core.datasets.images.conversion import Staged
from core.errors import InputError
from core.scoring import Task

MAX_CLASSES = 5_000  # few-shot learning has many
_RULES = 1  # raise it when converting or splitting changes, so that old and new sets are told apart
_CUT = ("", "train")  # the parts out of which other splits are cut


@dataclass(frozen=True, slots=True)
class Verdict:
    """What staged images are good for. `counts`: images of each class that is kept, by its name."""

    task: Task
    counts: dict[str, int]
    n_different: int
    findings: tuple[Finding, ...]


def judge(staged: Staged, drop_rare_classes: bool = False) -> Verdict:
    """The task that the classes make, with all findings.

    Raises InputError with the value and the remedy where no model could be trained and scored.
    """
    keys, name = _keys(staged), staged.label_name
    different = keys[keys["part"].isin(_CUT)].drop_duplicates(["c1", "unit"])["c1"].value_counts()
    found = {label: int(different.get(label, 0)) for label in sorted(keys["c1"].unique())}
    if len(found) == 1:
        raise InputError(f"All images are of one class, {next(iter(found))!r}. Add the images of another class.")
    if len(found) > MAX_CLASSES:
        told = f"{name!r} has {len(found):,} classes; at most {MAX_CLASSES:,} are allowed"
        raise InputError(f"{told}. Leave some classes out.")
    kept, dropped = target.classes(found, name, drop_rare_classes, unit="different images to train on")
    rows = keys[keys["c1"].isin(kept)]
    counts = {str(label): int(n) for label, n in rows["c1"].value_counts().sort_index().items()}
    if len(rows) < MIN_ROWS:
        raise InputError(f"{len(rows)} images have a usable class; at least {MIN_ROWS} are needed. Add images.")
    findings = [*staged.findings, *_findings(keys, rows, dropped)]
    findings += target.balance(counts, len(rows), name, unit="images")
    task: Task = "binary" if len(counts) == 2 else "multiclass"
    return Verdict(task, counts, rows["unit"].nunique(), tuple(findings))


def fingerprint(staged: Staged, seed: int, drop_rare_classes: bool, inner_folders: bool = False) -> str:
    """What tells a set from every other one: the content of its file, and the choices."""
    choices: dict[str, Any] = {"rules": _RULES, "images": staged.sha256, "shape": staged.shape, "seed": seed}
    choices |= {"drop_rare_classes": drop_rare_classes}
    if inner_folders:  # without it the fingerprints are what they were before there was a choice
        choices["inner_folders"] = True
    return hashlib.sha256(json.dumps(choices, sort_keys=True).encode()).hexdigest()


def columns(staged: Staged, verdict: Verdict) -> tuple[Column, ...]:
    """The two columns of a set: c0, the image, and c1, its class."""
    name = "image" if staged.label_name != "image" else "pixels"
    counts = tuple(sorted(verdict.counts.values(), reverse=True)[:16])
    examples = tuple(label[:80] for label in list(verdict.counts)[:3])
    return (
        Column(name, "c0", "image", 0.0, verdict.n_different, (), (), staged.shape),
        Column(staged.label_name, "c1", "categorical", 0.0, len(verdict.counts), counts, examples),
    )


def write(staged: Staged, verdict: Verdict, seed: int, work: Path) -> None:
    """Write table.parquet into the folder `work`: the images of the kept classes with their split.

    60% train, 20% valid, 20% test within each class, equal images of a class together. A test part of the file's own
    stays as it is; without a valid part a fifth of train becomes valid.
    """
    keys = _keys(staged)
    chosen = pa.array(_split(keys[keys["c1"].isin(verdict.counts)], seed, work).reindex(keys.index), pa.string())
    schema = pa.schema([("c0", pa.binary()), ("c1", pa.string()), ("split", pa.string()), ("row", pa.int64())])
    start = 0
    with pq.ParquetWriter(work / "table.parquet", schema, compression="zstd", use_dictionary=["c1", "split"]) as writer:
        for group in conversion.groups(staged.parquet):
            split = chosen.slice(start, group.num_rows)
            group = group.append_column("split", split).filter(pc.is_valid(split))
            writer.write_table(group.select(schema.names))
            start += len(split)


def _keys(staged: Staged) -> pd.DataFrame:
    if not staged.parquet.exists():
        raise InputError("The converted images have been cleared away. Choose the file again.")
    return pq.read_table(staged.parquet, columns=["c1", "part", "unit"]).to_pandas()


def _findings(keys: pd.DataFrame, rows: pd.DataFrame, dropped: tuple[str, ...]) -> list[Finding]:
    found = []
    if dropped:
        told = f"{len(keys) - len(rows):,} images of {len(dropped)} rare classes ({', '.join(dropped[:5])})"
        found.append(Finding("rare_classes", f"{told} are dropped."))
    for part in ("valid", "test"):
        if (rows["part"] == part).any():
            bare = sorted(set(rows["c1"]) - set(rows["c1"][rows["part"] == part]))
            if bare:
                text = f"{len(bare)} classes have no {part} image and are not judged there: {', '.join(bare[:5])}."
                found.append(Finding("no_test", text))
    return found


def _split(rows: pd.DataFrame, seed: int, work: Path) -> pd.Series:
    """The split of each image: equal images of a class count once, so that their copies follow."""
    given = not (rows["part"] == "").any()
    units = rows[rows["part"].isin(_CUT)].drop_duplicates(["c1", "unit"])[["c1", "unit"]].reset_index(drop=True)
    units.to_parquet(work / "units.parquet")
    with scratch.connect() as connection:
        splits.make(connection, work / "units.parquet", ["unit"], "c1", regression=False, seed=seed)
        units["split"] = [split for (split,) in connection.execute("SELECT split FROM splits").fetchall()]
    (work / "units.parquet").unlink()
    if given:
        uncut = ["valid", "test"] if (rows["part"] == "valid").any() else ["test"]
        units.loc[units["split"].isin(uncut), "split"] = "train"
    cut = rows.merge(units, on=["c1", "unit"], how="left")["split"].set_axis(rows.index)
    return rows["part"].where(~rows["part"].isin(_CUT), cut)
