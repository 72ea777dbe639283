from __future__ import annotations

import csv
import json
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from core import datasets, results, specs
from core.datasets import Dataset
from core.errors import InputError
from core.events import Event, Metric, TrialDone
from core.queue import jobs, log
from core.results import downloads
from core.specs import NASSpec
from runner import loop
from runner.nas.deploy import model_source
from runner.nas.job import run
from runner.nas.search import search_state
from runner.nas.search.finalist_training import Finalist
from runner.nas.search.search import Objective, SearchData, Settings, search
from runner.nas.space.designs import OPERATIONS
from runner.nas.space.limits import restrict
from runner.nas.space.networks import build
from runner.nas.space.spaces import AnySpace, ImageSpace, TableSpace, TextSpace
from runner.nas.tensors import prepare
from runner.shared import export
from runner.shared.context import Context
from runner.shared.input_scaling import Columns, InputScaling, Pixels, Tokens

_BY_TORCH = (
    "import sys, torch; from model import load; x = torch.load('x.pt'); torch.save(load('weights.pt')(x), 'y.pt');"
    "assert not {'runner', 'core', 'onnx'} & set(sys.modules)"
)


def _run(spec: NASSpec) -> int:
    job_id = jobs.submit(spec)
    assert loop.run_once("w") == job_id
    return job_id


def _trials(job_id: int) -> list[results.Trial]:
    return [results.trial(trial_id) for trial_id in results.trials_of(job_id).trial_id]


def _unpacked(trial: results.Trial, directory: Path) -> Path:
    """The files of a trial in one folder, as its download has them."""
    path = downloads.of_trial(trial)
    assert path is not None
    zipfile.ZipFile(path).extractall(directory)
    return directory


def _predictions(directory: Path, source: Path, *more: str) -> list[list[str]]:
    command = [sys.executable, "predict.py", str(source), "out.csv", *more]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with open(directory / "out.csv", newline="") as file:
        return list(csv.reader(file))


@pytest.mark.slow
def test_a_search_on_images_ends_in_trials_with_their_files(home: Path, tmp_path: Path) -> None:
    from PIL import Image

    dataset = datasets.add_sample("digits_images")
    job_id = _run(
        NASSpec(dataset_id=dataset.id, budget_s=90, max_candidates=8, finalists=1, epochs=12, metric="accuracy")
    )
    row = jobs.overview(job_id=job_id).iloc[0]
    assert (row.status, row.fraction, row.n_trials, row.error) == ("succeeded", 1.0, 1, None)
    trials = _trials(job_id)
    best = max(trials, key=lambda trial: _score(trial, "accuracy"))
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


def _score(trial: results.Trial, metric: str) -> float:
    return float(trial.scores.set_index("metric").test[metric])


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
    job_id = _run(NASSpec(dataset_id=dataset.id, budget_s=60, max_candidates=4, finalists=1, epochs=30))
    trial = _trials(job_id)[0]
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
    job_id = _run(NASSpec(dataset_id=dataset.id, budget_s=60, max_candidates=4, finalists=1, epochs=10))
    trial = _trials(job_id)[0]
    assert _score(trial, "accuracy") > 0.8
    (tmp_path / "new.csv").write_text('review\n"A LOVELY film"\nan awful film\n""\n')
    found = _predictions(_unpacked(trial, tmp_path / "model"), tmp_path / "new.csv")
    assert [row[1] for row in found[1:3]] == ["good", "bad"]
    assert len(found) == 4


@pytest.mark.slow
def test_a_limit_that_nothing_meets_is_told_with_the_smallest_size(home: Path) -> None:
    dataset = datasets.add_sample("iris")
    job_id = _run(NASSpec(dataset_id=dataset.id, budget_s=10, max_parameters=5))
    assert jobs.overview(job_id=job_id).error[0].startswith("max_parameters: of 2,000 architectures none has 5 ")


