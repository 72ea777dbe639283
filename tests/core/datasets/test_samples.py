"""Samples: built-in datasets."""

from __future__ import annotations

import pytest

from core import datasets
from core.errors import InputError

SLOW = ("breast_cancer", "digits", "wine")  # tables of many columns; the others cover every task and images


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in sorted(datasets.SAMPLES)]
)
def test_a_sample_needs_no_file_and_is_added_only_once(home, name):
    dataset = datasets.add_sample(name, owner="ann")
    assert (dataset.task, dataset.target) == (datasets.SAMPLES[name].task, datasets.SAMPLES[name].target)
    assert (dataset.source, dataset.owner) == ("scikit-learn sample", "ann")
    assert datasets.add_sample(name) == dataset


def test_an_unknown_sample_is_refused(home):
    with pytest.raises(InputError, match="no sample 'mnist'"):
        datasets.add_sample("mnist")
