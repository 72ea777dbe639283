"""Meta-training: it learns, resumes where it stopped, and explains its errors."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.events import Metric, Progress
from runner.fewshot.learning import checkpoint
from runner.fewshot.learning.algorithms import ALGORITHMS
from runner.fewshot.learning.episodes import ClassTasks, SinusoidTasks, split_classes
from runner.fewshot.learning.inner_loop import Inner, adapt, losses
from runner.fewshot.learning.meta_evaluation import evaluate
from runner.fewshot.learning.meta_training import (
    CheckpointMismatch,
    Divergence,
    MetaTrainingSettings,
    add_statistics,
    meta_train,
)
from runner.fewshot.learning.task_networks import MLP, Conv4, initial_weights, outputs

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[4]
WAVES = SinusoidTasks(shots=5, queries=5)
SHORT = MetaTrainingSettings(iterations=12, meta_batch=4, valid_every=4, valid_episodes=8, inner=Inner(2, 0.01))


def _patterns() -> ClassTasks:
    """Classes of noise images that share a pattern."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.rand(30, 1, 1, 12, 12, generator=generator)
    images = (0.8 * patterns + 0.2 * torch.rand(30, 8, 1, 12, 12, generator=generator)).mul(255).byte()
    splits = split_classes([str(c) for c in range(30)], seed=0, valid=0.2)
    labels = torch.arange(30).repeat_interleave(8)
    return ClassTasks(images.flatten(0, 1), labels, splits, ways=3, shots=1, queries=5, rotations=True)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_learns_and_reports(name: str, tmp_path: Path) -> None:
    tasks, network = _patterns(), Conv4(1, 3, width=8)
    usual = ALGORITHMS[name].inner
    settings = MetaTrainingSettings(name, iterations=20, meta_batch=4, rate=1e-2, valid_every=10, valid_episodes=20)
    events = list(meta_train(network, tasks, settings, tmp_path / "meta.pt"))
    names = [event.name for event in events if isinstance(event, Metric)]
    assert names == ["train_loss", "valid_accuracy", "valid_accuracy_lower", "valid_accuracy_upper"] * 2
    assert any(isinstance(event, Progress) for event in events)
    best = checkpoint.load(tmp_path / "meta.pt").best
    estimate = evaluate(network, best, tasks, "test", ALGORITHMS[name], usual, 40)
    assert estimate.n_episodes == 40
    assert estimate.lower <= estimate.value <= estimate.upper
    assert estimate.lower > 0.45  # chance is a third


@pytest.mark.parametrize("name", ["MAML", "Reptile"])
def test_a_resumed_training_ends_where_an_uninterrupted_one_does(name: str, tmp_path: Path) -> None:
    settings = replace(SHORT, algorithm=name, inner=replace(SHORT.inner, learned_rates=name == "MAML"))
    whole, part = tmp_path / "whole.pt", tmp_path / "part.pt"
    events = list(meta_train(MLP(), WAVES, settings, whole))
    looks = iter([False] * 6)
    list(meta_train(MLP(), WAVES, settings, part, cancelled=lambda: next(looks, True)))
    assert checkpoint.load(part).iteration == 6
    again = list(meta_train(MLP(), WAVES, settings, part, previous=part))
    one, other = checkpoint.load(whole), checkpoint.load(part)
    for name, value in one.meta.items():
        assert torch.equal(value, other.meta[name]), name
        assert torch.equal(one.best[name], other.best[name]), name
    curve = [event for event in events if isinstance(event, Metric) and event.step > 6]
    assert [event for event in again if isinstance(event, Metric)] == curve


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "meta.pt"
    list(meta_train(MLP(), WAVES, replace(SHORT, iterations=4), path))
    with pytest.raises(CheckpointMismatch, match=r"another network \(MLP.*not MLP.*Choose the same"):
        list(meta_train(MLP(width=8), WAVES, replace(SHORT, iterations=4), path, previous=path))


