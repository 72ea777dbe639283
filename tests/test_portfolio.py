"""The portfolio: every candidate on every kind of dataset, side by side, bounded in time, and taken away as a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image
from sklearn.dummy import DummyClassifier

from core import datasets, metafeatures, results, specs
from core.datasets import Dataset
from core.errors import InputError, MetascoutError
from core.events import Event, Message, Metric, TrialDone
from core.metafeatures import LANDMARKERS
from core.queue import jobs
from core.results import downloads
from core.scoring import Array, score
from core.specs import PORTFOLIO_CANDIDATES, PortfolioSpec
from runner import loop
from runner.portfolio import job
from runner.shared import pipelines
from runner.shared.context import Context
from runner.shared.rows import flat, read
from tests.test_automl import unpack

QUICK = ("Baseline", "Linear", "DecisionTree")
WORDS = ("good", "fine", "bright", "warm", "bad", "dull", "cold", "grey")


def mixed(n: int) -> pd.DataFrame:
    """Numbers, a category, times and texts, each with gaps; `kind` and `size` depend on all but the times."""
    random = np.random.default_rng(0)
    width, warm = random.normal(size=n), random.random(n) < 0.5
    colour = random.choice(["red", "green", "blue"], n)
    words = [" ".join(random.choice(WORDS[:5] if one else WORDS[3:], 5)) for one in warm]
    total = width + warm + (colour == "red") + random.normal(size=n) / 4
    frame = pd.DataFrame({"width": width.round(3), "colour": colour, "said": words})
    frame["seen"] = pd.to_datetime("2021-03-01") + pd.to_timedelta(random.integers(0, 1_000, n), unit="h")
    frame["seen"] = frame["seen"].dt.strftime("%Y-%m-%d %H:%M:%S")
    for place, name in enumerate(frame):
        frame[name] = frame[name].astype(object).where((np.arange(n) + place) % 9 > 0, "")
    return frame.assign(kind=np.where(total > 1, "much", "little"), size=total.round(3))


def registered(frame: pd.DataFrame, folder: Path, target: str, **types: str) -> Dataset:
    path = folder / f"{target}.csv"
    frame.to_csv(path, index=False)
    return datasets.register(path, name=f"table of {target}", target=target, types=types)


@pytest.fixture
def classes(home: Path, tmp_path: Path) -> Dataset:
    return registered(mixed(240).drop(columns="size"), tmp_path, "kind", said="text")


@pytest.fixture
def numbers(home: Path, tmp_path: Path) -> Dataset:
    return registered(mixed(240).drop(columns="kind"), tmp_path, "size", said="text")


def context_of(
    dataset: Dataset, directory: Path, *, cpus: int = 2, cancelled: Callable[[], bool] = lambda: False
) -> Context:
    (directory / "artifacts").mkdir(parents=True, exist_ok=True)
    return Context(1, 1, dataset, directory, cpus, 0, cancelled)


def ran(dataset: Dataset, directory: Path, **given: object) -> list[Event]:
    spec = PortfolioSpec.model_validate({"dataset_id": dataset.id, **given})
    return list(job.run(spec, context_of(dataset, directory)))


def trials_of(events: list[Event]) -> dict[str, TrialDone]:
    return {event.algorithm: event for event in events if isinstance(event, TrialDone)}


def warnings_of(events: list[Event]) -> list[str]:
    """What went wrong, but for the models that a machine without skops cannot keep."""
    said = [event.text for event in events if isinstance(event, Message) and event.level == "warning"]
    return [text for text in said if "skops" not in text]


def value(trial: TrialDone, metric: str) -> float:
    return next(found.test for found in trial.scores if found.metric == metric)


class Sleeper(DummyClassifier):
    """Takes longer than anybody waits."""

    def fit(self, x: object, y: Array) -> Sleeper:
        time.sleep(600)
        return self


class Broken(DummyClassifier):
    """Cannot be fitted."""

    def fit(self, x: object, y: Array) -> Broken:
        raise ValueError("the matrix is odd\nand more")


class Killed(DummyClassifier):
    """Ends as a process ends that takes all memory."""

    def fit(self, x: object, y: Array) -> Killed:
        os.kill(os.getpid(), signal.SIGKILL)
        return self


def replaced(monkeypatch: pytest.MonkeyPatch, name: str, kind: type[DummyClassifier]) -> None:
    monkeypatch.setitem(pipelines._CANDIDATES, name, ("trees", lambda shape: kind()))


# Every candidate, every kind of dataset


@pytest.mark.slow
def test_every_candidate_for_classes_is_fitted_on_numbers_categories_times_and_texts_with_gaps(
    classes: Dataset, tmp_path: Path
) -> None:
    assert {column.type for column in classes.features} == {"numeric", "categorical", "datetime", "text"}
    events = ran(classes, tmp_path / "run")
    trials = trials_of(events)
    assert warnings_of(events) == []
    assert set(trials) == set(PORTFOLIO_CANDIDATES) - {"BayesianRidge", "Huber"}
    assert value(trials["Baseline"], "auc") == 0.5
    # Chance alone would not reach it on 48 rows.
    assert {name for name, trial in trials.items() if value(trial, "auc") < 0.7} == {"Baseline"}
    assert {event.name for event in events if isinstance(event, Metric)} == {*LANDMARKERS, "best_valid"}


@pytest.mark.slow
def test_every_candidate_for_a_number_is_fitted_on_the_same_columns(numbers: Dataset, tmp_path: Path) -> None:
    events = ran(numbers, tmp_path / "run")
    trials = trials_of(events)
    assert warnings_of(events) == []
    assert set(trials) == set(PORTFOLIO_CANDIDATES) - {"NaiveBayes", "LDA", "QDA"}
    assert {name for name, trial in trials.items() if value(trial, "r2") < 0.2} == {"Baseline"}


def test_the_baseline_is_the_mean_of_the_train_rows_and_a_line_is_found_by_a_line(home: Path, tmp_path: Path) -> None:
    x = np.arange(200) * 37 % 101 / 10
    dataset = registered(pd.DataFrame({"x": x, "y": 3 * x + 1}), tmp_path, "y")
    trials = trials_of(ran(dataset, tmp_path / "run", candidates=("Baseline", "Linear"), metric="mae"))
    train, test = read(dataset, "train").actual, read(dataset, "test").actual
    assert value(trials["Baseline"], "mae") == pytest.approx(np.abs(test - train.mean()).mean())
    assert value(trials["Linear"], "r2") > 0.999
    assert trials["Linear"].metric == "mae"
    assert trials["Linear"].params["alpha"] == 1.0


def test_texts_alone_are_told_apart_by_naive_bayes_on_words(home: Path, tmp_path: Path) -> None:
    frame = pd.DataFrame({"said": [f"the {WORDS[row % 8]} thing {row}" for row in range(160)]})
    dataset = registered(frame.assign(kind=np.arange(160) % 8 > 3), tmp_path, "kind", said="text")
    assert dataset.modality == "text"
    events = ran(dataset, tmp_path / "run", candidates=("NaiveBayes", "NearestNeighbours", "HistGradientBoosting"))
    assert warnings_of(events) == []
    assert value(trials_of(events)["NaiveBayes"], "accuracy") == 1.0
    assert len(trials_of(events)) == 3


def test_a_table_of_one_category_is_enough(home: Path, tmp_path: Path) -> None:
    frame = pd.DataFrame({"colour": ["red", "green", "blue", ""] * 90, "kind": ["a", "b", "b", "a"] * 90})
    dataset = registered(frame, tmp_path, "kind")
    trials = trials_of(ran(dataset, tmp_path / "run", candidates=("Linear", "HistGradientBoosting", "SVM")))
    assert {value(trial, "accuracy") for trial in trials.values()} == {1.0}


@pytest.mark.slow
def test_a_class_of_a_single_train_row_stops_no_candidate(home: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    kind = np.array(["a"] * 60 + ["b"] * 60 + ["c"] * 3)
    frame = pd.DataFrame(random.normal(size=(123, 3)), columns=list("xyz")).assign(kind=kind)
    dataset = registered(frame, tmp_path, "kind")
    assert np.bincount(read(dataset, "train").actual).min() == 1
    events = ran(dataset, tmp_path / "run")
    assert warnings_of(events) == []
    assert len(trials_of(events)) == 17


@pytest.mark.slow
def test_images_are_told_apart_by_all_but_the_baseline(home: Path, tmp_path: Path) -> None:
    events = ran(datasets.add_sample("digits_images"), tmp_path / "run")
    trials = trials_of(events)
    assert warnings_of(events) == []
    assert len(trials) == 17
    assert {name for name, trial in trials.items() if value(trial, "accuracy") < 0.6} == {"Baseline"}
    assert value(trials["SVM"], "accuracy") > 0.95


def test_large_images_are_averaged_down() -> None:
    pixels = np.zeros((2, 64, 128, 3), np.uint8)
    pixels[1, :, 64:] = 255
    small = flat(pixels)
    assert small.shape == (2, 16 * 32 * 3)
    assert small[1].reshape(16, 32, 3)[:, 16:].min() == 1
    assert small.mean() == 0.25


def test_the_same_seed_repeats_every_score(classes: Dataset, tmp_path: Path) -> None:
    chosen = {"candidates": ("ElasticNet", "DecisionTree", "MLP"), "seed": 5}
    first, second = (trials_of(ran(classes, tmp_path / name, **chosen)) for name in "ab")
    assert {name: trial.scores for name, trial in first.items()} == {
        name: trial.scores for name, trial in second.items()
    }


# Samples, limits and failures


def test_a_candidate_whose_cost_grows_with_the_square_of_the_rows_gets_a_sample_and_says_so(
    classes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(pipelines._ROW_LIMITS, "NearestNeighbours", 40)
    events = ran(classes, tmp_path / "run", candidates=("NearestNeighbours", "Linear"))
    n = classes.n_rows["train"]
    said = [event.text for event in events if isinstance(event, Message)]
    assert f"Fitted on a sample of the {n} train rows: NearestNeighbours (40)." in said
    trials = trials_of(events)
    assert trials["NearestNeighbours"].params["train_rows"] == 40
    assert "train_rows" not in trials["Linear"].params


def test_wide_tables_and_many_classes_are_fitted_on_fewer_rows() -> None:
    assert pipelines.row_limit("RandomForest", 10, 2) == 200_000
    assert pipelines.row_limit("RandomForest", 1_000, 2) == 5_000
    assert pipelines.row_limit("SVM", 10, 2) == 5_000
    assert pipelines.row_limit("Linear", 100, 10) == 10_000


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(Broken, "ValueError: the matrix is odd"), (Killed, "its process ended with code -9. The system ends")],
)
def test_a_candidate_that_fails_is_a_warning_and_the_others_go_on(
    classes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[DummyClassifier], reason: str
) -> None:
    replaced(monkeypatch, "Linear", kind)
    events = ran(classes, tmp_path / "run", candidates=QUICK)
    [warning] = warnings_of(events)
    assert warning.startswith(f"Linear is left out: {reason}")
    assert "and more" not in warning
    assert set(trials_of(events)) == {"Baseline", "DecisionTree"}


def test_a_candidate_that_takes_too_long_is_ended_and_the_others_go_on(
    classes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced(monkeypatch, "Linear", Sleeper)
    events = ran(classes, tmp_path / "run", candidates=QUICK, candidate_s=3)
    assert warnings_of(events) == ["Linear is left out: it took longer than 3 s."]
    assert set(trials_of(events)) == {"Baseline", "DecisionTree"}
    assert psutil.Process().children() == []


def test_the_budget_ends_what_still_runs(classes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(monkeypatch, "Linear", Sleeper)
    replaced(monkeypatch, "DecisionTree", Sleeper)
    spec = PortfolioSpec(dataset_id=classes.id, candidates=(*QUICK, "SVM")).model_copy(update={"budget_s": 4})
    events = list(job.run(spec, context_of(classes, tmp_path)))
    assert warnings_of(events) == ["The time budget ended before these were done: Linear, DecisionTree, SVM."]
    assert set(trials_of(events)) == {"Baseline"}
    assert psutil.Process().children() == []


def test_a_cancel_keeps_what_is_done_and_ends_what_runs(
    classes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced(monkeypatch, "Linear", Sleeper)
    events: list[Event] = []
    context = context_of(classes, tmp_path, cpus=1, cancelled=lambda: bool(trials_of(events)))
    for event in job.run(PortfolioSpec(dataset_id=classes.id, candidates=QUICK), context):
        events.append(event)
    assert set(trials_of(events)) == {"Baseline"}
    assert psutil.Process().children() == []


def test_a_job_that_is_closed_early_leaves_no_process(
    classes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced(monkeypatch, "Linear", Sleeper)
    spec = PortfolioSpec(dataset_id=classes.id, candidates=QUICK)
    running: Iterator[Event] = job.run(spec, context_of(classes, tmp_path))
    next(event for event in running if isinstance(event, TrialDone))
    assert psutil.Process().children() != []
    running.close()  # type: ignore[attr-defined]
    assert psutil.Process().children() == []


def test_a_job_without_a_single_trial_has_failed(
    classes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced(monkeypatch, "Linear", Broken)
    with pytest.raises(MetascoutError, match="Not one of 1 candidates"):
        ran(classes, tmp_path / "run", candidates=("Linear",))


def test_candidates_and_metrics_that_the_task_does_not_have_are_named(
    classes: Dataset, numbers: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"none of LDA, QDA predicts a number; choose among Baseline"):
        ran(numbers, tmp_path / "run", candidates=("LDA", "QDA"))
    with pytest.raises(InputError, match=r"none of Huber predicts classes"):
        ran(classes, tmp_path / "run", candidates=("Huber",))
    with pytest.raises(InputError, match="'rmse' is not defined"):
        ran(classes, tmp_path / "run", metric="rmse")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"budget_s": 3}, r"budget_s.*10 \(given: 3\)"),
        ({"candidate_s": 0}, r"candidate_s.*1 \(given: 0\)"),
        ({"candidates": ["Magic"]}, "candidates.*Magic"),
        ({"candidates": []}, "candidates: choose at least one"),
        ({"gpus": 1}, "gpus: the portfolio uses none"),
    ],
)
def test_a_wrong_wish_is_named_with_its_value(change: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        specs.parse({"kind": "portfolio", "dataset_id": 1, **change})


# Through the queue, and taken away


@pytest.mark.slow
def test_a_job_of_the_queue_fills_the_leaderboard_the_performance_table_and_the_landmarkers(classes: Dataset) -> None:
    job_id = jobs.submit(PortfolioSpec(dataset_id=classes.id, candidates=QUICK, cpus=2))
    assert loop.run_once("w") == job_id
    row = jobs.overview(job_id=job_id).iloc[0]
    assert (row.status, row.fraction, row.n_trials, row.error) == ("succeeded", 1.0, 3, None)
    assert set(results.leaderboard(classes.id).algorithm) == set(QUICK)
    table = results.performance_table()
    assert (list(table.index), set(table.columns)) == ([classes.name], set(QUICK))
    assert table.loc[classes.name, "Baseline"] == 0.5
    known = metafeatures.get(classes.id)
    assert 0 < known["landmark_linear"] <= 1
    assert len(results.curve(job_id, "best_valid")) == 3


def predicted(boxes: list[Path], given: Path) -> list[pd.DataFrame]:
    """What the scripts that are handed out predict, in a process that knows nothing of this project."""
    for box in boxes:
        next(box.glob("*.skops")).rename(box / "model.skops")
    code = (
        "import runpy, sys\nprogram, given, *boxes = sys.argv\nfor box in boxes:\n"
        "    sys.argv = [program, given, box + '/out.csv']\n"
        "    runpy.run_path(box + '/predict.py', run_name='__main__')"
    )
    path = os.pathsep.join(entry for entry in sys.path if Path(entry, "skops").is_dir())
    command = [sys.executable, "-c", code, str(given), *map(str, boxes)]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=given.parent, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return [pd.read_csv(box / "out.csv", dtype={0: str}) for box in boxes]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["kind", "size"])
def test_a_model_that_is_taken_away_scores_as_its_trial_did(home: Path, tmp_path: Path, target: str) -> None:
    pytest.importorskip("skops")
    frame = mixed(160)[["width", "colour", "said", "seen", target]]
    dataset = registered(frame, tmp_path, target, said="text")
    events = ran(dataset, tmp_path / "run")
    rows = datasets.load(dataset, "test")
    given = tmp_path / "given.csv"
    frame.drop(columns=target).iloc[rows.index].to_csv(given, index=False)
    actual = read(dataset, "test").actual
    trials = list(trials_of(events).values())
    assert len(trials) > 15
    boxes = [unpack(events, trial.candidate, tmp_path / trial.candidate) for trial in trials]
    for trial, out in zip(trials, predicted(boxes, given), strict=True):
        columns = [f"probability of {label}" for label in dataset.labels] or [target]
        said = out[columns].to_numpy(float) if dataset.labels else out[target].to_numpy(float)
        again = score(dataset.task, dataset.labels, (actual, said), (actual, said))
        for one, other in zip(again, trial.scores, strict=True):
            assert one.test == pytest.approx(other.test, abs=1e-6), (trial.algorithm, one.metric)


@pytest.mark.slow
def test_a_model_of_images_reads_a_folder_of_pictures(home: Path, tmp_path: Path) -> None:
    pytest.importorskip("skops")
    dataset = datasets.add_sample("digits_images")
    events = ran(dataset, tmp_path / "run", candidates=("LDA", "HistGradientBoosting"))
    pixels, codes = datasets.load_images(dataset, "test")
    (tmp_path / "pictures").mkdir()
    for number in range(40):
        Image.fromarray(pixels[number, :, :, 0]).save(tmp_path / "pictures" / f"{number:03}.png")
    boxes = [unpack(events, name, tmp_path / name) for name in ("LDA", "HistGradientBoosting")]
    for out in predicted(boxes, tmp_path / "pictures"):
        assert list(out["image"]) == [f"{number:03}.png" for number in range(40)]
        labels = [dataset.labels[code] for code in codes[:40]]
        assert np.mean([str(a) == b for a, b in zip(out["label"], labels, strict=True)]) > 0.85


@pytest.mark.slow
def test_the_zip_of_a_trial_holds_the_model_the_script_and_the_read_me(classes: Dataset) -> None:
    pytest.importorskip("skops")
    jobs.submit(PortfolioSpec(dataset_id=classes.id, candidates=("Linear",)))
    job_id = loop.run_once("w")
    assert job_id is not None
    trial = results.trial(results.trials_of(job_id).trial_id[0])
    found = downloads.of_trial(trial)
    assert found is not None
    assert set(zipfile.ZipFile(found).namelist()) == {"model.skops", "predict.py", "README.txt"}
