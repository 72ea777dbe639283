"""Specs: JSON, and the errors of wrong fields."""

from __future__ import annotations

import pytest

from core import specs
from core.errors import InputError
from core.specs import AutoMLSpec


def test_a_spec_is_the_same_after_json() -> None:
    spec = AutoMLSpec(dataset_id=3, budget_s=90, algorithms=("GBM", "GLM"), metric="auc", folds=0, note="try 🎈")
    assert specs.parse(specs.to_json(spec)) == spec


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"budget_s": 3}, r"budget_s.*10 \(given: 3\)"),
        ({"budget_s": "soon"}, "budget_s.*soon"),
        ({"budget_s": float("nan")}, "budget_s"),
        ({"algorithms": ["Magic"]}, "algorithms.*Magic"),
        ({"algorithms": []}, "algorithms: Nothing is selected. Choose at least one"),
        ({"algorithms": ["StackedEnsemble"]}, "Add one more algorithm"),
        ({"folds": 1}, "folds: Cross-validation needs at least 2 folds"),
        ({"metric": "elegance"}, "metric.*elegance"),
        ({"seed": -1}, "seed.*-1"),
        ({"cpus": 0}, "cpus.*0"),
        ({"note": "x" * 501}, "note.*500"),
        ({"budget": 60}, "budget: There is no such field"),
        ({"dataset_id": None}, "dataset_id"),
        ({"kind": "magic"}, "magic"),
        ({"cpus": True}, r"cpus: True is not a number"),
        ({"folds": False, "budget_s": True}, r"budget_s: .* folds: "),
        ({"kind": "nas", "max_latency_s": True}, "max_latency_s: True is not a number"),
        ({"kind": "portfolio", "candidate_s": True}, "candidate_s: True is not a number"),
    ],
)
def test_a_wrong_field_is_named_with_its_value(change: dict[str, object], text: str) -> None:
    with pytest.raises(InputError, match=text):
        specs.parse({"kind": "automl", "dataset_id": 1, **change})


def test_true_and_false_are_accepted_for_a_boolean_field() -> None:
    spec = specs.parse('{"kind": "automl", "dataset_id": 1, "balance_classes": true}')
    assert isinstance(spec, AutoMLSpec)
    assert spec.balance_classes is True


def test_invalid_json_is_an_input_error() -> None:
    with pytest.raises(InputError, match="Invalid JSON"):
        specs.parse("{not json")