def test_a_gpu_that_is_not_there_is_no_silent_fall_back(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    dataset = datasets.add_sample("iris")
    context = Context(1, 1, dataset, home, 1, 1, lambda: False)
    with pytest.raises(InputError, match=r"gpus: This machine has no GPU that torch can use\. Choose 0\."):
        list(run(NASSpec(dataset_id=dataset.id, gpus=1), context))


def test_a_missing_number_gets_a_flag_and_an_unseen_category_its_own_code(dataset: Dataset) -> None:
    ready = prepare(dataset)
    assert isinstance(ready.space, TableSpace)
    assert (ready.space.numeric, ready.space.categories, ready.space.outputs) == (2, (4,), 2)
    x, y = ready.pair("train")
    assert abs(float(x[:, 0].mean())) < 1e-5
    assert abs(float(x[:, 0].std(correction=0)) - 1) < 1e-5
    assert set(x[:, 2].tolist()) == {1.0, 2.0, 3.0}
    assert y.dtype == torch.int64
    front = Columns(2, [1], 3)
    front.step[0] = 4.0
    found = front(torch.tensor([[3.0, float("nan"), 0.0]], dtype=torch.float64))
    assert found.tolist() == [[3.0, 0.0, pytest.approx(0.85), pytest.approx(-1.7), 1.0, 0.0]]


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
    supervisor = psutil.GaussianProcess(int(saved.with_name("alive.lock").read_text()))
    [process] = [p for p in supervisor.children() if "runner.child" in p.cmdline()]
    process.kill()
    thread.join()
    assert (jobs.get(job_id).status, jobs.get(job_id).attempt) == ("succeeded", 2)
    assert "resumes from its checkpoint" in " ".join(log.messages(job_id).text)
    reported = _uninterrupted(spec, dataset, search_state.load(saved), tmp_path)
    errors = {(e.candidate, e.step): e.value for e in reported if isinstance(e, Metric) and e.name == "valid_error"}
    curves = {name: results.curve(job_id, "valid_error", candidate=name) for name in {name for name, _ in errors}}
    assert {(name, row.step): row.value for name, found in curves.items() for row in found.itertuples()} == errors
    (trial,), (other,) = _trials(job_id), [e for e in reported if isinstance(e, TrialDone)]
    assert trial.candidate == other.candidate
    assert list(trial.scores.test) == [score.test for score in other.scores]


def _uninterrupted(spec: NASSpec, dataset: Dataset, state: search_state.SearchState, directory: Path) -> list[Event]:
    """The same search with the same ways to train, which depend on timings, in one go."""
    kept = {name: getattr(state, name) for name in ("generation_size", "epoch_rows", "epoch_s", "plans", "identity")}
    for attempt in ("9-1", "9-2"):
        (directory / attempt).mkdir()
    search_state.save(search_state.SearchState(**kept), directory / "9-1" / search_state.CHECKPOINT)
    return list(run(spec, Context(9, 2, dataset, directory / "9-2", 1, 0, lambda: False)))


@pytest.mark.slow
def test_an_extended_search_adds_new_trials_and_repeats_none(home: Path) -> None:
    dataset = datasets.add_sample("iris")
    first = _run(
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
    with pytest.raises(InputError, match="continues: there is no checkpoint of job 7"):
        list(run(lost, Context(8, 1, iris, home / "jobs" / "8-1", 1, 0, lambda: False)))
    saved = home / "jobs" / "7-1" / search_state.CHECKPOINT
    saved.parent.mkdir(parents=True)
    search_state.save(search_state.SearchState(identity={"dataset": wine.fingerprint}), saved)
    (home / "jobs" / "8-1").mkdir()
    with pytest.raises(InputError, match="another dataset"):
        list(run(lost, Context(8, 1, iris, home / "jobs" / "8-1", 1, 0, lambda: False)))


# The engine, on plain tensors.


def _problem(seed: int = 0) -> SearchData:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(360, 5, generator=generator)
    y = ((x[:, 0] * x[:, 1] + x[:, 2]) > 0).long()
    return SearchData(TableSpace(5, (), 2), (x[:200], y[:200]), (x[200:280], y[200:280]), (x[280:], y[280:]))


def _search(data: SearchData, settings: Settings, checkpoint: Path, **more: Any) -> tuple[list[Event], list[Finalist]]:
    y, finalists = data.valid[1], []

    def report(finalist: Finalist) -> Iterator[Event]:
        finalists.append(finalist)
        yield from ()

    judge = Objective(lambda outputs: float((outputs.argmax(1) != y).float().mean()), lambda error: 1 - error)
    return list(search(data, settings, judge, report, checkpoint, **more)), finalists


@pytest.mark.slow
def test_a_finalist_learns_and_its_best_epoch_is_kept(tmp_path: Path) -> None:
    data = _problem()
    _, (finalist,) = _search(data, Settings(seed=1, budget_s=1e4, max_candidates=8, finalists=1), tmp_path / "s.pt")
    wrong = float((finalist.test.argmax(1) != data.test[1]).float().mean())
    assert wrong < 0.2
    with torch.no_grad():
        assert torch.equal(finalist.module(data.valid[0]), finalist.valid)
    assert 1 <= finalist.best_epoch <= len(finalist.curve)


def test_a_cancelled_search_stops_without_finalists(tmp_path: Path) -> None:
    calls = iter(range(10_000))
    settings = Settings(budget_s=1e4, max_candidates=500)
    _, finalists = _search(_problem(), settings, tmp_path / "s.pt", is_cancelled=lambda: next(calls) > 40)
    assert finalists == []


def test_no_candidate_is_larger_than_the_limit(tmp_path: Path) -> None:
    settings = Settings(budget_s=1e4, max_candidates=8, max_parameters=3_000, epochs=1)
    events, finalists = _search(_problem(), settings, tmp_path / "s.pt")
    sizes = [e.value for e in events if isinstance(e, Metric) and e.name == "n_parameters"]
    assert len(sizes) == 8
    assert max(sizes) <= 3_000
    assert len(finalists) == 3


def test_a_budget_too_small_for_one_candidate_warns_and_trains_one(tmp_path: Path) -> None:
    events, finalists = _search(_problem(), Settings(budget_s=1e-3, max_candidates=8), tmp_path / "s.pt")
    assert any("too small for one candidate" in getattr(event, "text", "") for event in events)
    assert len(finalists) == 1


def test_a_limit_keeps_only_the_widths_that_can_meet_it() -> None:
    space = restrict(TableSpace(5, (), 2), 3_000, 1)
    assert isinstance(space, TableSpace)
    assert space.widths == (32, 64, 128, 256)  # a single layer of 256 has 2,562 parameters
    narrow = restrict(TextSpace(5_000, 20, 2), 120_000, 1)
    assert isinstance(narrow, TextSpace)
    assert narrow.embeddings == (16,)
    with pytest.raises(ValueError, match="none has 10 parameters or fewer; the smallest has 322"):
        restrict(TableSpace(5, (), 2), 10, 1)
    with pytest.raises(ValueError, match="none has 1 parameter or fewer"):
        restrict(TableSpace(5, (), 2), 1, 1)


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
    for name, space, genotype, front, x in _every_operation():
        if isinstance(front, Columns):
            front.mean.fill_(5e8)
            front.std.fill_(3e8)
            front.low[:, 0], front.step[0, 0] = 1e8, 5e8
        network = build(space, genotype, seed=1).eval()
        text = model_source(network, front, name, ["a", "b", "c", "d"])
        files = export.write(export.module(text, network, front, None), text, x[:2], tmp_path / name)
        with torch.no_grad():
            expected = network(front(x)).softmax(1)
        session = onnxruntime.InferenceSession(str(files["onnx"]))
        assert np.abs(session.run(None, {"x": x.numpy()})[0] - expected.numpy()).max() < 1e-5, name
        torch.save(x, tmp_path / name / "x.pt")
        torch.save(expected, tmp_path / name / "expected.pt")
    for folder in sorted(tmp_path.iterdir()):
        if folder.name in ("cnn1", "resmlp", "text4"):  # a fresh process each: one of each kind
            subprocess.run([sys.executable, "-c", _BY_TORCH], cwd=folder, check=True)
            found, wanted = torch.load(folder / "y.pt"), torch.load(folder / "expected.pt")
            assert float((found - wanted).detach().abs().max()) < 1e-5, folder.name


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
