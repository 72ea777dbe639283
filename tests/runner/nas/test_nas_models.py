"""The networks that a user downloads predict what the search measured."""

from __future__ import annotations

import csv
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from core import datasets, results
from core.queue import jobs
from core.results import downloads
from core.specs import NASSpec
from runner.nas.deploy import model_source
from runner.nas.space.designs import OPERATIONS
from runner.nas.space.networks import build
from runner.nas.space.spaces import AnySpace, ImageSpace, TableSpace, TextSpace
from runner.shared import export
from runner.shared.input_scaling import Columns, InputScaling, Pixels, Tokens
from tests.runner.nas.jobs import run_job, trials

pytestmark = pytest.mark.torch

_BY_TORCH = (
    "import sys, torch; from model import load; x = torch.load('x.pt'); torch.save(load('weights.pt')(x), 'y.pt');"
    "assert not {'runner', 'core', 'onnx'} & set(sys.modules)"
)


def _unpacked(trial: results.Trial, directory: Path) -> Path:
    """Write the files of a trial into one folder, as its download has them."""
    path = downloads.bundle_trial(trial)
    assert path is not None
    zipfile.ZipFile(path).extractall(directory)
    return directory


def _predictions(directory: Path, source: Path, *more: str) -> list[list[str]]:
    command = [sys.executable, "predict.py", str(source), "out.csv", *more]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with open(directory / "out.csv", newline="") as file:
        return list(csv.reader(file))


def _score(trial: results.Trial, metric: str) -> float:
    return float(trial.scores.set_index("metric").test[metric])


@pytest.mark.slow
def test_a_search_on_images_ends_in_trials_with_their_files(home: Path, tmp_path: Path) -> None:
    from PIL import Image

    dataset = datasets.add_sample("digits_images")
    job_id = run_job(
        NASSpec(dataset_id=dataset.id, budget_s=90, max_candidates=8, finalists=1, epochs=12, metric="accuracy")
    )
    row = jobs.overview(job_id=job_id).iloc[0]
    assert (row.status, row.fraction, row.n_trials, row.error) == ("succeeded", 1.0, 1, None)
    best = max(trials(job_id), key=lambda trial: _score(trial, "accuracy"))
    assert best.algorithm == "CNN"
    assert _score(best, "accuracy") > 0.9
    assert {"onnx", "torch_module", "torch_weights", "predict_script", "readme"} <= set(best.artifacts.kind)
    assert [layer["name"] for layer in best.details["architecture"]][:2] == ["Image", "Stem"]
    assert len(best.details["curve"]["x"]) == best.params["epochs"]
    curve = results.curve(job_id, "best_valid")
    assert curve.value.is_monotonic_increasing
    assert curve.step.iloc[-1] == 8
    pixels, codes = datasets.load_images(dataset, "test")
    (tmp_path / "images").mkdir()
    for number, image in enumerate(pixels[:20]):
        Image.fromarray(image[:, :, 0]).save(tmp_path / "images" / f"{number:02}.png")
    found = _predictions(_unpacked(best, tmp_path / "model"), tmp_path / "images")
    assert found[0] == ["image", "label", *(f"probability of {label}" for label in dataset.labels)]
    right = [row[1] == dataset.labels[code] for row, code in zip(found[1:], codes[:20], strict=True)]
    assert sum(right) >= 16
    assert _predictions(tmp_path / "model", tmp_path / "images", "--torch")[1][:2] == found[1][:2]


