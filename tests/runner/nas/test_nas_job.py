"""A search as a job: killed, extended, continued, and refused."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import psutil
import pytest
import torch

from core import datasets, results, specs
from core.datasets import Dataset
from core.errors import InputError
from core.events import Event, Metric, TrialDone
from core.queue import jobs, log
from core.specs import NASSpec
from runner import loop
from runner.nas.job import run
from runner.nas.search import search_state
from runner.shared.context import Context
from tests.runner.nas.jobs import run_job, trials

pytestmark = pytest.mark.torch


def test_a_gpu_that_is_not_there_is_no_silent_fall_back(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    dataset = datasets.add_sample("iris")
    context = Context(1, 1, dataset, home, 1, 1, lambda: False)
    with pytest.raises(InputError, match=r"gpus: This machine has no GPU that torch can use\. Choose 0\."):
        list(run(NASSpec(dataset_id=dataset.id, gpus=1), context))


@pytest.mark.slow
def test_a_limit_that_nothing_meets_is_reported_with_the_smallest_size(home: Path) -> None:
    dataset = datasets.add_sample("iris")
    job_id = run_job(NASSpec(dataset_id=dataset.id, budget_s=10, max_parameters=5))
    assert jobs.overview(job_id=job_id).error[0].startswith("Maximum parameters: Of 2,000 architectures none has 5 ")


@pytest.mark.slow
def test_a_job_killed_in_its_search_ends_with_the_trials_of_one_that_was_not(home: Path, tmp_path: Path) -> None:
    dataset = datasets.add_sample("digits_images")
    spec = NASSpec(
        dataset_id=dataset.id, cpus=1, budget_s=3600, max_candidates=4, finalists=1, epochs=1, strategy="random"
    )
    job_id = jobs.submit(spec)
    thread = threading.Thread(target=loop.serve, kwargs={"drain": True})
    thread.start()
    saved = home / "jobs" / f"{job_id}-1" / search_state.CHECKPOINT
    while not (saved.exists() and (climb := search_state.load(saved).generation) and climb.rungs):
        assert thread.is_alive()
        time.sleep(0.05)
    supervisor = psutil.Process(int(saved.with_name("alive.lock").read_text()))
    [process] = [p for p in supervisor.children() if "runner.child" in p.cmdline()]
    process.kill()
    thread.join()
    assert (jobs.get(job_id).status, jobs.get(job_id).attempt) == ("succeeded", 2)
    assert "resumes from its checkpoint" in " ".join(log.messages(job_id).text)
    reported = _uninterrupted(spec, dataset, search_state.load(saved), tmp_path)
    errors = {(e.candidate, e.step): e.value for e in reported if isinstance(e, Metric) and e.name == "valid_error"}
    curves = {name: results.curve(job_id, "valid_error", candidate=name) for name in {name for name, _ in errors}}
    assert {(name, row.step): row.value for name, found in curves.items() for row in found.itertuples()} == errors
    (trial,), (other,) = trials(job_id), [e for e in reported if isinstance(e, TrialDone)]
    assert trial.candidate == other.candidate
    assert list(trial.scores.test) == [score.test for score in other.scores]


def _uninterrupted(spec: NASSpec, dataset: Dataset, state: search_state.SearchState, directory: Path) -> list[Event]:
    """Run the same search without interruption, with the same training plans, which vary by timing."""
    kept = {name: getattr(state, name) for name in ("generation_size", "epoch_rows", "epoch_s", "plans", "identity")}
    for attempt in ("9-1", "9-2"):
        (directory / attempt).mkdir()
    search_state.save(search_state.SearchState(**kept), directory / "9-1" / search_state.CHECKPOINT)
    return list(run(spec, Context(9, 2, dataset, directory / "9-2", 1, 0, lambda: False)))


@pytest.mark.slow
def test_an_extended_search_adds_new_trials_and_repeats_none(home: Path) -> None:
    dataset = datasets.add_sample("iris")
    first = run_job(
        NASSpec(dataset_id=dataset.id, budget_s=60, max_candidates=4, finalists=2, epochs=3, strategy="random")
    )
    second = jobs.extend(first, more_candidates=4)
    assert loop.run_once("w") == second
    board = results.leaderboard(dataset.id)
    assert board.groupby("job_id").size().to_dict() == {first: 2, second: 2}
    assert board.candidate.is_unique
    found = results.candidates(second).set_index("candidate")
    assert found.trial_id.dropna().to_dict() == board.set_index("candidate").trial_id.to_dict()


@pytest.mark.slow
def test_a_search_with_nothing_to_continue_and_one_of_another_dataset_say_so(home: Path) -> None:
    iris, wine = datasets.add_sample("iris"), datasets.add_sample("wine")
    lost = NASSpec(dataset_id=iris.id, continues=7)
    with pytest.raises(InputError, match="continues: There is no checkpoint of job 7"):
        list(run(lost, Context(8, 1, iris, home / "jobs" / "8-1", 1, 0, lambda: False)))
    saved = home / "jobs" / "7-1" / search_state.CHECKPOINT
    saved.parent.mkdir(parents=True)
    search_state.save(search_state.SearchState(identity={"dataset": wine.fingerprint}), saved)
    (home / "jobs" / "8-1").mkdir()
    with pytest.raises(InputError, match="another dataset"):
        list(run(lost, Context(8, 1, iris, home / "jobs" / "8-1", 1, 0, lambda: False)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"budget_s": 3}, r"budget_s.*10 \(given: 3\)"),
        ({"max_candidates": 2}, "max_candidates.*2"),
        ({"strategy": "magic"}, "strategy.*magic"),
        ({"gpus": 2}, "gpus: A search uses one GPU, not 2"),
        ({"finalists": 9, "max_candidates": 8}, "finalists: 9 finalists are more than the 8 candidates"),
        ({"max_parameters": 0}, "max_parameters.*0"),
        ({"epochs": 0}, "epochs.*0"),
    ],
)
def test_a_wrong_field_of_a_search_is_named_with_its_value(change: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        specs.parse(json.dumps({"kind": "nas", "dataset_id": 1, **change}))


def test_a_search_takes_every_kind_of_dataset_and_no_metric_of_another_task(home: Path) -> None:
    dataset = datasets.add_sample("digits_images")
    assert jobs.submit(NASSpec(dataset_id=dataset.id)) == 1
    with pytest.raises(InputError, match="rmse"):
        jobs.submit(NASSpec(dataset_id=dataset.id, metric="rmse"))
