"""Set up a meta-training on a registered dataset: the recipe of its inputs, its tasks by split, and the network."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from core import datasets
from core.datasets import SPLITS, Dataset
from core.errors import InputError
from core.specs import FewShotSpec
from core.store import backbones
from runner.fewshot import recipes
from runner.fewshot.class_profiles import ROWS
from runner.fewshot.initialisation_file import NETWORKS
from runner.fewshot.learning.algorithms import ALGORITHMS
from runner.fewshot.learning.episodes import ClassTasks, GroupTasks, Split, TooFewExamples, split_classes
from runner.fewshot.learning.task_networks import MLP, Adapter, Network
from runner.fewshot.recipes import Recipe, name_columns

_MAX_TRAIN_WAYS = 60  # of ProtoNet's tasks
EVALUATION_QUERIES = 15  # of a class, if there are enough
_DEFAULT_NETWORK = {"image": "conv4", "text": "text", "table": "mlp", "waves": "mlp"}
_NETWORKS = {"image": ("conv4", "resnet", "pretrained"), "text": ("text",), "table": ("mlp",), "waves": ("mlp",)}
_CLASSES = {"conv4": "Conv4", "resnet": "ResNet", "text": "TextMean"}


@dataclass(frozen=True)
class TrainingSetup:
    """What a meta-training needs of a dataset.

    `names` are those of the classes (or groups) by their numbers, `warnings` sentences about the data for the user.
    Squared errors times `unit` are in the target's unit; it is 1 for classes. `texts` are the raw rows of a dataset of
    texts.
    """

    recipe: Recipe
    tasks: ClassTasks | GroupTasks
    network: Network
    names: tuple[str, ...]
    warnings: tuple[str, ...]
    unit: float = 1.0
    texts: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        """The number of examples of all splits."""
        return sum(len(rows) for rows in self.tasks.rows.values())

    def classes(self, *splits: Split) -> list[str]:
        """Return the names of the classes of these splits."""
        return [self.names[number] for split in splits for number in self.tasks.splits[split]]

    def profile_inputs(self) -> tuple[Any, list[str]]:
        """Return the raw rows of the train classes and the class of each, for `class_profiles.describe`."""
        tasks = self.tasks
        pairs = [(row, number) for number in tasks.splits["train"] for row in tasks.rows.get(number, ())[:ROWS]]
        rows, names = [row for row, _ in pairs], [self.names[number] for _, number in pairs]
        if self.texts:
            return [self.texts[row] for row in rows], names
        if isinstance(tasks, GroupTasks):
            return torch.cat([tasks.x, tasks.y], 1)[rows].cpu().numpy(), names
        return tasks.inputs[rows].cpu(), names


def set_up(dataset: Dataset, spec: FewShotSpec) -> TrainingSetup:
    """Return the dataset's tasks. All its rows are pooled: the classes are split, by the dataset's seed.

    With pretrained weights the tasks hold images at first; see `backbone_features.compute`. Raises InputError, with
    the maximum that is possible, where the dataset cannot give such tasks.
    """
    for name in ("rotations", "distortions"):
        if getattr(spec, name) and dataset.modality != "image":
            raise InputError(
                f"{dataset.name} has no images, and only images can be rotated or distorted.",
                field=name,
                value=True,
                remedy="Turn this off.",
            )
    maker = {"image": _images, "text": _texts, "table": _table}[dataset.modality]
    try:
        return (_groups if dataset.task == "regression" else maker)(dataset, spec)
    except TooFewExamples as error:
        raise InputError(str(error)) from error


def evaluation_tasks(tasks: ClassTasks | GroupTasks) -> ClassTasks | GroupTasks:
    """Return the tasks that initialisations are compared by: the same for all jobs of a dataset, ways and shots."""
    ways = getattr(tasks, "ways", 1)
    sizes = [sorted(len(tasks.rows.get(number, ())) for number in tasks.splits[split])[-ways] for split in SPLITS]
    return replace(tasks, queries=max(1, min(EVALUATION_QUERIES, min(sizes) - tasks.shots)), train_seed=0)


def _images(dataset: Dataset, spec: FewShotSpec) -> TrainingSetup:
    pairs = [datasets.load_images(dataset, split) for split in SPLITS]
    pixels, codes = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    height, width, channels = pixels.shape[1:]
    if spec.rotations and height != width:
        raise InputError(
            f"Images of {width} x {height} pixels cannot be rotated.",
            field="rotations",
            value=True,
            remedy="Register them with a side, which makes them square.",
        )
    unique, warnings = _remove_duplicates([_digest(image) for image in pixels], codes, dataset.labels, "image")
    pixels, codes = (pixels, codes) if len(unique) == len(codes) else (pixels[unique], codes[unique])
    recipe = recipes.image_recipe((height, width, channels))
    if spec.backbone is not None:
        recipe |= {"backbone": spec.backbone}
    return _classification(dataset, spec, recipe, recipes.encode_images(recipe, pixels), codes, warnings)


def _digest(image: np.ndarray) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def _texts(dataset: Dataset, spec: FewShotSpec) -> TrainingSetup:
    table, codes = _table_and_codes(dataset)
    keys = [column.key for column in dataset.features]
    texts = [" ".join(value for value in row if isinstance(value, str)) for row in table[keys].itertuples(index=False)]
    unique, warnings = _remove_duplicates(texts, codes, dataset.labels, "text")
    texts, codes = [texts[row] for row in unique], codes[unique]
    trains = set(_class_splits(dataset)["train"])
    train_rows = [(text, code) for text, code in zip(texts, codes.tolist(), strict=True) if code in trains]
    recipe = recipes.text_recipe([text for text, _ in train_rows], [code for _, code in train_rows])
    setup = _classification(dataset, spec, recipe, recipes.encode_texts(recipe, texts), codes, warnings)
    return replace(setup, texts=tuple(texts))


def _table(dataset: Dataset, spec: FewShotSpec) -> TrainingSetup:
    table, codes = _table_and_codes(dataset)
    frame = name_columns(dataset, table)
    recipe = recipes.table_recipe(frame[np.isin(codes, _class_splits(dataset)["train"])], dataset.features)
    x = recipes.encode_table(recipe, frame)
    return _classification(dataset, spec, recipe, x, codes, _text_columns_warning(dataset))


def _groups(dataset: Dataset, spec: FewShotSpec) -> TrainingSetup:
    """Set up a regression: each value of the group column is a task; x and y are standardised by the train groups."""
    table = datasets.load(dataset)
    column = next((column for column in dataset.features if column.name == spec.group), None)
    if column is None:
        raise InputError(
            f"{spec.group!r} is no column of {dataset.name}.",
            field="group",
            value=spec.group,
            remedy="Choose one of its features.",
        )
    table = table[table[column.key].notna()]
    groups = pd.Categorical(table[column.key].astype(str))
    names, codes = tuple(map(str, groups.categories)), groups.codes.astype(np.int64)
    splits = split_classes(names, dataset.seed)
    trains = np.isin(codes, splits["train"])
    target = table[dataset.target_column.key].to_numpy(float)
    scale = recipes.mean_and_std(target[trains])
    frame, features = name_columns(dataset, table), [other for other in dataset.features if other is not column]
    recipe = recipes.table_recipe(frame[trains], features)
    x = recipes.encode_table(recipe, frame)
    recipe |= {"kind": "waves", "group": column.name, "target": {"name": dataset.target, **scale}}
    y = torch.from_numpy(((target - scale["mean"]) / scale["std"]).astype(np.float32))[:, None]
    tasks = GroupTasks(
        x, y, torch.from_numpy(codes), splits, spec.shots, spec.queries, dataset.seed, train_seed=spec.seed
    )
    warnings = (*_text_columns_warning(dataset), *_small_classes_warning(tasks, names))
    return TrainingSetup(recipe, tasks, _network("waves", spec, 1, x), names, warnings, scale["std"] ** 2)


def _classification(
    dataset: Dataset, spec: FewShotSpec, recipe: Recipe, x: Tensor, codes: np.ndarray, warnings: Sequence[str]
) -> TrainingSetup:
    tasks = ClassTasks(
        x, torch.from_numpy(codes), _class_splits(dataset), spec.ways, spec.shots, spec.queries, dataset.seed,
        spec.rotations, spec.seed, spec.distortions, spec.train_ways,
    )  # fmt: skip
    tasks = replace(tasks, train_queries=min(ALGORITHMS[spec.algorithm].queries, spec.queries))
    if spec.algorithm == "ProtoNet" and spec.train_ways is None:
        # With many classes prototypes learn more (Snell et al. 2017, section 3).
        tasks = replace(tasks, train_ways=max(spec.ways, min(_MAX_TRAIN_WAYS, len(tasks.usable["train"]))))
    network = _network(recipe["kind"], spec, spec.ways, x, recipe)
    warnings = (*warnings, *_small_classes_warning(tasks, dataset.labels))
    return TrainingSetup(recipe, tasks, network, dataset.labels, warnings)


def _class_splits(dataset: Dataset) -> dict[Split, list[int]]:
    """Return the classes of each split; images of one outer folder ("Greek/character03") stay together."""
    outer = [name.rpartition("/")[0] for name in dataset.labels]
    apart = dataset.modality != "image" or not all(outer) or len(set(outer)) < 3
    return split_classes(dataset.labels if apart else outer, dataset.seed)


def _table_and_codes(dataset: Dataset) -> tuple[pd.DataFrame, np.ndarray]:
    table = datasets.load(dataset)
    target = table[dataset.target_column.key]
    return table, pd.Categorical(target, categories=list(dataset.labels)).codes.astype(np.int64)


def _network(kind: str, spec: FewShotSpec, n_outputs: int, x: Tensor, recipe: Recipe | None = None) -> Network:
    """Return the network of the spec, or the default one. Raises InputError if it does not fit the inputs."""
    name = spec.network or _DEFAULT_NETWORK[kind]
    if name not in _NETWORKS[kind]:
        what = "rows of numbers" if kind in ("table", "waves") else f"{kind}s"
        raise InputError(
            f"{name!r} does not work on {what}.",
            field="network",
            value=name,
            remedy=f"Choose {_either(_NETWORKS[kind])}.",
        )
    if spec.backbone is not None:
        return Adapter(backbones.locate(spec.backbone)[1].n_features, n_outputs)
    if name == "mlp":
        return MLP(x.shape[1], n_outputs, spec.width)
    size = len((recipe or {})["words"]) + recipes.FIRST_WORD + recipes.OTHER_WORDS if kind == "text" else x.shape[1]
    network: Network = NETWORKS[_CLASSES[name]](size, n_outputs, spec.width)
    return network


def _either(names: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _remove_duplicates(
    contents: Sequence[Any], codes: np.ndarray, labels: Sequence[str], what: str
) -> tuple[np.ndarray, list[str]]:
    """Return the rows with different contents within each class, and warnings about equal ones.

    Two equal rows of a class could be in the support and the query set of one task.
    """
    frame = pd.DataFrame({"content": pd.factorize(pd.Series(contents, dtype="object"))[0], "code": codes})
    unique = frame.drop_duplicates()
    warnings = []
    if n_repeats := len(frame) - len(unique):
        warnings.append(f"{n_repeats:,} {what}s repeat another one of their class and are left out.")
    shared = unique[unique.duplicated("content", keep=False)]
    if len(shared):
        first = shared[shared["content"] == shared["content"].iloc[0]]
        names = " and ".join(repr(labels[code]) for code in first["code"][:2])
        warnings.append(
            f"{shared['content'].nunique():,} {what}s are in more than one class, such as in {names}: what is learned "
            "of one class may leak into another. Remove each from the wrong class."
        )
    return unique.index.to_numpy(), warnings


def _text_columns_warning(dataset: Dataset) -> list[str]:
    texts = [column.name for column in dataset.features if column.type == "text"]
    return [f"Text columns are not used in a table with other columns: {', '.join(texts)}."] if texts else []


def _small_classes_warning(tasks: ClassTasks | GroupTasks, names: Sequence[str]) -> list[str]:
    """Return a warning about classes with too few rows for a task."""
    what = "groups" if isinstance(tasks, GroupTasks) else "classes"
    usable = {number for split in SPLITS for number in tasks.usable[split]}
    small = [number for split in SPLITS for number in tasks.splits[split] if number not in usable]
    if not small:
        return []
    examples = ", ".join(repr(names[number]) for number in small[:5]) + (", ..." if len(small) > 5 else "")
    return [
        f"{len(small):,} {what} have fewer than {tasks.shots + tasks.queries} examples and are left out of training, "
        f"for {tasks.shots} shots and {tasks.queries} queries: {examples}."
    ]