@pytest.mark.slow
def test_a_search_on_a_table_with_gaps_and_new_categories_predicts_its_csv(home: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    size, colour = rng.uniform(0, 9, 300), rng.choice(["red", "green", "blue"], 300)
    lines = [
        f"{'' if number % 9 == 0 else f'{s:.3f}'},{c},{100 * (c == 'red') + 10 * s:.2f}"
        for number, (s, c) in enumerate(zip(size, colour, strict=True))
    ]
    path = tmp_path / "price.csv"
    path.write_text("\n".join(["size,colour,price", *lines]) + "\n")
    dataset = datasets.register(path, name="price", target="price")
    job_id = run_job(NASSpec(dataset_id=dataset.id, budget_s=60, max_candidates=4, finalists=1, epochs=30))
    trial = trials(job_id)[0]
    assert trial.algorithm in ("MLP", "ResidualMLP")
    assert _score(trial, "r2") > 0.7
    assert len(trial.details["residuals"]["actual"]) == dataset.n_rows["test"]
    (tmp_path / "new.csv").write_text("colour;size;x\nred;8;1\nblue;8;1\nviolet;;1\n")
    found = _predictions(_unpacked(trial, tmp_path / "model"), tmp_path / "new.csv")
    first, second, third = (float(row[1]) for row in found[1:])
    assert first > second + 50
    assert np.isfinite(third)


@pytest.mark.slow
def test_a_search_on_texts_predicts_its_csv(home: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = {"good": ["great", "lovely", "Ωραίο"], "bad": ["awful", "poor", "κακό"]}
    path = tmp_path / "reviews.csv"
    rows = []
    for number in range(240):
        label = ("good", "bad")[number % 2]
        filler = " ".join(rng.choice(["the", "film", "was", "shown", "at", "night", "again"], 6))
        rows.append(f'"{filler} {rng.choice(words[label])}, number {number}",{label}')
    path.write_text("\n".join(["review,verdict", *rows]) + "\n")
    dataset = datasets.register(path, name="reviews", target="verdict", types={"review": "text"})
    assert dataset.modality == "text"
    job_id = run_job(NASSpec(dataset_id=dataset.id, budget_s=60, max_candidates=4, finalists=1, epochs=10))
    trial = trials(job_id)[0]
    assert _score(trial, "accuracy") > 0.8
    (tmp_path / "new.csv").write_text('review\n"A LOVELY film"\nan awful film\n""\n')
    found = _predictions(_unpacked(trial, tmp_path / "model"), tmp_path / "new.csv")
    assert [row[1] for row in found[1:3]] == ["good", "bad"]
    assert len(found) == 4


def _every_operation() -> Iterator[tuple[str, AnySpace, tuple[int, ...], InputScaling, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    options = tuple(range(len(OPERATIONS)))
    pixels = torch.randint(0, 256, (5, 3, 9, 7), generator=generator, dtype=torch.uint8)
    for activation in range(1, 3):
        image = ImageSpace((3, 9, 7), 4, positions=(4, 4), stride=activation)
        yield f"cnn{activation}", image, (0, *options, activation, 0, 0, 1, 0), Pixels(3), pixels
    table = TableSpace(5, (4, 2), 3)
    x = torch.rand(5, 4, generator=generator, dtype=torch.float64) * 1e9
    x[:, 2:] = torch.tensor([[0, 1], [3, 0], [2, 1], [1, 1], [0, 0]])
    x[2, 1] = float("nan")
    yield "mlp", table, (0, 2, 0, 1, 0, 0, 1), Columns(2, [1], 4), x
    yield "resmlp", table, (1, 3, 1, 2, 0, 0, 0), Columns(2, [1], 4), x
    text = TextSpace(30, 6, 2)
    codes = torch.randint(0, 30, (5, 6), generator=generator)
    for block in (0, 2, 3, 4):
        yield f"text{block}", text, (0, block, 0, 1, 0, 0, 1), Tokens(), codes


@pytest.mark.slow
def test_every_kind_of_network_predicts_the_same_with_torch_alone_and_with_onnxruntime(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    for name, space, genotype, scaling, x in _every_operation():
        if isinstance(scaling, Columns):
            scaling.mean.fill_(5e8)
            scaling.std.fill_(3e8)
            scaling.low[:, 0], scaling.step[0, 0] = 1e8, 5e8
        network = build(space, genotype, seed=1).eval()
        text = model_source(network, scaling, name, ["a", "b", "c", "d"])
        files = export.write(export.module(text, network, scaling, None), text, x[:2], tmp_path / name)
        with torch.no_grad():
            expected = network(scaling(x)).softmax(1)
        session = onnxruntime.InferenceSession(str(files["onnx"]))
        assert np.abs(session.run(None, {"x": x.numpy()})[0] - expected.numpy()).max() < 1e-5, name
        torch.save(x, tmp_path / name / "x.pt")
        torch.save(expected, tmp_path / name / "expected.pt")
    for folder in sorted(tmp_path.iterdir()):
        if folder.name in ("cnn1", "resmlp", "text4"):  # a fresh process each: one of each kind
            subprocess.run([sys.executable, "-c", _BY_TORCH], cwd=folder, check=True)
            found, wanted = torch.load(folder / "y.pt"), torch.load(folder / "expected.pt")
            assert float((found - wanted).detach().abs().max()) < 1e-5, folder.name
