"""Files that the last version wrote: initialisations load, and a checkpoint resumes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from core.events import Message, Metric
from runner.fewshot import initialisation_file
from runner.fewshot.learning import checkpoint
from runner.fewshot.learning.episodes import SinusoidTasks
from runner.fewshot.learning.inner_loop import Inner
from runner.fewshot.learning.meta_training import MetaTrainingSettings, meta_train
from runner.fewshot.learning.task_networks import MLP, Conv4, measure_statistics

pytestmark = pytest.mark.torch
FOLDER = Path(__file__).parent / "last_version"


def test_an_initialisation_with_stored_statistics_loads() -> None:
    one = initialisation_file.load(FOLDER / "anil.safetensors")
    assert (one.algorithm, one.network, one.inner) == ("ANIL", Conv4(1, 3, 4), Inner(2, 1.0, only_head=True))
    assert one.recipe == {"kind": "image", "shape": [12, 12, 1]}
    x = torch.rand(9, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    for name, value in measure_statistics(one.network, one.weights, x).items():
        torch.testing.assert_close(one.weights[name], value)


def test_an_initialisation_with_learned_rates_loads() -> None:
    one = initialisation_file.load(FOLDER / "maml.safetensors")
    assert (one.algorithm, one.network, one.inner) == ("MAML", MLP(2, 1, 4), Inner(3, 0.01, learned_rates=True))
    assert one.recipe["target"] == {"name": "y", "mean": 0.1, "std": 2.0}
    assert one.n_parameters == 2 * 4 + 4 + 4 * 4 + 4 + 4 + 1


def test_a_checkpoint_resumes(tmp_path: Path) -> None:
    path = Path(shutil.copy(FOLDER / "meta.pt", tmp_path))
    settings = MetaTrainingSettings(iterations=6, meta_batch=2, valid_every=3, valid_episodes=4, inner=Inner(2, 0.01))
    events = list(meta_train(MLP(width=4), SinusoidTasks(shots=5, queries=5), settings, path, previous=path))
    assert events[0] == Message("The meta-training resumes after 3 iterations.")
    assert {event.step for event in events if isinstance(event, Metric)} == {6}
    assert checkpoint.load(path).iteration == 6
