"""Profiles of classes: similar classes have similar descriptors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from runner.fewshot.class_profiles import describe

pytestmark = pytest.mark.torch


def _distance(one: list[float], other: list[float]) -> float:
    return float(np.linalg.norm(np.subtract(one, other)))


def _stripes(n: int, side: int, upright: bool, seed: int = 0, period: int = 4) -> np.ndarray:
    """Images of stripes with noise, uint8 [n, side, side, 1]."""
    noise = np.random.default_rng(seed).integers(0, 60, (n, side, side, 1))
    lines = (np.arange(side) // (period / 2) % 2 * 180).astype(int)
    pattern = lines[None, None, :, None] if upright else lines[None, :, None, None]
    return (pattern + noise).astype(np.uint8)


def test_the_same_class_is_more_similar_than_another_at_any_image_size() -> None:
    images = np.concatenate([_stripes(5, 24, True), _stripes(5, 24, False)])
    profile = describe(images, ["upright"] * 5 + ["lying"] * 5, "image")
    later = describe(_stripes(5, 48, True, seed=1, period=8), ["new"] * 5, "image")["new"]
    assert list(profile) == ["upright", "lying"]
    assert _distance(later, profile["upright"]) < 0.1 < _distance(later, profile["lying"])
    assert np.linalg.norm(later) == pytest.approx(1, abs=0.01)


def test_grey_images_and_the_same_in_colour_or_as_a_tensor_are_alike() -> None:
    grey = _stripes(3, 16, True)
    tensor = torch.from_numpy(grey.transpose(0, 3, 1, 2).copy())
    first = describe(grey, "aaa", "image")["a"]
    assert _distance(first, describe(grey.repeat(3, 3), "aaa", "image")["a"]) < 0.01
    assert describe(tensor, "aaa", "image")["a"] == first


def test_texts_with_the_same_words_are_more_similar_than_others() -> None:
    texts = ["where does the river flow", "the river and its water flow", "who painted this portrait", "famous painter"]
    profile = describe(texts, ["water", "water", "art", "art"], "text")
    new = describe(["water in a river will flow"], ["new"], "text")["new"]
    assert _distance(new, profile["water"]) < _distance(new, profile["art"])


def test_a_table_is_described_by_the_means_of_its_columns() -> None:
    rows = np.array([[1.0, 2, 0, 0], [3, 2, 0, 0], [0, 0, 0, 4]])
    assert describe(rows, ["a", "a", "b"], "table") == {"a": [1.0, 1.0, 0.0, 0.0], "b": [0.0, 0.0, 0.0, 2.0]}
