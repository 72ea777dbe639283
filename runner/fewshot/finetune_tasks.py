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
from core.datasets.images import examples, image_table
from core.datasets.images.examples import UNKNOWN
from core.errors import InputError
from core.specs import FineTuneSpec
from runner.fewshot.recipes import name_columns


@dataclass(frozen=True, slots=True)
class FineTuneTask:
    """Raw examples, the support set first.

    `raw` are images uint8 [n, height, width, channels], texts, or a frame with the columns' names. `codes` are class
    numbers (UNKNOWN for a class to predict), or for "waves" the target's values. `rows` are the numbers in the file,
    `names` the user's names of the examples. The last `n_unknown` examples have no label.
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
        """Return the raw examples to learn from."""
        return self.raw[: self.n_support]

    def support_labels(self) -> list[str]:
        """Return the class of each of them."""
        return [self.labels[code] for code in self.codes[: self.n_support]]


def from_spec(spec: FineTuneSpec, dataset: Dataset) -> FineTuneTask:
    """Return the task that a spec asks for. Raises InputError, with the remedy, where the examples make no task."""
    if spec.examples is not None:
        return _from_examples(spec)
    if dataset.task == "regression":
        return _from_groups(spec, dataset)
    if len(spec.classes) < 2:
        text = f"{spec.classes[0]!r} is the only class."
        raise InputError(text, field="classes", value=spec.classes[0], remedy="Choose 2 or more classes.")
    return _from_images(spec, dataset) if dataset.modality == "image" else _from_rows(spec, dataset)


def draw(spec: FineTuneSpec, labels: Sequence[Any]) -> tuple[list[int], list[int], list[int]]:
    """Return the support rows (by shot, then by class), the query rows, and the codes of both in that order.

    `labels` are those of all rows. Raises InputError for a class with too few examples.
    """
    series = pd.Series(np.asarray(labels, dtype=object))
    rows = {name: series.index[series == name].to_list() for name in spec.classes}
    for name, of_class in rows.items():
        if len(of_class) < spec.shots + 1:
            raise _too_few(spec, f"{name!r} has {len(of_class)} examples", name, len(of_class))
    draws = {
        name: random.Random(f"{spec.seed} {name}").sample(of_class, min(len(of_class), spec.shots + spec.queries))
        for name, of_class in rows.items()
    }
    codes = {name: code for code, name in enumerate(spec.classes)}
    support = [(of_class[shot], codes[name]) for shot in range(spec.shots) for name, of_class in draws.items()]
    query = [(row, codes[name]) for name, of_class in draws.items() for row in of_class[spec.shots :]]
    return [row for row, _ in support], [row for row, _ in query], [code for _, code in support + query]


def _too_few(spec: FineTuneSpec, what: str, name: str, n: int) -> InputError:
    return InputError(
        f"{what}; {spec.shots} shots and one query need {spec.shots + 1}.",
        field="classes",
        value=name,
        remedy=f"Choose at most {n - 1} shots, or another class." if n > 1 else "Choose another class.",
    )


def _from_images(spec: FineTuneSpec, dataset: Dataset) -> FineTuneTask:
    shape = next(column.shape for column in dataset.columns if column.shape)
    keys = pq.read_table(dataset.table, columns=["c1", "row"]).to_pandas()
    support, query, codes = draw(spec, keys["c1"])
    places = support + query
    rows = tuple(int(row) for row in keys["row"].to_numpy()[places])
    raw = image_table.take(dataset.table, shape, places)
    return FineTuneTask("image", spec.classes, raw, np.array(codes), len(support), rows, ("",) * len(rows))


def _from_rows(spec: FineTuneSpec, dataset: Dataset) -> FineTuneTask:
    table = datasets.load(dataset)
    support, query, codes = draw(spec, table[dataset.target_column.key])
    table = table.iloc[support + query]
    rows = tuple(int(row) for row in table.index)
    if dataset.modality == "text":
        keys = [column.key for column in dataset.features]
        raw: Any = [" ".join(v for v in row if isinstance(v, str)) for row in table[keys].itertuples(index=False)]
    else:
        raw = name_columns(dataset, table)
    return FineTuneTask(dataset.modality, spec.classes, raw, np.array(codes), len(support), rows, ("",) * len(rows))


def _from_groups(spec: FineTuneSpec, dataset: Dataset) -> FineTuneTask:
    """Return all rows: which column holds the groups depends on the initialisation; see `select_group`."""
    if len(spec.classes) != 1:
        raise InputError(
            f"{len(spec.classes)} groups are chosen, but a regression learns one.",
            field="classes",
            value=spec.classes,
            remedy="Choose one group.",
        )
    table = datasets.load(dataset)
    table = table[table[dataset.target_column.key].notna()]
    rows, numbers = tuple(int(row) for row in table.index), table[dataset.target_column.key].to_numpy(float)
    return FineTuneTask("waves", spec.classes, name_columns(dataset, table), numbers, 0, rows, ("",) * len(rows))


def select_group(task: FineTuneTask, spec: FineTuneSpec, column: str) -> FineTuneTask:
    """Return the task of the chosen group's rows. Raises InputError if it has too few."""
    texts = task.raw[column].astype(str)
    [name] = spec.classes
    of_group = [place for place, text in enumerate(texts) if text in (name, f"{name}.0")]
    if len(of_group) < spec.shots + 1:
        raise _too_few(spec, f"The group {column} = {name!r} has {len(of_group)} rows", name, len(of_group))
    places = random.Random(f"{spec.seed} {name}").sample(of_group, min(len(of_group), spec.shots + spec.queries))
    return FineTuneTask(
        task.kind, task.labels, task.raw.iloc[places], task.codes[places], spec.shots,
        tuple(task.rows[place] for place in places), ("",) * len(places),
    )  # fmt: skip


def _from_examples(spec: FineTuneSpec) -> FineTuneTask:
    """Return the task of uploaded or drawn images: the first of each class are learned, further ones are the query."""
    stored = examples.load(spec.examples or "")
    if len(stored.labels) < 2:
        text = "There is only one class."
        raise InputError(text, field="examples", remedy="Give examples of 2 or more classes.")
    places = [np.flatnonzero(stored.codes == code).tolist() for code in range(len(stored.labels))]
    if empty := [label for label, of_class in zip(stored.labels, places, strict=True) if not of_class]:
        raise InputError(f"{empty[0]!r} has no image to learn from.", field="examples", remedy="Give at least one.")
    support = [of_class[shot] for shot in range(spec.shots) for of_class in places if shot < len(of_class)]
    unknown = np.flatnonzero(stored.codes == UNKNOWN).tolist()
    order = support + [place for of_class in places for place in of_class[spec.shots :]] + unknown
    names = tuple(stored.names[place] for place in order)
    return FineTuneTask(
        "image",
        stored.labels,
        stored.images[order],
        stored.codes[order],
        len(support),
        tuple(order),
        names,
        len(unknown),
    )
