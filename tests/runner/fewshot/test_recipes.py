"""Recipes: words of most classes are ignored, unknown words are numbered by their hash."""

from __future__ import annotations

import pytest

from core.errors import InputError
from runner.fewshot import recipes

pytestmark = pytest.mark.torch


def test_words_of_most_classes_are_ignored_and_unknown_words_have_numbers() -> None:
    texts = ["the cat sat", "the cat ran", "the dog barks", "the dog sat", "the owl"]
    recipe = recipes.text_recipe(texts, [0, 0, 1, 1, 2])
    assert (recipe["stop"], recipe["words"], recipe["length"]) == (["sat", "the"], ["cat", "dog"], 2)
    [cat, new, none] = recipes.encode_texts(recipe, ["The cat sat on", "zebra sat zebra", "the"]).tolist()
    assert cat[0] == 2  # the first word of the vocabulary
    assert cat[1] >= 4
    assert new[0] == new[1] >= 4
    assert new[0] != cat[1]
    assert none == [0, 0]
    with pytest.raises(InputError, match="have no words"):
        recipes.text_recipe(["", "!"], [0, 1])
