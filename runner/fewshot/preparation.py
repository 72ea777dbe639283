"""A registered dataset as few-shot tasks: the recipe of its inputs, its classes or groups shared out, a network."""

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
from runner.fewshot.initialisation import NETWORKS
from runner.fewshot.learning.algorithms import ALGORITHMS
from runner.fewshot.learning.episodes import ClassTasks, GroupTasks, Split, TooFew, split_classes
from runner.fewshot.learning.task_networks import MLP, Adapter, Network
from runner.fewshot.recipes import Recipe
from runner.fewshot.similarity import ROWS

_TRAIN_WAYS = 60  # of ProtoNet's tasks, at most
JUDGED_QUERIES = 15  # a class, where there are enough
_USUAL = {"image": "conv4", "text": "text", "table": "mlp", "waves": "mlp"}
_FITTING = {"image": ("conv4", "resnet", "pretrained"), "text": ("text",), "table": ("mlp",), "waves": ("mlp",)}
_CLASSES = {"conv4": "Conv4", "resnet": "ResNet", "text": "TextMean"}


@dataclass(frozen=True)
class Prepared:
    """What a meta-training needs of a dataset.

    `names` are those of the classes (or groups) by their numbers, `warnings` what the user should know of the data.
    Squared errors times `unit` are in the target's unit; it is 1 for classes. `texts` are the rows of a dataset of
    texts as they are.
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
        """Examples of all splits."""
        return sum(len(rows) for rows in self.tasks.rows.values())

    def classes(self, *splits: Split) -> list[str]:
        """Names of the classes of these splits."""
        return [self.names[number] for split in splits for number in self.tasks.splits[split]]

    def described(self) -> tuple[Any, list[str]]:
        """What tells of the train classes, as `memory.describe` takes it: raw rows, and the class of each."""
        tasks = self.tasks
        pairs = [(row, number) for number in tasks.splits["train"] for row in tasks.rows.get(number, ())[:ROWS]]
        rows, names = [row for row, _ in pairs], [self.names[number] for _, number in pairs]
        if self.texts:
            return [self.texts[row] for row in rows], names
        if isinstance(tasks, GroupTasks):
            return torch.cat([tasks.x, tasks.y], 1)[rows].cpu().numpy(), names
        return tasks.inputs[rows].cpu(), names


def prepare(dataset: Dataset, spec: FewShotSpec) -> Prepared:
    """The dataset's tasks. All its rows are pooled: few-shot learning splits the classes, by the dataset's seed.

    With pretrained weights they hold the images still; see `features.computed`.
    Raises InputError where it cannot give such tasks, with the most that it can.
    """
    for name in ("rotations", "distortions"):
        if getattr(spec, name) and dataset.modality != "image":
            raise InputError(f"{name}: only images can turn and move, and {dataset.name} holds none; leave it out.")
    maker = {"image": _images, "text": _texts, "table": _table}[dataset.modality]
    try:
        return (_groups if dataset.task == "regression" else maker)(dataset, spec)
    except TooFew as error:
        raise InputError(str(error)) from error


def judged(tasks: ClassTasks | GroupTasks) -> ClassTasks | GroupTasks:
    """The tasks by which initialisations are compared: the same ones for all jobs of a dataset, ways and shots."""
    ways = getattr(tasks, "ways", 1)
    sizes = [sorted(len(tasks.rows.get(number, ())) for number in tasks.splits[split])[-ways] for split in SPLITS]
    return replace(tasks, queries=max(1, min(JUDGED_QUERIES, min(sizes) - tasks.shots)), train_seed=0)


def _images(dataset: Dataset, spec: FewShotSpec) -> Prepared:
    pairs = [datasets.load_images(dataset, split) for split in SPLITS]
    pixels, codes = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    height, width, channels = pixels.shape[1:]
    if spec.rotations and height != width:
        raise InputError(f"rotations: images of {width} x {height} pixels cannot turn; register them with a side.")
    kept, warnings = _once([_digest(image) for image in pixels], codes, dataset.labels, "image")
    pixels, codes = (pixels, codes) if len(kept) == len(codes) else (pixels[kept], codes[kept])
    recipe = recipes.image_recipe((height, width, channels))
    if spec.backbone is not None:
        recipe |= {"backbone": spec.backbone}
    return _classed(dataset, spec, recipe, recipes.from_images(recipe, pixels), codes, warnings)


def _digest(image: np.ndarray) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def _texts(dataset: Dataset, spec: FewShotSpec) -> Prepared:
    table, codes = _labelled(dataset)
    keys = [column.key for column in dataset.features]
    texts = [" ".join(value for value in row if isinstance(value, str)) for row in table[keys].itertuples(index=False)]
    kept, warnings = _once(texts, codes, dataset.labels, "text")
    texts, codes = [texts[row] for row in kept], codes[kept]
    trains = set(_shared(dataset)["train"])
    seen = [(text, code) for text, code in zip(texts, codes.tolist(), strict=True) if code in trains]
    recipe = recipes.text_recipe([text for text, _ in seen], [code for _, code in seen])
    made = _classed(dataset, spec, recipe, recipes.from_texts(recipe, texts), codes, warnings)
    return replace(made, texts=tuple(texts))


def _table(dataset: Dataset, spec: FewShotSpec) -> Prepared:
    table, codes = _labelled(dataset)
    frame = _named(dataset, table)
    recipe = recipes.table_recipe(frame[np.isin(codes, _shared(dataset)["train"])], dataset.features)
    return _classed(dataset, spec, recipe, recipes.from_table(recipe, frame), codes, _left_out(dataset))


def _groups(dataset: Dataset, spec: FewShotSpec) -> Prepared:
    """Regression: the rows of one value of the group's column are a task; x and y standardised by train groups."""
    table = datasets.load(dataset)
    column = next((column for column in dataset.features if column.name == spec.group), None)
    if column is None:
        raise InputError(f"group: {spec.group!r} is no column of {dataset.name}; choose one of its features.")
    table = table[table[column.key].notna()]
    found = pd.Categorical(table[column.key].astype(str))
    names, codes = tuple(map(str, found.categories)), found.codes.astype(np.int64)
    splits = split_classes(names, dataset.seed)
    trains = np.isin(codes, splits["train"])
    target = table[dataset.target_column.key].to_numpy(float)
    y = recipes.standard(target[trains])
    frame, features = _named(dataset, table), [other for other in dataset.features if other is not column]
    recipe = recipes.table_recipe(frame[trains], features)
    x = recipes.from_table(recipe, frame)
    recipe |= {"kind": "waves", "group": column.name, "target": {"name": dataset.target, **y}}
    numbers = torch.from_numpy(((target - y["mean"]) / y["std"]).astype(np.float32))[:, None]
    tasks = GroupTasks(
        x, numbers, torch.from_numpy(codes), splits, spec.shots, spec.queries, dataset.seed, train_seed=spec.seed
    )
    network = _network("waves", spec, 1, x)
    return Prepared(recipe, tasks, network, names, (*_left_out(dataset), *_small(tasks, names)), y["std"] ** 2)


