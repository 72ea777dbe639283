"""A dataset as tensors."""

from __future__ import annotations

import pytest
import torch

from core.datasets import Dataset
from runner.nas.space.spaces import TableSpace
from runner.nas.tensors import prepare
from runner.shared.input_scaling import Columns

pytestmark = pytest.mark.torch


def test_a_missing_number_gets_a_flag_and_an_unseen_category_its_own_code(dataset: Dataset) -> None:
    ready = prepare(dataset)
    assert isinstance(ready.space, TableSpace)
    assert (ready.space.numeric, ready.space.categories, ready.space.outputs) == (2, (4,), 2)
    x, y = ready.pair("train")
    assert abs(float(x[:, 0].mean())) < 1e-5
    assert abs(float(x[:, 0].std(correction=0)) - 1) < 1e-5
    assert set(x[:, 2].tolist()) == {1.0, 2.0, 3.0}
    assert y.dtype == torch.int64
    scaling = Columns(2, [1], 3)
    scaling.step[0] = 4.0
    found = scaling(torch.tensor([[3.0, float("nan"), 0.0]], dtype=torch.float64))
    assert found.tolist() == [[3.0, 0.0, pytest.approx(0.85), pytest.approx(-1.7), 1.0, 0.0]]
