"""The set-up of a meta-training: tasks by split, scaled inputs, and what is refused with which remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core import datasets
from core.datasets import Dataset
from core.errors import InputError
from core.specs import FewShotSpec
from runner.fewshot.learning.episodes import SPLITS, ClassTasks, GroupTasks
from runner.fewshot.learning.task_networks import MLP, Conv4, ResNet
from runner.fewshot.training_setup import evaluation_tasks, set_up
from tests.runner.fewshot.small_datasets import register_signs

pytestmark = pytest.mark.torch


def test_the_classes_of_the_splits_are_disjoint_and_the_same_for_every_job(signs: Dataset) -> None:
    one = set_up(signs, FewShotSpec(dataset_id=signs.id, ways=3, queries=5))
    other = set_up(signs, FewShotSpec(dataset_id=signs.id, ways=3, queries=8, seed=7, algorithm="MAML", width=8))
    assert one.tasks.splits == other.tasks.splits
    shared = [set(one.classes(split)) for split in SPLITS]
    assert [len(names) for names in shared] == [8, 5, 5]
    assert set().union(*shared) == set(signs.labels)
    assert isinstance(one.tasks, ClassTasks)
    assert isinstance(other.tasks, ClassTasks)
    assert one.tasks.draw("train", 0) != other.tasks.draw("train", 0)
    mine, theirs = evaluation_tasks(one.tasks), evaluation_tasks(other.tasks)
    assert mine.queries == 11  # all but the one shot of 12
    for split in ("valid", "test"):
        assert [mine.draw(split, e) for e in range(9)] == [theirs.draw(split, e) for e in range(9)]
    assert one.network == Conv4(1, 3, 64)
    deep = set_up(signs, FewShotSpec(dataset_id=signs.id, ways=3, queries=5, network="resnet", width=8))
    assert deep.network == ResNet(1, 3, 8)


def test_all_rows_of_a_class_are_pooled_and_alphabets_stay_together(home: Path, tmp_path: Path) -> None:
    names = [f"alphabet {c % 6}/character{c:02}" for c in range(18)]
    dataset = register_signs(tmp_path / "alphabets.npz", names=names)
    setup = set_up(dataset, FewShotSpec(dataset_id=dataset.id, ways=3, queries=5, rotations=True))
    assert setup.n_rows == sum(dataset.n_rows.values()) == 216
    homes = [{name.partition("/")[0] for name in setup.classes(split)} for split in SPLITS]
    assert sum(len(alphabets) for alphabets in homes) == 6


def test_warnings_name_equal_images_and_small_classes(home: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (18 * 8, 6, 6), np.uint8)
    labels = np.repeat([f"c{c:02}" for c in range(18)], 8)
    values[8] = values[0]  # of another class
    values[17] = values[16]  # of the same
    keep = np.ones(len(labels), bool)
    keep[[27, 28, 29, 30, 31]] = False  # three images of a class remain
    np.savez(tmp_path / "odd.npz", x=values[keep], y=labels[keep])
    dataset = datasets.register_images(tmp_path / "odd.npz", name="odd")
    setup = set_up(dataset, FewShotSpec(dataset_id=dataset.id, ways=2, queries=4))
    warnings = " ".join(setup.warnings)
    assert "1 images repeat another one of their class and are left out." in warnings
    assert "1 images are in more than one class, such as in 'c00' and 'c01'" in warnings
    assert (
        "1 classes have fewer than 5 examples and are left out of training, for 1 shots and 4 queries: 'c03'."
        in warnings
    )
    assert setup.n_rows == 18 * 8 - 5 - 1


def test_a_table_is_scaled_by_its_train_classes_only(table: Dataset) -> None:
    setup = set_up(table, FewShotSpec(dataset_id=table.id, ways=2, shots=3, queries=5))
    tasks = setup.tasks
    assert isinstance(tasks, ClassTasks)
    assert isinstance(setup.network, MLP)
    trains = torch.isin(tasks.labels, torch.tensor(tasks.splits["train"]))
    assert tasks.inputs[trains][:, :2].mean(0).abs().max() < 1e-5
    assert (tasks.inputs[trains][:, :2].std(0, correction=0) - 1).abs().max() < 1e-5
    assert tasks.inputs[~trains][:, :2].mean(0).abs().max() > 0.01
    assert setup.network.n_inputs == tasks.inputs.shape[1]


def test_the_vocabulary_is_that_of_the_train_classes(texts: Dataset) -> None:
    setup = set_up(texts, FewShotSpec(dataset_id=texts.id, ways=3, shots=3, queries=5))
    words = set(setup.recipe["words"])
    for split, there in (("train", True), ("valid", False), ("test", False)):
        assert all((f"own{name[1:]}" in words) == there for name in setup.classes(split))
    tasks = setup.tasks
    assert isinstance(tasks, ClassTasks)
    assert tasks.inputs.dtype == torch.int64
    # Words of held-out classes have numbers, too, beyond the vocabulary.
    first = len(words) + 2
    held_out = [int(rows[0]) for name in setup.classes("test") for rows in [tasks.rows[texts.labels.index(name)]]]
    beyond = [set(tasks.inputs[row][tasks.inputs[row] >= first].tolist()) for row in held_out]
    assert all(beyond)
    assert len(set.union(*beyond)) >= len(beyond)
    assert int(tasks.inputs.max()) < first + 512 == setup.network.vocabulary


def test_the_groups_of_a_regression_are_its_tasks(sine_waves: Dataset) -> None:
    dataset = sine_waves
    spec = FewShotSpec(dataset_id=dataset.id, algorithm="MAML", group="wave", shots=5, queries=10)
    setup = set_up(dataset, spec)
    tasks = setup.tasks
    assert isinstance(tasks, GroupTasks)
    assert (tasks.x.shape, tasks.y.shape) == ((10_000, 1), (10_000, 1))
    trains = torch.isin(tasks.groups, torch.tensor(tasks.splits["train"]))
    assert abs(float(tasks.y[trains].mean())) < 1e-4
    assert setup.recipe["group"] == "wave"
    assert setup.unit == pytest.approx(setup.recipe["target"]["std"] ** 2)


def test_impossible_tasks_are_refused_with_the_remedy(signs: Dataset, table: Dataset) -> None:
    def error(dataset: Dataset, **choices: object) -> str:
        with pytest.raises(InputError) as caught:
            set_up(dataset, FewShotSpec(dataset_id=dataset.id, **choices))  # type: ignore[arg-type]
        return str(caught.value)

    assert "at most 0-way with 9 shots, and at most 7 shots with 3 ways" in error(signs, ways=3, shots=9, queries=5)
    assert "At most 11 queries would be possible" in error(signs, ways=3, queries=15)
    assert "at most 5-way" in error(signs, ways=6, queries=5)
    assert error(table, ways=2, network="conv4") == "network: 'conv4' does not work on rows of numbers. Choose mlp."
    assert error(signs, ways=2, queries=5, network="mlp").endswith(
        "does not work on images. Choose conv4, resnet or pretrained."
    )
    assert error(table, ways=2, network="pretrained", backbone="0" * 64).endswith(
        "work on rows of numbers. Choose mlp."
    )
    assert error(table, ways=2, rotations=True).startswith(
        "rotations: things has no images, and only images can be rotated"
    )


def test_images_that_are_not_square_cannot_be_rotated(home: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (9 * 8, 6, 8), np.uint8)
    np.savez(tmp_path / "wide.npz", x=values, y=np.repeat(np.arange(9), 8))
    dataset = datasets.register_images(tmp_path / "wide.npz", name="wide")
    with pytest.raises(InputError, match="Images of 8 x 6 pixels cannot be rotated"):
        set_up(dataset, FewShotSpec(dataset_id=dataset.id, ways=2, queries=5, rotations=True))
