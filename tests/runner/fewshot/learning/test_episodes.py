"""Episodes: the same numbers give the same task, and nothing leaks between splits or from support to query."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from runner.fewshot.learning.episodes import (
    SPLITS,
    ClassTasks,
    GroupTasks,
    SinusoidTasks,
    TooFewExamples,
    split_classes,
)

pytestmark = pytest.mark.torch


def _tasks(n_classes: int = 20, each: int = 6, **settings: object) -> ClassTasks:
    """Images that say in their corner which row they are."""
    n = n_classes * each
    images = torch.zeros(n, 1, 8, 8, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(1, n + 1)
    labels = torch.arange(n_classes).repeat_interleave(each)
    splits = split_classes([str(c) for c in range(n_classes)], seed=3)
    return ClassTasks(images, labels, splits, **{"ways": 2, "shots": 2, "queries": 3, **settings})


def test_splits_are_disjoint_by_class_and_hold_every_class() -> None:
    splits = split_classes([str(c) for c in range(20)], seed=0)
    everything = [c for split in SPLITS for c in splits[split]]
    assert sorted(everything) == list(range(20))
    assert [len(splits[split]) for split in SPLITS] == [10, 5, 5]
    assert splits != split_classes([str(c) for c in range(20)], seed=1)


@pytest.mark.parametrize(("n", "sizes"), [(3, [1, 1, 1]), (9, [3, 3, 3]), (15, [5, 5, 5]), (100, [65, 10, 25])])
def test_with_few_classes_each_split_still_has_enough_for_tasks(n: int, sizes: list[int]) -> None:
    splits = split_classes([str(c) for c in range(n)], seed=0)
    assert [len(splits[split]) for split in SPLITS] == sizes


def test_valid_and_test_get_more_groups_if_these_are_small_but_train_keeps_one() -> None:
    splits = split_classes([f"alphabet {c // 2}" for c in range(40)], seed=0)
    assert [len(splits[split]) for split in SPLITS] == [24, 6, 10]
    splits = split_classes(["a"] * 20 + ["b", "c", "d"], seed=0)
    assert all(splits[split] for split in SPLITS)
    assert sum(len(splits[split]) for split in SPLITS) == 23


def test_classes_of_one_group_stay_together() -> None:
    groups = [f"alphabet {c % 5}" for c in range(20)]
    splits = split_classes(groups, seed=0)
    homes = [{groups[c] for c in splits[split]} for split in SPLITS]
    assert sum(len(home) for home in homes) == 5
    with pytest.raises(TooFewExamples, match="there are 2: add classes"):
        split_classes(["a", "b", "b"], seed=0)


def test_an_episode_depends_on_seed_split_and_number_only() -> None:
    tasks = _tasks()
    many, one = tasks.batch("train", 0, 8), tasks.batch("train", 5, 1)
    assert torch.equal(many.support_x[5], one.support_x[0])
    assert torch.equal(many.query_x[5], one.query_x[0])
    assert tasks.draw("train", 0) != tasks.draw("train", 1)
    assert tasks.draw("test", 0) != replace(tasks, seed=1).draw("test", 0)


def test_no_image_and_no_class_leaks() -> None:
    tasks = _tasks(rotations=True)
    classes_of: dict[str, set[int]] = {split: set() for split in SPLITS}
    for split in SPLITS:
        batch = tasks.batch(split, 0, 60)
        support, query = (x.amax((2, 3, 4)).mul(255).round().long() for x in (batch.support_x, batch.query_x))
        for task in range(60):
            assert set(support[task].tolist()).isdisjoint(query[task].tolist())
        rows = torch.cat([support, query], 1) - 1
        classes_of[split] = set(tasks.labels[rows].flatten().tolist())
        assert classes_of[split] <= set(tasks.splits[split])
    assert sum(len(classes) for classes in classes_of.values()) == len(set().union(*classes_of.values()))


def test_only_train_classes_are_rotated_and_a_class_is_once_in_a_task() -> None:
    tasks = _tasks(rotations=True)
    turns = {split: {turn for e in range(60) for _, turn, _ in tasks.draw(split, e)} for split in SPLITS}
    assert turns == {"train": {0, 1, 2, 3}, "valid": {0}, "test": {0}}
    for episode in range(60):
        task = tasks.draw("train", episode)
        assert len({label for label, *_ in task}) == 2
        x = tasks.batch("train", episode, 1).support_x[0, 0, 0]
        corner = [(0, 0), (7, 0), (7, 7), (0, 7)][task[0][1]]  # counter-clockwise
        assert x[corner] > 0
        assert int((x > 0).sum()) == 1


def test_labels_follow_the_images() -> None:
    tasks = _tasks(40, ways=4, seed=9)
    tasks_of = tasks.draw("train", 0)
    batch = tasks.batch("train", 0, 1)
    rows = batch.query_x[0].amax((1, 2, 3)).mul(255).round().long() - 1
    expected = [[label for label, *_ in tasks_of][way] for way in batch.query_y[0].tolist()]
    assert tasks.labels[rows].tolist() == expected


def test_impossible_tasks_are_refused_with_the_maximum() -> None:
    with pytest.raises(
        TooFewExamples, match=r"5 valid classes can give: at most 5-way with 2 shots, and at most 0 shots with"
    ):
        _tasks(ways=6)
    with pytest.raises(
        TooFewExamples, match=r"at most 0-way with 9 shots, and at most 3 shots with 2 ways\. Choose fewer"
    ):
        _tasks(shots=9)
    with pytest.raises(TooFewExamples, match=r"At most 4 queries would be possible\. Choose fewer"):
        _tasks(queries=15)
    with pytest.raises(TooFewExamples, match="ways must be at least 2"):
        _tasks(ways=1)
    assert len(_tasks(ways=2, shots=3).batch("valid", 0, 1)) == 1
    with pytest.raises(ValueError, match=r"\(8, 6\) cannot be rotated: make them square"):
        replace(_tasks(), inputs=_tasks().inputs[..., :6], rotations=True)


def test_train_tasks_may_have_more_classes_and_fewer_queries_than_evaluation_tasks() -> None:
    tasks = _tasks(train_ways=7, train_queries=1)
    batches = [tasks.batch(split, 0, 2) for split in SPLITS]
    assert [(b.support_x.shape[1], b.query_x.shape[1]) for b in batches] == [(14, 7), (4, 6), (4, 6)]
    assert batches[0].query_y.tolist() == [list(range(7))] * 2
    with pytest.raises(TooFewExamples, match="11-way 2-shot with 3 queries a class is more than the 10 train classes"):
        _tasks(train_ways=11)


def test_the_distortions_of_an_episode_do_not_depend_on_its_batch() -> None:
    images = torch.rand(120, 1, 8, 8, generator=torch.Generator().manual_seed(0)).mul(255).byte()
    plain = replace(_tasks(), inputs=images)
    tasks = replace(plain, distortions=True)
    both, second = tasks.batch("train", 4, 2), tasks.batch("train", 5, 1)
    assert torch.equal(both.support_x[1], second.support_x[0])
    moved = (both.query_x - plain.batch("train", 4, 2).query_x).abs().flatten(2).mean(2)
    assert 0.001 < float(moved.min()) <= float(moved.max()) < 0.3  # each by its own map, none beyond recognition
    assert torch.equal(tasks.batch("test", 4, 2).query_x, plain.batch("test", 4, 2).query_x)


def test_inputs_other_than_pixels_stay_unchanged() -> None:
    ids = torch.arange(120 * 7).view(120, 7)
    batch = replace(_tasks(), inputs=ids).batch("train", 0, 3)
    assert batch.support_x.dtype == torch.int64
    assert batch.query_x.shape == (3, 6, 7)
    assert set(batch.support_x[0, :, 0].tolist()) <= set(range(0, 120 * 7, 7))
    with pytest.raises(ValueError, match="cannot be rotated"):
        replace(_tasks(), inputs=ids, rotations=True)


def test_the_seed_of_training_changes_the_train_tasks_only() -> None:
    one, other = _tasks(), _tasks(train_seed=5)
    assert one.draw("train", 0) != other.draw("train", 0)
    assert [one.draw("test", e) for e in range(9)] == [other.draw("test", e) for e in range(9)]


def test_a_regression_task_has_rows_of_one_group_and_disjoint_support_and_query() -> None:
    x = torch.arange(60.0).view(60, 1)
    groups = torch.arange(60) // 6
    tasks = GroupTasks(x, 2 * x, groups, split_classes([str(g) for g in range(10)], seed=0), shots=2, queries=3)
    classes_of: dict[str, set[int]] = {split: set() for split in SPLITS}
    for split in SPLITS:
        batch = tasks.batch(split, 0, 40)
        assert (batch.support_x.shape, batch.query_y.shape) == ((40, 2, 1), (40, 3, 1))
        rows = torch.cat([batch.support_x, batch.query_x], 1)[..., 0].long()
        assert all(len(set(task)) == 5 for task in rows.tolist())
        of = groups[rows]
        assert (of == of[:, :1]).all()
        assert torch.equal(batch.query_y, 2 * batch.query_x)
        classes_of[split] = set(of.flatten().tolist())
        assert classes_of[split] == set(tasks.splits[split])
    with pytest.raises(TooFewExamples, match="the largest has 6 rows, which is at most 3 shots with 3 queries"):
        replace(tasks, shots=4)


def test_a_sine_wave_keeps_its_amplitude_and_phase_from_support_to_query() -> None:
    batch = SinusoidTasks(shots=10, queries=10, dtype=torch.float64).batch("train", 3, 2)
    for x, y, at, value in zip(batch.support_x, batch.support_y, batch.query_x, batch.query_y, strict=True):
        basis = torch.cat([x.sin(), x.cos()], 1)
        weights = torch.linalg.lstsq(basis, y).solution
        assert torch.allclose(torch.cat([at.sin(), at.cos()], 1) @ weights, value, atol=1e-9)
