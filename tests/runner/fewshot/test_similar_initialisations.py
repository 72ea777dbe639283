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

pytestmark = pytest.mark.torch


def test_the_nearest_training_comes_first_and_says_why() -> None:
    far, near = (
        TrainingProfile(7, {"x": [0.0, 0.0]}),
        TrainingProfile(3, {"hiragana/04": [1.0, 0.0], "other": [5.0, 5.0]}),
    )
    first, second, third = rank([far, TrainingProfile(9, {}), near], {"A": [1.0, 0.5]})
    assert (first.job_id, first.distance, first.similar_classes) == (3, 0.5, {"A": "hiragana/04"})
    assert first.why == (
        "Its training classes are the most similar: distance 0.50, against 1.12 for job 7; 'hiragana/04' is similar to "
        "your 'A'."
    )
    assert (second.job_id, second.distance) == (7, 1.118)
    assert "less similar: distance 1.12, 0.62 more than for job 3; 'x' is similar to your 'A'." in second.why
    assert (third.job_id, third.distance) == (9, None)


def test_of_equally_near_ones_that_of_about_as_many_classes_comes_first_and_then_the_better() -> None:
    profile, support = {"x": [0.0]}, {"A": [1.0], "B": [1.0], "C": [1.0], "D": [1.0], "E": [1.0]}
    known = [
        TrainingProfile(1, profile, 20, 0.99),
        TrainingProfile(2, profile, 5, 0.9),
        TrainingProfile(3, profile, 5, 0.95),
        TrainingProfile(4, profile, 5),
    ]
    found = rank(known, support)
    assert [near.job_id for near in found] == [3, 2, 4, 1]
    why = "as similar as those of job 2, distance 1.00; its accuracy on held-out classes is 0.950, against 0.900."
    assert why in found[0].why
    assert "its tasks had 20 classes, against 5" in found[3].why


def test_the_distance_is_the_mean_over_the_new_classes() -> None:
    [near] = rank([TrainingProfile(1, {"p": [0.0], "q": [10.0]})], {"A": [1.0], "B": [7.0]})
    assert (near.distance, near.similar_classes) == (2.0, {"A": "p", "B": "q"})


def test_without_any_initialisation_the_remedy_is_named() -> None:
    with pytest.raises(InputError, match="Meta-train one first"):
        rank([], {"A": [1.0]})


def _characters(data: Path, alphabets: range, drawers: range) -> TrainingProfile:
    with np.load(data / "omniglot28_background.npz") as file:
        chosen = np.isin(file["alphabet"], alphabets) & np.isin(file["drawer"], drawers)
        names = [str(file["character_names"][code]) for code in file["character"][chosen]]
        return TrainingProfile(alphabets.start, describe(file["images"][chosen][..., None], names, "image"))


def _photographs(data: Path, classes: range, first: int, last: int) -> TrainingProfile:
    with np.load(data / "cifar10jpg_test2500.npz") as file:
        jpeg, offset = file["jpeg"].tobytes(), file["offset"]
        rows = [row for row in range(first, last) if file["label"][row] in classes]
        images = [np.asarray(Image.open(io.BytesIO(jpeg[offset[row] : offset[row + 1]]))) for row in rows]
        names = [str(file["classes"][file["label"][row]]) for row in rows]
        return TrainingProfile(100 + classes.start, describe(np.stack(images), names, "image"))


def test_characters_lie_nearest_to_characters_and_photographs_to_photographs(data: Path) -> None:
    characters, photographs = _characters(data, range(10), range(20)), _photographs(data, range(5), 0, 1200)
    drawn = _characters(data, range(20, 22), range(5)).profile
    assert [near.job_id for near in rank([photographs, characters], drawn)] == [0, 100]
    taken = _photographs(data, range(5, 10), 1200, 1400).profile
    assert [near.job_id for near in rank([characters, photographs], taken)] == [100, 0]


def test_new_drawings_lie_nearest_to_the_training_that_had_their_characters(data: Path) -> None:
    known = [_characters(data, range(first, first + 5), range(10)) for first in (0, 5, 10)]
    drawn = _characters(data, range(5, 6), range(10, 15)).profile
    near = rank(known, drawn)
    assert near[0].job_id == 5
    assert sum(label == found for label, found in near[0].similar_classes.items()) >= len(drawn) / 2
