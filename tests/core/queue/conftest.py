"""A search on the small dataset."""

from __future__ import annotations

import pytest

from core import datasets
from core.specs import NASSpec


@pytest.fixture
def search(dataset: datasets.Dataset) -> NASSpec:
    return NASSpec(dataset_id=dataset.id, budget_s=60, max_candidates=16)
