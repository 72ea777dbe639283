"""The classifier's files: the network in them predicts what the engine predicted."""

from __future__ import annotations

import csv
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from PIL import Image

from core import results
from core.datasets import Dataset
from core.queue import jobs
from core.results import downloads, initialisations
from runner import loop
from runner.fewshot import backbone_network, initialisation_file, recipes
from runner.fewshot.initialisation_file import LoadedInitialisation
from runner.fewshot.learning.inner_loop import Inner
from runner.fewshot.learning.task_networks import Adapter, Conv4, ResNet, initial_weights, measure_statistics
from runner.fewshot.plain_networks import BACKBONE_CALLS, CALLS, adapter_network, pixel_scaling, plain_network
from runner.fewshot.task_adaptation import adapt_task
from runner.shared import export
from tests.model_folders import predictor_files
from tests.pictures import pixels
from tests.runner.fewshot.pattern_jobs import (
    LABELS,
    MAML,
    finetune_spec,
)
from tests.runner.fewshot.resnet_weights import SMALL, SMALL_BLOCKS, noise_images, resnet, store

pytestmark = pytest.mark.torch


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "stored"), [("ProtoNet", False), ("ProtoNet", True), ("MAML", False)])
@pytest.mark.parametrize("network", [Conv4(3, 4, 8), ResNet(3, 4, 8)])
def test_the_network_in_the_files_predicts_what_the_engine_predicts(
    tmp_path: Path, network: Conv4 | ResNet, algorithm: str, stored: bool
) -> None:
    inner, weights = Inner(steps=3, rate=0.1), initial_weights(network, 1)
    if stored:
        other = torch.from_numpy(np.stack([pixels(200 + n, 14, 16) for n in range(9)])).permute(0, 3, 1, 2) / 300
        weights |= measure_statistics(network, weights, other)
    start = LoadedInitialisation(algorithm, network, inner, weights, {"kind": "image", "shape": [14, 16, 3]})
    support, query = (torch.from_numpy(np.stack([pixels(k + n, 14, 16) for k in range(16)])) for n in (0, 100))
    raw = query.permute(0, 3, 1, 2).contiguous()
    x, y = support.permute(0, 3, 1, 2).float() / 255, torch.arange(16) % 4
    *_, step = adapt_task(start, x, y, raw.float() / 255)
    module = plain_network(network, step.weights, x)
    text = export.source(module, pixel_scaling(3), "Test", "abcd", CALLS)
    files = export.write(export.module(text, module, pixel_scaling(3), None), text, raw[:2], tmp_path)
    session = onnxruntime.InferenceSession(files["onnx"])
    engine = step.outputs.softmax(1).numpy()
    assert engine.std() > 0.01
    assert session.run(None, {"x": raw.numpy()})[0] == pytest.approx(engine, abs=1e-4)
    alone = [session.run(None, {"x": row[None].numpy()})[0][0] for row in raw]
    assert np.stack(alone) == pytest.approx(engine, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("bottleneck", [False, True])
def test_the_pretrained_network_in_the_files_predicts_what_the_engine_predicts(
    home: Path, tmp_path: Path, bottleneck: bool
) -> None:
    sha256 = store(tmp_path, resnet(SMALL, SMALL_BLOCKS, bottleneck=bottleneck))
    every = torch.cat([noise_images(16, 20, 24, 1), noise_images(32, 20, 24, 1)[16:]])
    features = backbone_network.extract_features(backbone_network.load(sha256), every.permute(0, 2, 3, 1).numpy())
    recipe = recipes.feature_recipe(recipes.image_recipe((20, 24, 1)) | {"backbone": sha256}, features.numpy(), 8.0)
    network = Adapter(features.shape[1], 4)
    noise = torch.Generator().manual_seed(3)
    changed = {n: v + 0.05 * torch.randn(v.shape, generator=noise) for n, v in initial_weights(network, 1).items()}
    start = LoadedInitialisation("MAML", network, Inner(steps=3, rate=0.05), changed, recipe)
    x = recipes.encode_features(recipe, features)
    *_, step = adapt_task(start, x[:16], torch.arange(16) % 4, x[16:])
    module = adapter_network(start, step.weights)
    text = export.source(module, pixel_scaling(1), "Test", "abcd", BACKBONE_CALLS)
    files = export.write(export.module(text, module, pixel_scaling(1), None), text, every[:2], tmp_path)
    session = onnxruntime.InferenceSession(files["onnx"])
    engine = step.outputs.softmax(1).numpy()
    assert engine.std() > 0.01
    assert session.run(None, {"x": every[16:].numpy()})[0] == pytest.approx(engine, abs=1e-4)


@pytest.mark.slow
def test_a_task_is_learned_scored_step_by_step_and_downloaded_as_files_that_predict(
    patterns: Dataset, tmp_path: Path
) -> None:
    job_id = jobs.submit(finetune_spec(patterns, initialisation=MAML, shots=5, queries=10))
    assert loop.run_once("w") == job_id
    assert jobs.overview(job_id=job_id).error[0] is None
    body = initialisations.adaptation(job_id)
    assert body is not None
    assert (body["initialisation"], body["asked"], body["labels"]) == (MAML, True, list(LABELS[:3]))
    assert [step["step"] for step in body["steps"]] == [0, 1, 2, 3, 4, 5]
    assert body["steps"][-1]["accuracy"] > body["steps"][0]["accuracy"]
    assert body["steps"][-1]["loss"] < body["steps"][0]["loss"]
    counts = np.array(body["confusion"]["counts"])
    assert counts.sum() == body["n_queries"] == 30
    assert counts.trace() / 30 == pytest.approx(body["steps"][-1]["accuracy"])
    right = sum(row["actual"] == row["predicted"] for row in body["predictions"])
    assert right / 30 == pytest.approx(body["steps"][-1]["accuracy"])
    _check_bundle(downloads.bundle_files(results.artifacts_of(job_id)), patterns, body, tmp_path)


def _check_bundle(bundle: Path, dataset: Dataset, body: dict[str, Any], folder: Path) -> None:
    """The script predicts for images on disk what the job predicted for the same rows."""
    with zipfile.ZipFile(bundle) as archive:
        assert set(archive.namelist()) == {
            "model.onnx", "model.py", "weights.pt", "README.txt", "adapted.safetensors", *predictor_files("onnx"),
        }  # fmt: skip
        archive.extractall(folder / "download")
    adapted = initialisation_file.load(folder / "download" / "adapted.safetensors")
    assert (adapted.algorithm, adapted.network.n_outputs) == (body["algorithm"], 3)
    (folder / "images").mkdir()
    stored = pd.read_parquet(dataset.table).set_index("row")["c0"]
    for row in body["predictions"]:
        pixels = np.frombuffer(stored[row["row"]], np.uint8).reshape(16, 16)
        Image.fromarray(pixels).save(folder / "images" / f"{row['row']:04}.png")
    for option in ([], ["--torch"]):
        command = [sys.executable, "predict.py", str(folder / "images"), "out.csv", *option]
        subprocess.run(command, cwd=folder / "download", check=True, capture_output=True)
        with open(folder / "download" / "out.csv") as file:
            predictions = {int(row["image"][:4]): row for row in csv.DictReader(file)}
        for row in body["predictions"]:
            probabilities = [float(predictions[row["row"]][f"probability of {label}"]) for label in body["labels"]]
            assert probabilities == pytest.approx(row["probabilities"], abs=1.5e-4)
            assert predictions[row["row"]]["label"] == row["predicted"]