def _classed(
    dataset: Dataset, spec: FewShotSpec, recipe: Recipe, x: Tensor, codes: np.ndarray, warnings: Sequence[str]
) -> Prepared:
    tasks = ClassTasks(
        x, torch.from_numpy(codes), _shared(dataset), spec.ways, spec.shots, spec.queries, dataset.seed,
        spec.rotations, spec.seed, spec.distortions, spec.train_ways,
    )  # fmt: skip
    tasks = replace(tasks, train_queries=min(ALGORITHMS[spec.algorithm].queries, spec.queries))
    if spec.algorithm == "ProtoNet" and spec.train_ways is None:
        # Of many classes prototypes learn more (Snell et al. 2017, section 3).
        tasks = replace(tasks, train_ways=max(spec.ways, min(_TRAIN_WAYS, len(tasks.usable["train"]))))
    network = _network(recipe["kind"], spec, spec.ways, x, recipe)
    return Prepared(recipe, tasks, network, dataset.labels, (*warnings, *_small(tasks, dataset.labels)))


def _shared(dataset: Dataset) -> dict[Split, list[int]]:
    """The classes of each split; images of one outer folder ("Greek/character03") stay together."""
    outer = [name.rpartition("/")[0] for name in dataset.labels]
    apart = dataset.modality != "image" or not all(outer) or len(set(outer)) < 3
    return split_classes(dataset.labels if apart else outer, dataset.seed)


