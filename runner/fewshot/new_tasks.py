"""The task of a fine-tuning: a few examples of new classes (or of one group) to learn, and further ones to predict."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from core import datasets
from core.datasets import Dataset
from core.datasets.images import conversion, examples
from core.datasets.images.examples import UNKNOWN
from core.errors import InputError
from core.specs import FineTuneSpec


@dataclass(frozen=True, slots=True)
class Task:
    """Raw examples, the support's first.

    `raw` are images uint8 [n, height, width, channels], texts, or a frame with the columns' names; `codes` the classes'
    numbers (UNKNOWN where it is to be found), of "waves" the target's numbers; `rows` the numbers in the file, `names`
    what people call them. The last `n_unknown` have no answer to be judged by.
    """

    kind: str
    labels: tuple[str, ...]
    raw: Any
    codes: np.ndarray
    n_support: int
    rows: tuple[int, ...]
    names: tuple[str, ...]
    n_unknown: int = 0

    def support(self) -> Any:
        """The raw examples to learn from."""
        return self.raw[: self.n_support]

    def support_labels(self) -> list[str]:
        """The class of each of them."""
        return [self.labels[code] for code in self.codes[: self.n_support]]


def of_spec(spec: FineTuneSpec, dataset: Dataset) -> Task:
    """The examples that are asked for. Raises InputError where they make no task, with the remedy."""
    if spec.examples is not None:
        return _of_examples(spec)
    if dataset.task == "regression":
        return _of_group(spec, dataset)
    if len(spec.classes) < 2:
        raise InputError(f"classes: {spec.classes[0]!r} alone tells nothing apart; choose 2 or more.")
    return _of_images(spec, dataset) if dataset.modality == "image" else _of_rows(spec, dataset)


def drawn(spec: FineTuneSpec, labels: Sequence[Any]) -> tuple[list[int], list[int], list[int]]:
    """Places of the support rows (by shot, then by class), of the query rows, and the codes of both in that order.

    `labels` are those of all rows. Raises InputError for a class that has too few.
    """
    series = pd.Series(np.asarray(labels, dtype=object))
    places = {name: series.index[series == name].to_list() for name in spec.classes}
    for name, found in places.items():
        if len(found) < spec.shots + 1:
            raise InputError(
                f"classes: {name!r} has {len(found)} examples; {spec.shots} to learn from and one to judge by make "
                f"{spec.shots + 1}. " + _remedy(name, len(found))
            )
    chosen = {
        name: random.Random(f"{spec.seed} {name}").sample(found, min(len(found), spec.shots + spec.queries))
        for name, found in places.items()
    }
    codes = {name: code for code, name in enumerate(spec.classes)}
    support = [(found[shot], codes[name]) for shot in range(spec.shots) for name, found in chosen.items()]
    query = [(place, codes[name]) for name, found in chosen.items() for place in found[spec.shots :]]
    return [place for place, _ in support], [place for place, _ in query], [code for _, code in support + query]


def _remedy(name: str, n: int) -> str:
    return f"Choose at most {n - 1} shots, or another class." if n > 1 else "Choose another class."


def _of_images(spec: FineTuneSpec, dataset: Dataset) -> Task:
    shape = next(column.shape for column in dataset.columns if column.shape)
    keys = pq.read_table(dataset.table, columns=["c1", "row"]).to_pandas()
    support, query, codes = drawn(spec, keys["c1"])
    places = support + query
    rows = tuple(int(row) for row in keys["row"].to_numpy()[places])
    raw = conversion.take(dataset.table, shape, places)
    return Task("image", spec.classes, raw, np.array(codes), len(support), rows, ("",) * len(rows))


def _of_rows(spec: FineTuneSpec, dataset: Dataset) -> Task:
    table = datasets.load(dataset)
    support, query, codes = drawn(spec, table[dataset.target_column.key])
    table = table.iloc[support + query]
    rows = tuple(int(row) for row in table.index)
    if dataset.modality == "text":
        keys = [column.key for column in dataset.features]
        raw: Any = [" ".join(v for v in row if isinstance(v, str)) for row in table[keys].itertuples(index=False)]
    else:
        raw = named(dataset, table)
    return Task(dataset.modality, spec.classes, raw, np.array(codes), len(support), rows, ("",) * len(rows))


def _of_group(spec: FineTuneSpec, dataset: Dataset) -> Task:
    """All rows: which column makes the groups only an initialisation says; see `of_group`."""
    if len(spec.classes) != 1:
        raise InputError(f"classes: {len(spec.classes)} are chosen; for regression choose one group.")
    table = datasets.load(dataset)
    table = table[table[dataset.target_column.key].notna()]
    rows, numbers = tuple(int(row) for row in table.index), table[dataset.target_column.key].to_numpy(float)
    return Task("waves", spec.classes, named(dataset, table), numbers, 0, rows, ("",) * len(rows))


def of_group(task: Task, spec: FineTuneSpec, column: str) -> Task:
    """The rows of the one group as a task. Raises InputError where it has too few."""
    texts = task.raw[column].astype(str)
    [name] = spec.classes
    found = [place for place, text in enumerate(texts) if text in (name, f"{name}.0")]
    if len(found) < spec.shots + 1:
        raise InputError(
            f"classes: the group {column} = {name!r} has {len(found)} rows; {spec.shots} to learn from and one to "
            f"judge by make {spec.shots + 1}. " + _remedy(name, len(found))
        )
    places = random.Random(f"{spec.seed} {name}").sample(found, min(len(found), spec.shots + spec.queries))
    return Task(
        task.kind, task.labels, task.raw.iloc[places], task.codes[places], spec.shots,
        tuple(task.rows[place] for place in places), ("",) * len(places),
    )  # fmt: skip


def _of_examples(spec: FineTuneSpec) -> Task:
    """Uploaded or drawn images: of each class the first ones are learned, the others judged, the unknown predicted."""
    kept = examples.load(spec.examples or "")
    if len(kept.labels) < 2:
        raise InputError("examples: one class alone tells nothing apart; give examples of 2 or more.")
    places = [np.flatnonzero(kept.codes == code).tolist() for code in range(len(kept.labels))]
    if empty := [label for label, found in zip(kept.labels, places, strict=True) if not found]:
        raise InputError(f"examples: {empty[0]!r} has no image to learn from; give at least one.")
    support = [found[shot] for shot in range(spec.shots) for found in places if shot < len(found)]
    unknown = np.flatnonzero(kept.codes == UNKNOWN).tolist()
    order = support + [place for found in places for place in found[spec.shots :]] + unknown
    names = tuple(kept.names[place] for place in order)
    return Task(
        "image", kept.labels, kept.images[order], kept.codes[order], len(support), tuple(order), names, len(unknown)
    )


def named(dataset: Dataset, table: pd.DataFrame) -> pd.DataFrame:
    """The features under their names in the user's files."""
    return table.rename(columns={column.key: column.name for column in dataset.features})
