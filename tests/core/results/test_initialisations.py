"""Initialisations, their evaluations and adaptations in the store."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from core import results
from core.__main__ import main
from core.datasets import Dataset
from core.errors import InputError
from core.events import Adapted, Evaluation, Initialised
from core.queue import jobs
from core.results import initialisations
from core.specs import FewShotSpec, FineTuneSpec
from tests.core.results.small_store import meta_trained, signs, waves

__all__ = ["signs"]  # a fixture

EVALUATION = Evaluation("MAML", "Conv4-64", 5, 1, "inductive", "accuracy", 0.8, 0.78, 0.77, 0.79, 500, 0.02)


def test_an_initialisation_and_its_evaluations_are_read_back(signs: Dataset, tmp_path: Path) -> None:
    job = meta_trained(signs, tmp_path, EVALUATION, replace(EVALUATION, protocol="transductive", valid=0.9))
    one = initialisations.get(job.id)
    assert one.path.read_bytes() == f"weights of {job.id}".encode()
    assert (one.dataset, one.algorithm, one.ways, one.n_parameters) == ("signs", "MAML", 5, 113_000)
    assert one.about["profile"] == {"sign 00": [0.5, None]}
    assert initialisations.all_initialisations() == [one]
    assert list(initialisations.evaluations_of(job.id).protocol) == ["inductive", "transductive"]
    with pytest.raises(InputError, match="initialisation: Job 99 has no initialisation"):
        initialisations.get(99)


def test_the_leaderboard_ranks_by_validation_score_within_ways_and_shots(signs: Dataset, tmp_path: Path) -> None:
    first = meta_trained(signs, tmp_path, EVALUATION, replace(EVALUATION, shots=5, valid=0.95))
    second = meta_trained(signs, tmp_path, replace(EVALUATION, valid=0.85, test=0.5))
    board = initialisations.leaderboard(signs.id)
    assert list(zip(board.shots, board.job_id, strict=True)) == [(1, second.id), (1, first.id), (5, first.id)]
    assert set(board.owner) == {"ada"}
    assert len(initialisations.leaderboard(signs.id, ways=5, shots=5, protocol="inductive")) == 1
    assert len(initialisations.leaderboard(signs.id, protocol="transductive")) == 0
    error = replace(EVALUATION, metric="mse", ways=1)
    low, high = (
        meta_trained(waves(), tmp_path, replace(error, valid=v), group="wave", algorithm="MAML") for v in (0.3, 2.0)
    )
    assert list(initialisations.leaderboard(waves().id).job_id) == [low.id, high.id]


def test_the_results_of_a_second_attempt_hide_those_of_the_first(signs: Dataset, tmp_path: Path) -> None:
    jobs.submit(FewShotSpec(dataset_id=signs.id))
    for attempt in (1, 2):
        job = jobs.claim("w")
        assert job is not None
        file = tmp_path / "meta.safetensors"
        file.write_bytes(str(attempt).encode())
        event = Initialised(str(file), "MAML", "Conv4-64", 5, 1, attempt, {})
        results.record(job, [event, replace(EVALUATION, valid=attempt / 10)])
        if attempt == 1:
            jobs.requeue(job, "the machine went down")
    assert initialisations.get(job.id).n_parameters == 2
    assert list(initialisations.leaderboard(signs.id).valid) == [0.2]


def test_an_adaptation_is_read_back(signs: Dataset) -> None:
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
    job = meta_trained(signs, tmp_path, EVALUATION)
    assert main(["fewshot", "signs", "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert (row["job_id"], row["test"], row["protocol"]) == (job.id, 0.78, "inductive")
    assert main(["fewshot", "signs"]) == 0
    assert capsys.readouterr().out.split()[:3] == ["algorithm", "network", "ways"]
    assert main(["fewshot", "nothing"]) == 1
