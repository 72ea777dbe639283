"""Meta-training as a job: from a registered dataset through the real runner to an initialisation and its score."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core import datasets, results
from core.datasets import Dataset
from core.errors import InputError
from core.queue import jobs, log
from core.results import initialisations
from core.specs import FewShotSpec
from runner import loop
from runner.fewshot import initialisation_file
from runner.fewshot.job import CHECKPOINT, run
from runner.fewshot.learning import checkpoint
from runner.fewshot.learning.algorithms import ALGORITHMS
from runner.fewshot.learning.meta_evaluation import evaluate
from runner.fewshot.training_setup import evaluation_tasks, set_up
from runner.shared.context import Context
from tests.runner.fewshot.small_datasets import register_signs

pytestmark = pytest.mark.torch


def _run(spec: FewShotSpec) -> int:
    job_id = jobs.submit(spec)
    assert loop.run_once("w") == job_id
    row = jobs.overview(job_id=job_id).iloc[0]
    assert (row.status, row.fraction, row.error) == ("succeeded", 1.0, None)
    return job_id


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["ProtoNet", "MAML"])
def test_a_meta_training_on_images_stores_an_initialisation_and_its_evaluations(signs: Dataset, algorithm: str) -> None:
    spec = FewShotSpec(
        dataset_id=signs.id, algorithm=algorithm, ways=3, queries=5, width=8, cpus=1, budget_s=60, iterations=60,
        test_episodes=100, outer_rate=0.01, multi_step_loss=algorithm == "MAML",
    )  # fmt: skip
    job_id = _run(spec)
    board = initialisations.leaderboard(signs.id)
    assert set(board.protocol) == {"inductive", "transductive"}
    assert set(board.metric) == {"accuracy"}
    assert (board.lower > 0.5).all()  # chance is a third
    assert ((board.lower < board.test) & (board.test < board.upper) | (board.test == 1)).all()
    assert (board.n_episodes == 100).all()
    assert (board.adapt_s > 0).all()
    curve = results.curve(job_id, "valid_accuracy")
    lower = results.curve(job_id, "valid_accuracy_lower")
    assert curve.step.iloc[-1] == 60
    assert (lower.value <= curve.value).all()
    assert len(results.curve(job_id, "train_loss")) >= 1
    stored = initialisations.get(job_id)
    one = initialisation_file.load(stored.path)
    assert (stored.algorithm, stored.network, stored.ways, stored.shots) == (algorithm, "Conv4-8", 3, 1)
    assert stored.n_parameters == one.n_parameters
    assert one.recipe == {"kind": "image", "shape": [12, 12, 1]}
    about = stored.about
    assert sorted(about["classes"] + about["held_out"]) == list(signs.labels)
    assert set(about["profile"]) == set(about["classes"])
    assert (about["kind"], about["n_rows"]) == ("image", 216)
    tasks = evaluation_tasks(set_up(signs, FewShotSpec(dataset_id=signs.id, ways=3, queries=2)).tasks)
    inductive = replace(one.inner, transductive=False)
    estimate = evaluate(one.network, one.weights, tasks, "test", ALGORITHMS[algorithm], inductive, 100)
    assert estimate.value == pytest.approx(board.set_index("protocol").test["inductive"], abs=0.01)


@pytest.mark.slow
def test_a_meta_training_on_a_table_has_no_transductive_side(table: Dataset) -> None:
    spec = FewShotSpec(
        dataset_id=table.id, algorithm="Reptile", ways=2, shots=3, queries=5, cpus=1, budget_s=60, iterations=100,
        test_episodes=100, width=16,
    )  # fmt: skip
    job_id = _run(spec)
    evaluation = initialisations.evaluations_of(job_id).iloc[0]
    assert (len(initialisations.evaluations_of(job_id)), evaluation.protocol, evaluation.network) == (
        1,
        "inductive",
        "MLP-16",
    )
    assert evaluation.lower > 0.7  # chance is a half
    columns = initialisation_file.load(initialisations.get(job_id).path).recipe["columns"]
    assert [column["name"] for column in columns] == ["size", "weight", "colour"]


@pytest.mark.slow
def test_a_meta_training_on_texts(texts: Dataset) -> None:
    spec = FewShotSpec(
        dataset_id=texts.id, ways=3, shots=3, queries=5, cpus=1, budget_s=60, iterations=60, test_episodes=100,
        width=16, outer_rate=0.01,
    )  # fmt: skip
    job_id = _run(spec)
    evaluation = initialisations.leaderboard(texts.id).iloc[0]
    assert evaluation.network == "TextMean-16"
    assert evaluation.lower > 0.5  # chance is a third
    assert initialisation_file.load(initialisations.get(job_id).path).recipe["kind"] == "text"


@pytest.mark.slow
def test_sine_waves_are_learned_from_a_few_points(sine_waves: Dataset) -> None:
    dataset = sine_waves
    spec = FewShotSpec(
        dataset_id=dataset.id, algorithm="Reptile", group="wave", shots=10, queries=10, cpus=1, budget_s=60,
        iterations=1500, test_episodes=200, width=40,
    )  # fmt: skip
    job_id = _run(spec)
    evaluation = initialisations.evaluations_of(job_id).iloc[0]
    assert (evaluation.metric, evaluation.protocol) == ("mse", "inductive")
    deviation = datasets.load(dataset)[dataset.target_column.key].std()
    assert evaluation.upper < 0.5 * deviation**2  # in the unit of y; the mean of all waves has all of it
    errors = results.curve(job_id, "valid_error")
    assert errors.value.iloc[-1] < 0.5 * deviation**2
    about = initialisations.get(job_id).about
    assert about["kind"] == "waves"
    assert len(about["classes"]) + len(about["held_out"]) == 500
    assert about["inputs"]["group"] == "wave"


def _saved(home: Path, job_id: int, thread: threading.Thread, attempt: int = 1) -> Path:
    """The checkpoint of a running attempt, once it is there."""
    path = home / "jobs" / f"{job_id}-{attempt}" / CHECKPOINT
    while not path.exists():
        assert thread.is_alive()
        time.sleep(0.05)
    return path


def _served() -> threading.Thread:
    thread = threading.Thread(target=loop.serve, kwargs={"drain": True})
    thread.start()
    return thread


@pytest.mark.slow
def test_a_meta_training_that_is_killed_resumes_from_its_checkpoint(home: Path, signs: Dataset) -> None:
    import psutil

    spec = FewShotSpec(dataset_id=signs.id, ways=3, queries=5, width=8, cpus=1, budget_s=30, test_episodes=50)
    job_id = jobs.submit(spec)
    thread = _served()
    path = _saved(home, job_id, thread)
    supervisor = psutil.Process(int(path.with_name("alive.lock").read_text()))
    [process] = [p for p in supervisor.children() if "runner.child" in p.cmdline()]
    process.kill()
    thread.join()
    assert (jobs.get(job_id).status, jobs.get(job_id).attempt) == ("succeeded", 2)
    assert "The meta-training resumes after" in " ".join(log.messages(job_id).text)
    first, second = checkpoint.load(path), checkpoint.load(home / "jobs" / f"{job_id}-2" / CHECKPOINT)
    assert second.iteration > first.iteration > 0
    assert second.spent_s > first.spent_s
    assert len(initialisations.leaderboard(signs.id)) == 2  # protocols, of one job


@pytest.mark.slow
def test_a_meta_training_can_be_paused_and_resumed(home: Path, signs: Dataset) -> None:
    spec = FewShotSpec(dataset_id=signs.id, ways=3, queries=5, width=8, cpus=1, budget_s=25, test_episodes=50)
    job_id = jobs.submit(spec)
    thread = _served()
    path = _saved(home, job_id, thread)
    jobs.request_pause(job_id)
    thread.join()
    assert jobs.get(job_id).status == "paused"
    assert len(initialisations.evaluations_of(job_id)) == 0
    jobs.resume(job_id)
    _served().join()
    assert (jobs.get(job_id).status, jobs.get(job_id).attempt) == ("succeeded", 2)
    later = checkpoint.load(home / "jobs" / f"{job_id}-2" / CHECKPOINT)
    assert later.iteration > checkpoint.load(path).iteration
    assert len(initialisations.evaluations_of(job_id)) == 2


@pytest.mark.slow
def test_a_meta_training_that_is_cancelled_stores_no_initialisation(home: Path, signs: Dataset) -> None:
    job_id = jobs.submit(FewShotSpec(dataset_id=signs.id, ways=3, queries=5, width=8, cpus=1, budget_s=600))
    thread = _served()
    while len(results.curve(job_id, "train_loss")) == 0:
        assert thread.is_alive()
        time.sleep(0.1)
    jobs.request_cancel(job_id)
    thread.join()
    assert jobs.get(job_id).status == "cancelled"
    assert initialisations.all_initialisations() == []


def _context(dataset: Dataset, directory: Path, attempt: int = 1) -> Context:
    (directory / f"9-{attempt}").mkdir(exist_ok=True)
    return Context(9, attempt, dataset, directory / f"9-{attempt}", 1, 0, lambda: False)


@pytest.mark.slow
def test_a_checkpoint_of_other_data_is_refused(signs: Dataset, tmp_path: Path) -> None:
    spec = FewShotSpec(
        dataset_id=signs.id, ways=3, queries=5, width=8, cpus=1, budget_s=60, iterations=4, test_episodes=10
    )
    assert list(run(spec, _context(signs, tmp_path)))
    other = register_signs(tmp_path / "other.npz", each=11)
    with pytest.raises(InputError, match=r"another dataset .* start a new training"):
        list(run(spec, _context(other, tmp_path, 2)))


def test_a_missing_gpu_is_an_error(signs: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="gpus: This machine has no GPU"):
        list(run(FewShotSpec(dataset_id=signs.id, gpus=1), Context(1, 1, signs, Path("/nowhere"), 1, 1, lambda: False)))
