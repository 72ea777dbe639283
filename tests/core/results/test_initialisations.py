"""What few-shot jobs may be asked for, and what they leave in the store."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core import datasets, results, specs
from core.__main__ import main
from core.datasets import Dataset
from core.errors import InputError
from core.events import Adapted, Evaluation, Event, Initialised
from core.queue import jobs
from core.queue.jobs import Job
from core.results import initialisations
from core.specs import FewShotSpec, FineTuneSpec

WORTH = Evaluation("MAML", "Conv4-64", 5, 1, "inductive", "accuracy", 0.8, 0.78, 0.77, 0.79, 500, 0.02)


@pytest.fixture
def signs(home: Path, tmp_path: Path) -> Dataset:
    """15 classes of four small images."""
    values = np.random.default_rng(0).integers(0, 256, (60, 4, 4), np.uint8)
    np.savez(tmp_path / "signs.npz", x=values, y=np.repeat([f"sign {c:02}" for c in range(15)], 4))
    return datasets.register_images(tmp_path / "signs.npz", name="signs")


def _done(dataset: Dataset, directory: Path, *more: Event, **choices: Any) -> Job:
    """A meta-training that has left an initialisation and more."""
    jobs.submit(FewShotSpec(dataset_id=dataset.id, **choices), user="ada")
    job = jobs.claim("w")
    assert job is not None
    file = directory / f"{job.id}.safetensors"
    file.write_bytes(f"weights of {job.id}".encode())
    about = {"kind": "image", "classes": ["sign 00"], "profile": {"sign 00": [0.5, float("nan")]}}
    left = Initialised(str(file), "MAML", "Conv4-64", 5, 1, 113_000, about)
    assert results.record(job, [left, *more])
    jobs.finish(job, "succeeded")
    return job


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
def test_a_spec_that_makes_no_sense_is_refused(choices: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        specs.parse({"kind": "fewshot", "dataset_id": 1, **choices})


def test_a_job_that_does_not_fit_its_dataset_is_refused_at_submission(signs: Dataset) -> None:
    def told(**choices: Any) -> str:
        with pytest.raises(InputError) as caught:
            jobs.submit(FewShotSpec(**{"dataset_id": signs.id, **choices}))
        return str(caught.value)

    assert "has 15 in all. Choose at most 5" in told(ways=6)
    assert "Leave it empty" in told(group="label")
    assert "5 classes of 'signs' cannot give 4 shots and one query each. Choose at most 3." in told(shots=4)
    waves = datasets.add_sample("sine_waves").id
    assert "'hue' is not a feature of" in told(dataset_id=waves, group="hue", algorithm="MAML")
    assert "Choose one of wave, x." in told(dataset_id=waves, algorithm="MAML")
    assert "ProtoNet predicts classes only" in told(dataset_id=waves, group="wave")
    assert jobs.counts() == {}


def test_a_fine_tuning_asks_for_what_there_is_and_goes_first(signs: Dataset, tmp_path: Path) -> None:
    for choices, sentence in (
        ({"classes": ("sign 00", "sign 99")}, "'sign 99' is not a class of 'signs'. Choose from its 15"),
        ({"classes": ("sign 00",)}, "is the only class. Choose 2 or more"),
    ):
        with pytest.raises(InputError, match=sentence):
            jobs.submit(FineTuneSpec(dataset_id=signs.id, **choices))
    trained = _done(signs, tmp_path)
    slow = jobs.submit(FewShotSpec(dataset_id=signs.id), priority=9)
    wanted = FineTuneSpec(dataset_id=signs.id, classes=("sign 00", "sign 01"), initialisation=trained.id)
    quick = jobs.submit(wanted)
    with pytest.raises(InputError, match=f"initialisation: Job {quick} is not a meta-training"):
        jobs.submit(wanted.model_copy(update={"initialisation": quick}))
    assert [job.id for job in (jobs.claim("w", cpus=0), jobs.claim("w", cpus=2)) if job] == [quick, slow]


def test_an_initialisation_and_its_worth_are_read_back(signs: Dataset, tmp_path: Path) -> None:
    job = _done(signs, tmp_path, WORTH, replace(WORTH, protocol="transductive", valid=0.9))
    one = initialisations.get(job.id)
    assert one.path.read_bytes() == f"weights of {job.id}".encode()
    assert (one.dataset, one.algorithm, one.ways, one.n_parameters) == ("signs", "MAML", 5, 113_000)
    assert one.about["profile"] == {"sign 00": [0.5, None]}
    assert initialisations.all_initialisations() == [one]
    assert list(initialisations.evaluations_of(job.id).protocol) == ["inductive", "transductive"]
    with pytest.raises(InputError, match="initialisation: Job 99 has no initialisation"):
        initialisations.get(99)


def test_the_leaderboard_ranks_by_the_valid_classes_within_ways_and_shots(signs: Dataset, tmp_path: Path) -> None:
    first = _done(signs, tmp_path, WORTH, replace(WORTH, shots=5, valid=0.95))
    second = _done(signs, tmp_path, replace(WORTH, valid=0.85, test=0.5))
    board = initialisations.leaderboard(signs.id)
    assert list(zip(board.shots, board.job_id, strict=True)) == [(1, second.id), (1, first.id), (5, first.id)]
    assert set(board.owner) == {"ada"}
    assert len(initialisations.leaderboard(signs.id, ways=5, shots=5, protocol="inductive")) == 1
    assert len(initialisations.leaderboard(signs.id, protocol="transductive")) == 0
    waves = datasets.add_sample("sine_waves")
    error = replace(WORTH, metric="mse", ways=1)
    low, high = (_done(waves, tmp_path, replace(error, valid=v), group="wave", algorithm="MAML") for v in (0.3, 2.0))
    assert list(initialisations.leaderboard(waves.id).job_id) == [low.id, high.id]


def test_what_a_second_attempt_leaves_counts_and_the_first_one_is_hidden(signs: Dataset, tmp_path: Path) -> None:
    jobs.submit(FewShotSpec(dataset_id=signs.id))
    for attempt in (1, 2):
        job = jobs.claim("w")
        assert job is not None
        file = tmp_path / "meta.safetensors"
        file.write_bytes(str(attempt).encode())
        left = Initialised(str(file), "MAML", "Conv4-64", 5, 1, attempt, {})
        results.record(job, [left, replace(WORTH, valid=attempt / 10)])
        if attempt == 1:
            jobs.requeue(job, "the machine went down")
    assert initialisations.get(job.id).n_parameters == 2
    assert list(initialisations.leaderboard(signs.id).valid) == [0.2]


def test_an_adaptation_is_kept_as_it_was_told(signs: Dataset) -> None:
    jobs.submit(FineTuneSpec(dataset_id=signs.id, classes=("sign 00", "sign 01")))
    job = jobs.claim("w")
    assert job is not None
    assert initialisations.adaptation(job.id) is None
    results.record(job, [Adapted({"labels": ["sign 00", "sign 01"], "steps": [{"step": 0, "loss": float("nan")}]})])
    assert initialisations.adaptation(job.id) == {
        "labels": ["sign 00", "sign 01"],
        "steps": [{"step": 0, "loss": None}],
    }


def test_a_script_reads_the_few_shot_leaderboard(
    signs: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"kind": "fewshot", "dataset_id": signs.id, "algorithm": "MAML", "budget_s": 30}))
    assert main(["submit", str(spec)]) == 0
    jobs.request_cancel(int(capsys.readouterr().out))
    assert main(["fewshot", "signs"]) == 0
    assert capsys.readouterr().out == "none\n"
    job = _done(signs, tmp_path, WORTH)
    assert main(["fewshot", "signs", "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert (row["job_id"], row["test"], row["protocol"]) == (job.id, 0.78, "inductive")
    assert main(["fewshot", "signs"]) == 0
    assert capsys.readouterr().out.split()[:3] == ["algorithm", "network", "ways"]
    assert main(["fewshot", "nothing"]) == 1