def test_a_training_that_diverges_says_which_rate_to_lower(tmp_path: Path) -> None:
    wild = replace(SHORT, inner=Inner(20, 1e6))
    with pytest.raises(Divergence, match=r"inner rate below 1000000\.0"):
        list(meta_train(MLP(), WAVES, wild, tmp_path / "meta.pt"))


def test_a_budget_of_no_time_trains_nothing(tmp_path: Path) -> None:
    assert list(meta_train(MLP(), WAVES, replace(SHORT, budget_s=1e-9), tmp_path / "meta.pt")) == []


@pytest.mark.slow
def test_a_large_meta_batch_of_many_ways_needs_less_than_a_gibibyte(tmp_path: Path) -> None:
    code = f"""
import re, torch
from pathlib import Path
from runner.fewshot.learning.episodes import ClassTasks
from runner.fewshot.learning.task_networks import Conv4
from runner.fewshot.learning.meta_training import MetaTrainingSettings, meta_train
torch.set_num_threads(1)
labels = torch.arange(100).repeat_interleave(4)
splits = {{"train": range(60), "valid": range(60, 80), "test": range(80, 100)}}
tasks = ClassTasks(torch.randint(256, (400, 1, 28, 28)).byte(), labels, splits, ways=20, queries=1)
settings = MetaTrainingSettings("MAML", iterations=1, meta_batch=64, valid_every=1, valid_episodes=2)
list(meta_train(Conv4(1, 20), tasks, settings, Path({str(tmp_path / "meta.pt")!r})))
# Not getrusage, whose maximum begins with that of the process that started this one.
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert 2**27 < int(out.stdout) < 2**30


@pytest.mark.parametrize("name", ["ProtoNet", "ANIL"])
def test_features_computed_once_give_the_same_accuracy_as_features_computed_in_each_task(name: str) -> None:
    tasks, network, algorithm = _patterns(), Conv4(1, 3, width=8), ALGORITHMS[name]
    meta = add_statistics(network, initial_weights(network, 0), tasks, MetaTrainingSettings(name))
    estimate = evaluate(network, meta, tasks, "test", algorithm, algorithm.inner, 30, tasks_at_once=7)
    batch = tasks.batch("test", 0, 30)
    right = algorithm.outputs(network, meta, batch, algorithm.inner).argmax(2) == batch.query_y
    assert abs(estimate.value - float(right.double().mean())) < 1e-6
    assert 0.4 < estimate.value < 1


def test_an_evaluation_past_its_deadline_stops_once_it_has_enough_episodes() -> None:
    meta = initial_weights(MLP(), 0)
    estimate = evaluate(
        MLP(), meta, WAVES, "test", ALGORITHMS["MAML"], Inner(1, 0.01), 200, tasks_at_once=20, deadline=0.0
    )
    assert estimate.n_episodes == 60
    assert estimate == evaluate(MLP(), meta, WAVES, "test", ALGORITHMS["MAML"], Inner(1, 0.01), 60, tasks_at_once=20)


def test_an_interval_needs_two_episodes() -> None:
    with pytest.raises(ValueError, match="1 episodes give no interval"):
        evaluate(MLP(), {}, WAVES, "test", ALGORITHMS["MAML"], Inner(), 1)


@pytest.mark.slow
def test_maml_adapts_to_a_sine_wave_in_one_step_and_joint_training_does_not(tmp_path: Path) -> None:
    network, tasks = MLP(), SinusoidTasks(shots=10, queries=10)
    settings = MetaTrainingSettings(iterations=1500, meta_batch=25, rate=3e-3, valid_every=500, inner=Inner(1, 0.01))
    errors = {}
    for name in ("MAML", "Reptile"):  # one step of Reptile is joint training
        list(meta_train(network, tasks, replace(settings, algorithm=name), tmp_path / f"{name}.pt"))
        meta = checkpoint.load(tmp_path / f"{name}.pt").best
        batch = tasks.batch("test", 0, 200)
        weights = adapt(network, meta, batch.support_x, batch.support_y, Inner(1, 0.01))
        errors[name] = float(losses(outputs(network, weights, batch.query_x), batch.query_y).mean())
    assert errors["MAML"] < 1.9
    assert errors["Reptile"] > 2
