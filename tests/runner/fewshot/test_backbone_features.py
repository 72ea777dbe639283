"""Few-shot learning on the features of pretrained weights."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from core import results
from core.datasets import Dataset
from core.datasets.images import examples
from core.errors import InputError
from core.events import Adapted, Progress
from core.queue import jobs
from core.results import initialisations
from core.specs import FewShotSpec, FineTuneSpec, parse
from core.store import artifacts
from runner import loop
from runner.fewshot import backbone_features, backbone_network
from runner.fewshot.job import run
from runner.fewshot.learning.task_networks import Adapter
from runner.fewshot.training_setup import set_up
from runner.shared.context import Context
from tests.runner.fewshot.pattern_jobs import (
    messages,
    run_here,
)
from tests.runner.fewshot.resnet_weights import SMALL, resnet, store
from tests.runner.fewshot.small_datasets import photo

pytestmark = pytest.mark.torch


def _spec(dataset: Dataset, sha256: str, **more: object) -> FewShotSpec:
    settings: dict[str, object] = {
        "ways": 3,
        "shots": 2,
        "queries": 5,
        "iterations": 20,
        "test_episodes": 20,
        "cpus": 1,
    }
    return FewShotSpec(dataset_id=dataset.id, network="pretrained", backbone=sha256, **settings | more)


def _trained(dataset: Dataset, sha256: str, **more: object) -> int:
    return run_here(_spec(dataset, sha256, **more))[0]


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["ProtoNet", "ANIL"])
def test_new_classes_are_learned_on_pretrained_features_and_downloaded(
    photos: Dataset, weights: str, algorithm: str
) -> None:
    job_id = jobs.submit(_spec(photos, weights, algorithm=algorithm, budget_s=60))
    assert loop.run_once("w") == job_id
    assert jobs.overview(job_id=job_id).error[0] is None
    board = initialisations.leaderboard(photos.id)
    assert list(board.protocol) == ["inductive"]
    assert board.lower[0] > 0.5  # chance is a third
    stored = initialisations.get(job_id)
    assert (stored.network, stored.about["inputs"]["backbone"]) == ("Adapter-16", weights)
    tuned = jobs.submit(FineTuneSpec(dataset_id=photos.id, classes=photos.labels[:3], shots=3, cpus=1))
    assert loop.run_once("w") == tuned
    assert jobs.overview(job_id=tuned).error[0] is None
    body = initialisations.adaptation(tuned)
    assert body is not None
    assert body["initialisation"] == job_id
    assert body["steps"][-1]["accuracy"] > 0.6
    assert {"predict.py", "model.onnx"} <= set(results.artifacts_of(tuned).name)


@pytest.mark.slow
def test_a_task_on_features_is_learned_from_few_images_of_another_size(
    photos: Dataset, weights: str, no_files: None
) -> None:
    job_id = _trained(photos, weights)
    images = np.concatenate([photo(100, 6, 32), photo(101, 6, 32)])
    sha256 = examples.store(images, [0] * 6 + [1] * 6, ["one", "other"], [f"{n}.png" for n in range(12)])
    _, events = run_here(FineTuneSpec(dataset_id=photos.id, examples=sha256, shots=3, cpus=1))
    [body] = [event.body for event in events if isinstance(event, Adapted)]
    assert (body["initialisation"], body["n_queries"]) == (job_id, 6)
    assert body["steps"][-1]["accuracy"] > 0.8
    assert "stay at 32 x 32 pixels" in messages(events)
    assert "training used 16 x 16" in messages(events)


def test_features_are_standardised_by_the_train_classes_as_the_recipe_says(photos: Dataset, weights: str) -> None:
    setup = set_up(photos, _spec(photos, weights))
    assert setup.network == Adapter(16, 3)
    setup_on_features = backbone_features.use_features(
        setup, torch.randn(180, 16, generator=torch.Generator().manual_seed(1)) * 3 + 5, 8.0
    )
    trains = torch.isin(setup.tasks.labels, torch.tensor(setup.tasks.splits["train"]))
    x = setup_on_features.tasks.inputs[trains]
    assert float(x.mean(0).abs().max()) < 1e-5
    assert float((x.std(0, correction=0) - 2).abs().max()) < 1e-5  # a length of 8 by 16 features
    assert abs(float(setup_on_features.tasks.inputs[~trains].mean(0).abs().max())) > 0.01
    assert {name: len(setup_on_features.recipe[name]) for name in ("mean", "std", "backbone")} == {
        "mean": 16, "std": 16, "backbone": 64,
    }  # fmt: skip


def _context(dataset: Dataset, folder: Path, attempt: int = 1, stops: object = None) -> Context:
    """A context that is cancelled once it was asked so often; None: never."""
    calls = iter(range(10**6))
    (folder / f"9-{attempt}").mkdir()
    return Context(
        9, attempt, dataset, folder / f"9-{attempt}", 1, 0, lambda: stops is not None and next(calls) >= stops
    )


def _computed(spec: FewShotSpec, context: Context, monkeypatch: pytest.MonkeyPatch) -> tuple[object, int]:
    """The tasks on features, and how many images went through the network."""
    counts = []
    original = backbone_network.feature_batches

    def count(network: object, images: Tensor) -> object:
        counts.append(len(images))
        return original(network, images)

    monkeypatch.setattr(backbone_network, "feature_batches", count)
    every = backbone_features.compute(spec, context, set_up(context.dataset, spec), "cpu", float("inf"))
    while True:
        try:
            next(every)
        except StopIteration as end:
            monkeypatch.setattr(backbone_network, "feature_batches", original)
            return end.value, sum(counts)


def test_features_from_before_a_pause_are_not_computed_again(
    photos: Dataset, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = _spec(photos, weights)
    whole, n = _computed(spec, _context(photos, tmp_path), monkeypatch)
    assert n == 180
    for path in (tmp_path / "9-1").iterdir():
        path.unlink()
    (tmp_path / "9-1").rmdir()
    stopped, _ = _computed(spec, _context(photos, tmp_path, stops=2), monkeypatch)
    assert stopped is None
    resumed, n = _computed(spec, _context(photos, tmp_path, 2), monkeypatch)
    assert n == 180 - 3 * 32
    torch.testing.assert_close(resumed.tasks.inputs, whole.tasks.inputs, rtol=1e-5, atol=1e-5)
    again, n = _computed(spec, _context(photos, tmp_path, 3), monkeypatch)
    assert n == 0
    assert torch.equal(again.tasks.inputs, resumed.tasks.inputs)


def test_features_of_other_weights_are_not_reused(
    photos: Dataset, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _computed(_spec(photos, weights), _context(photos, tmp_path), monkeypatch)
    other = store(tmp_path, resnet(SMALL, (1, 1, 1, 1)))
    assert _computed(_spec(photos, other), _context(photos, tmp_path, 2), monkeypatch)[1] == 180


def test_a_checkpoint_of_other_weights_is_refused(photos: Dataset, weights: str, tmp_path: Path) -> None:
    assert list(run(_spec(photos, weights, iterations=2), _context(photos, tmp_path)))
    other = store(tmp_path, resnet(SMALL, (1, 1, 1, 1)))
    with pytest.raises(InputError, match=rf"another backbone \({weights}, not {other}\)"):
        list(run(_spec(photos, other, iterations=2), _context(photos, tmp_path, 2)))


def test_progress_counts_the_features_and_a_budget_that_is_too_short_is_refused(
    photos: Dataset, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backbone_features, "_REPORT_S", 0.0)
    spec = _spec(photos, weights)
    setup = set_up(photos, spec)
    deadline = time.monotonic() + 300
    events = list(backbone_features.compute(spec, _context(photos, tmp_path), setup, "cpu", deadline))
    assert [type(event) for event in events] == [Progress] * 6
    assert events[0].stage.startswith("Features of the images: 32 of 180")
    assert 0 < events[-1].remaining_s < 300
    for path in (tmp_path / "9-1").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"budget_s: The features of 180 images need .* has 300 s\. Give it more"):
        list(backbone_features.compute(spec, _context(photos, tmp_path, 2), setup, "cpu", 0.0))


def test_rotations_and_distortions_are_refused_with_pretrained_weights(photos: Dataset, weights: str) -> None:
    body = json.loads(_spec(photos, weights).model_dump_json())
    for name in ("rotations", "distortions"):
        with pytest.raises(InputError, match=r"computed once, from the original images\. Turn off rotations and"):
            parse(body | {name: True})


def test_a_missing_file_of_weights_is_named_with_the_remedy(photos: Dataset, weights: str, no_files: None) -> None:
    job_id = _trained(photos, weights, iterations=2)
    artifacts.locate(weights).unlink()
    sentence = f"no stored file of weights {weights[:12]}. Store the same file again, with `python -m core fewshot-w"
    with pytest.raises(InputError, match=sentence):
        jobs.submit(_spec(photos, weights))
    spec = FineTuneSpec(dataset_id=photos.id, classes=photos.labels[:3], initialisation=job_id, cpus=1)
    with pytest.raises(InputError, match=sentence):
        run_here(spec)
    plain = run_here(
        _spec(photos, weights).model_copy(update={"network": "conv4", "backbone": None, "width": 8, "iterations": 2})
    )[0]
    _, events = run_here(spec.model_copy(update={"initialisation": None}))
    assert [event.body["initialisation"] for event in events if isinstance(event, Adapted)] == [plain]