def _labelled(dataset: Dataset) -> tuple[pd.DataFrame, np.ndarray]:
    table = datasets.load(dataset)
    target = table[dataset.target_column.key]
    return table, pd.Categorical(target, categories=list(dataset.labels)).codes.astype(np.int64)


def _named(dataset: Dataset, table: pd.DataFrame) -> pd.DataFrame:
    """The features under their names in the user's files."""
    return table.rename(columns={column.key: column.name for column in dataset.features})


def _network(kind: str, spec: FewShotSpec, n_outputs: int, x: Tensor, recipe: Recipe | None = None) -> Network:
    """The network that is asked for, or the usual one. Raises InputError where it does not take such inputs."""
    name = spec.network or _USUAL[kind]
    if name not in _FITTING[kind]:
        what = "rows of numbers" if kind in ("table", "waves") else f"{kind}s"
        raise InputError(f"network: {name!r} does not take {what}; choose {_either(_FITTING[kind])}.")
    if spec.backbone is not None:
        return Adapter(backbones.kept(spec.backbone)[1].n_features, n_outputs)
    if name == "mlp":
        return MLP(x.shape[1], n_outputs, spec.width)
    size = len((recipe or {})["words"]) + recipes.FIRST_WORD + recipes.OTHER_WORDS if kind == "text" else x.shape[1]
    network: Network = NETWORKS[_CLASSES[name]](size, n_outputs, spec.width)
    return network


def _either(names: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _once(contents: Sequence[Any], codes: np.ndarray, labels: Sequence[str], what: str) -> tuple[np.ndarray, list[str]]:
    """The rows of the different contents of each class, and what is to be said of equal ones.

    Two equal rows of a class could be example and question of one task.
    """
    frame = pd.DataFrame({"content": pd.factorize(pd.Series(contents, dtype="object"))[0], "code": codes})
    once = frame.drop_duplicates()
    warnings = []
    if n_repeats := len(frame) - len(once):
        warnings.append(f"{n_repeats:,} {what}s repeat another one of their class and are left out.")
    torn = once[once.duplicated("content", keep=False)]
    if len(torn):
        first = torn[torn["content"] == torn["content"].iloc[0]]
        names = " and ".join(repr(labels[code]) for code in first["code"][:2])
        warnings.append(
            f"{torn['content'].nunique():,} {what}s are in more than one class, such as in {names}: what is learned of "
            "one class may leak into another. Take each out of the wrong one."
        )
    return once.index.to_numpy(), warnings


def _left_out(dataset: Dataset) -> list[str]:
    texts = [column.name for column in dataset.features if column.type == "text"]
    return [f"Text columns are not used beside others: {', '.join(texts)}."] if texts else []


def _small(tasks: ClassTasks | GroupTasks, names: Sequence[str]) -> list[str]:
    """What classes have too few rows for a task."""
    what = "groups" if isinstance(tasks, GroupTasks) else "classes"
    usable = {number for split in SPLITS for number in tasks.usable[split]}
    small = [n for split in SPLITS for n in tasks.splits[split] if n not in usable]
    if not small:
        return []
    told = ", ".join(repr(names[number]) for number in small[:5]) + (", ..." if len(small) > 5 else "")
    return [
        f"{len(small):,} {what} have fewer than {tasks.shots + tasks.queries} examples and are left out of training, "
        f"for {tasks.shots} shots and {tasks.queries} queries: {told}."
    ]
