"""The ranking of stored initialisations by the similarity of their training classes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import InputError
from runner.fewshot.class_profiles import describe
from runner.fewshot.similar_initialisations import TrainingProfile, rank


def test_the_most_similar_training_comes_first_and_says_why() -> None:
    far = TrainingProfile(7, {"x": [0.0, 0.0]})
    near = TrainingProfile(3, {"hiragana/04": [1.0, 0.0], "other": [5.0, 5.0]})
    first, second, third = rank([far, TrainingProfile(9, {}), near], {"A": [1.0, 0.5]})
    assert (first.job_id, first.distance, first.similar_classes) == (3, 0.5, {"A": "hiragana/04"})
    assert first.why == (
        "Its training classes are the most similar: distance 0.50, against 1.12 for job 7; 'hiragana/04' is similar to "
        "your 'A'."
    )
    assert (second.job_id, second.distance) == (7, 1.118)
    assert "less similar: distance 1.12, 0.62 more than for job 3; 'x' is similar to your 'A'." in second.why
    assert (third.job_id, third.distance) == (9, None)


def test_a_tie_is_decided_by_the_number_of_classes_and_then_by_the_score() -> None:
    profile, support = {"x": [0.0]}, {"A": [1.0], "B": [1.0], "C": [1.0], "D": [1.0], "E": [1.0]}
    ways_and_scores = {1: (20, 0.99), 2: (5, 0.9), 3: (5, 0.95), 4: (5, None)}
    ranking = rank([TrainingProfile(job_id, profile, *pair) for job_id, pair in ways_and_scores.items()], support)
    assert [one.job_id for one in ranking] == [3, 2, 4, 1]
    why = "as similar as those of job 2, distance 1.00; its accuracy on held-out classes is 0.950, against 0.900."
    assert why in ranking[0].why
    assert "its tasks had 20 classes, against 5" in ranking[3].why


def test_the_distance_is_the_mean_over_the_new_classes() -> None:
    [one] = rank([TrainingProfile(1, {"p": [0.0], "q": [10.0]})], {"A": [1.0], "B": [7.0]})
    assert (one.distance, one.similar_classes) == (2.0, {"A": "p", "B": "q"})


def test_without_any_initialisation_the_remedy_is_named() -> None:
    with pytest.raises(InputError, match="Meta-train one first"):
        rank([], {"A": [1.0]})


Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def omniglot(data: Path) -> Arrays:
    with np.load(data / "omniglot28_background.npz") as file:
        return {name: file[name] for name in ("images", "alphabet", "drawer", "character", "character_names")}


@pytest.fixture(scope="module")
def cifar(data: Path) -> Arrays:
    with np.load(data / "cifar10jpg_test2500.npz") as file:
        return {name: file[name] for name in ("jpeg", "offset", "label", "classes")}


def _characters(omniglot: Arrays, alphabets: range, drawers: range) -> TrainingProfile:
    rows = np.isin(omniglot["alphabet"], alphabets) & np.isin(omniglot["drawer"], drawers)
    names = [str(name) for name in omniglot["character_names"][omniglot["character"][rows]]]
    return TrainingProfile(alphabets.start, describe(omniglot["images"][rows][..., None], names, "image"))


def _photographs(cifar: Arrays, classes: range, first: int, last: int) -> TrainingProfile:
    jpeg, offset, labels = cifar["jpeg"].tobytes(), cifar["offset"], cifar["label"]
    rows = [row for row in range(first, last) if labels[row] in classes]
    images = [np.asarray(Image.open(io.BytesIO(jpeg[offset[row] : offset[row + 1]]))) for row in rows]
    names = [str(name) for name in cifar["classes"][labels[rows]]]
    return TrainingProfile(100 + classes.start, describe(np.stack(images), names, "image"))


def test_characters_are_similar_to_characters_and_photographs_to_photographs(omniglot: Arrays, cifar: Arrays) -> None:
    characters, photographs = _characters(omniglot, range(10), range(5)), _photographs(cifar, range(5), 0, 600)
    new_characters = _characters(omniglot, range(20, 22), range(5)).profile
    assert [one.job_id for one in rank([photographs, characters], new_characters)] == [0, 100]
    new_photographs = _photographs(cifar, range(5, 10), 1200, 1400).profile
    assert [one.job_id for one in rank([characters, photographs], new_photographs)] == [100, 0]


def test_new_drawings_are_similar_to_the_training_on_their_characters(omniglot: Arrays) -> None:
    trainings = [_characters(omniglot, range(first, first + 5), range(10)) for first in (0, 5, 10)]
    support = _characters(omniglot, range(5, 6), range(10, 15)).profile
    best = rank(trainings, support)[0]
    assert best.job_id == 5
    assert sum(label == train for label, train in best.similar_classes.items()) >= len(support) / 2
