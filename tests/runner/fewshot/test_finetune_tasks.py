"""The task of a fine-tuning: which examples are learned, which are predicted, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from core.datasets import Dataset
from core.datasets.images import examples
from core.errors import InputError
from tests.runner.fewshot.pattern_jobs import (
    LABELS,
    MAML,
    PROTONET,
    fine_tune,
    finetune_spec,
    messages,
    pattern,
    run_here,
)

pytestmark = pytest.mark.torch


def test_the_seed_decides_the_task(patterns: Dataset, no_files: None) -> None:
    first, again, other = (
        fine_tune(finetune_spec(patterns, initialisation=PROTONET, seed=seed))[0]["support"] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_support_and_query_are_disjoint_and_of_the_chosen_classes(patterns: Dataset, no_files: None) -> None:
    body, _ = fine_tune(finetune_spec(patterns, initialisation=PROTONET, shots=7, queries=9))
    support, query = ({row["row"] for row in body[key]} for key in ("support", "predictions"))
    assert (len(support), len(query), support & query) == (21, 27, set())
    labels = pd.read_parquet(patterns.table).set_index("row")["c1"]
    assert all(labels[row["row"]] == row["label"] for row in body["support"])
    assert all(labels[row["row"]] == row["actual"] for row in body["predictions"])


def test_all_images_beyond_the_shots_are_the_query_where_there_are_few(patterns: Dataset, no_files: None) -> None:
    body, _ = fine_tune(finetune_spec(patterns, initialisation=PROTONET, shots=17, queries=50))
    assert body["n_queries"] == 9


def test_too_few_images_are_refused_with_their_number(patterns: Dataset) -> None:
    with pytest.raises(InputError, match=r"'pattern00' has 20 examples; 20 shots .* Choose at most 19 shots"):
        run_here(finetune_spec(patterns, shots=20))


def _examples(n: int, side: int, channels: int, unknown: int = 0) -> str:
    """A stored file of n images of each of two classes, and unlabelled ones of the first class."""
    parts = [pattern(0, n, side), pattern(1, n, side), pattern(0, unknown + 1, side, seed=9)[1:]]
    images = np.repeat(np.concatenate(parts)[..., None], channels, 3)
    codes = [0] * n + [1] * n + [examples.UNKNOWN] * unknown
    return examples.store(images, codes, ["left", "right"], [f"{place}.png" for place in range(len(images))])


def test_uploaded_images_beyond_the_shots_are_the_query_and_unknown_ones_are_predicted(
    patterns: Dataset, no_files: None
) -> None:
    sha256 = _examples(8, 16, 1, unknown=3)
    body, _ = fine_tune(finetune_spec(patterns, classes=(), examples=sha256, shots=5, initialisation=PROTONET))
    assert body["labels"] == ["left", "right"]
    assert [row["name"] for row in body["support"]] == [f"{n}.png" for k in range(5) for n in (k, 8 + k)]
    assert [row["actual"] for row in body["predictions"]] == [None] * 3 + ["left"] * 3 + ["right"] * 3
    assert [row["name"] for row in body["predictions"][:3]] == ["16.png", "17.png", "18.png"]
    assert [row["predicted"] for row in body["predictions"][:3]].count("left") >= 2
    assert np.array(body["confusion"]["counts"]).sum() == body["n_queries"] == 6


def test_without_query_images_there_is_no_accuracy(patterns: Dataset, no_files: None) -> None:
    sha256 = _examples(3, 16, 1, unknown=1)
    body, _ = fine_tune(finetune_spec(patterns, classes=(), examples=sha256, shots=5, initialisation=MAML))
    assert [step["accuracy"] for step in body["steps"]] == [None] * 6
    assert body["steps"][-1]["loss"] < body["steps"][0]["loss"]
    assert body["confusion"] is None
    assert len(body["predictions"]) == 1


def test_images_of_another_size_and_mode_are_converted_with_a_message(patterns: Dataset, no_files: None) -> None:
    sha256 = _examples(8, 32, 3)
    body, events = fine_tune(finetune_spec(patterns, classes=(), examples=sha256, shots=5, initialisation=PROTONET))
    assert "The images were resized from 32 x 32 to 16 x 16 pixels and made grey" in messages(events)
    assert body["steps"][-1]["accuracy"] > 0.8


def test_warnings_name_copies_of_support_images_and_images_in_two_classes(patterns: Dataset, no_files: None) -> None:
    images = np.concatenate([pattern(0, 3), pattern(1, 3), pattern(0, 1), pattern(1, 1)])[..., None]
    sha256 = examples.store(images, [0, 0, 0, 1, 1, 1, 0, 0], ["a", "b"], list("abcdefgh"))
    _, events = fine_tune(finetune_spec(patterns, classes=(), examples=sha256, shots=3, initialisation=PROTONET))
    assert "1 of the 2 query examples are copies of support examples" in messages(events)
    assert "'b' and 'a' have an example in common" in messages(events)


def test_one_class_or_one_without_images_is_refused(patterns: Dataset) -> None:
    one = examples.store(pattern(0, 3)[..., None], [0] * 3, ["only"], list("abc"))
    with pytest.raises(InputError, match="There is only one class"):
        run_here(finetune_spec(patterns, classes=(), examples=one))
    empty = examples.store(pattern(0, 3)[..., None], [0] * 3, ["some", "none"], list("abc"))
    with pytest.raises(InputError, match="'none' has no image to learn from"):
        run_here(finetune_spec(patterns, classes=(), examples=empty))
    with pytest.raises(InputError, match=r"is the only class\. Choose 2 or more"):
        run_here(finetune_spec(patterns, classes=LABELS[:1]))
    with pytest.raises(InputError, match="There is no stored file of examples"):
        run_here(finetune_spec(patterns, classes=(), examples="0" * 64))
