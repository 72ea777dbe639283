"""Which few-shot jobs are refused when they are submitted, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core import specs
from core.datasets import Dataset
from core.errors import InputError
from core.queue import jobs
from core.specs import FewShotSpec, FineTuneSpec
from tests.core.results.small_store import meta_trained, signs, waves

__all__ = ["signs"]  # a fixture


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({"inner_steps": 3}, "ProtoNet has no inner steps. Leave inner_steps and inner_rate empty"),
        ({"algorithm": "Reptile", "learned_rates": True}, "Reptile does not learn inner rates .* Choose MAML"),
        ({"network": "pretrained"}, "backbone: Pretrained weights belong to the network 'pretrained'"),
        ({"gpus": 2}, "Meta-training uses one GPU, not 2. Choose 1, or 0"),
        ({"ways": 1}, r"ways: Input should be greater than or equal to 2 \(given: 1\)"),
        ({"ways": True}, "ways: True is not a number"),
        ({"algorithm": "Magic"}, r"algorithm: .* \(given: 'Magic'\)"),
    ],
)
def test_contradictory_settings_are_refused(choices: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        specs.parse({"kind": "fewshot", "dataset_id": 1, **choices})


def test_a_job_that_does_not_fit_its_dataset_is_refused_at_submission(signs: Dataset) -> None:
    def error(**choices: Any) -> str:
        with pytest.raises(InputError) as caught:
            jobs.submit(FewShotSpec(**{"dataset_id": signs.id, **choices}))
        return str(caught.value)

    assert "has 15 in all. Choose at most 5" in error(ways=6)
    assert "Leave it empty" in error(group="label")
    assert "5 classes of 'signs' cannot give 4 shots and one query each. Choose at most 3." in error(shots=4)
    regression = waves().id
    assert "'hue' is not a feature of" in error(dataset_id=regression, group="hue", algorithm="MAML")
    assert "Choose one of wave, x." in error(dataset_id=regression, algorithm="MAML")
    assert "ProtoNet predicts classes only" in error(dataset_id=regression, group="wave")
    assert jobs.counts() == {}


def test_a_fine_tuning_needs_existing_classes_and_a_meta_training_and_goes_first(
    signs: Dataset, tmp_path: Path
) -> None:
    for choices, sentence in (
        ({"classes": ("sign 00", "sign 99")}, "'sign 99' is not a class of 'signs'. Choose from its 15"),
        ({"classes": ("sign 00",)}, "is the only class. Choose 2 or more"),
    ):
        with pytest.raises(InputError, match=sentence):
            jobs.submit(FineTuneSpec(dataset_id=signs.id, **choices))
    trained = meta_trained(signs, tmp_path)
    slow = jobs.submit(FewShotSpec(dataset_id=signs.id), priority=9)
    spec = FineTuneSpec(dataset_id=signs.id, classes=("sign 00", "sign 01"), initialisation=trained.id)
    quick = jobs.submit(spec)
    with pytest.raises(InputError, match=f"initialisation: Job {quick} is not a meta-training"):
        jobs.submit(spec.model_copy(update={"initialisation": quick}))
    assert [job.id for job in (jobs.claim("w", cpus=0), jobs.claim("w", cpus=2)) if job] == [quick, slow]
