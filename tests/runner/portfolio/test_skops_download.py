"""The folder of a downloaded scikit-learn model predicts a user's own file as its trial did."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from core import datasets, results
from core.datasets import Dataset
from core.queue import jobs
from core.results import downloads
from core.scoring import score
from core.specs import PortfolioSpec
from runner import loop
from runner.shared.rows import read
from tests.model_folders import predictor_files, unpack
from tests.runner.portfolio.portfolio_runs import mixed_table, register, run, trials_of

pytest.importorskip("skops")
pytestmark = [pytest.mark.sklearn, pytest.mark.slow]


def predictions(folders: list[Path], source: Path) -> list[pd.DataFrame]:
    """What each folder's predict.py predicts, in one process that knows nothing of this project."""
    code = (
        "import runpy, sys\nprogram, source, *folders = sys.argv\nfor folder in folders:\n"
        "    sys.argv = [program, source, folder + '/out.csv']\n"
        "    runpy.run_path(folder + '/predict.py', run_name='__main__')"
    )
    path = os.pathsep.join(entry for entry in sys.path if Path(entry, "skops").is_dir())
    command = [sys.executable, "-c", code, str(source), *map(str, folders)]
    environment = {**os.environ, "PYTHONPATH": path}
    process = subprocess.run(command, cwd=source.parent, capture_output=True, text=True, env=environment)
    assert process.returncode == 0, process.stderr
    return [pd.read_csv(folder / "out.csv", dtype={0: str}) for folder in folders]


@pytest.mark.parametrize("target", ["kind", "size"])
def test_a_downloaded_model_has_the_scores_of_its_trial(home: Path, tmp_path: Path, target: str) -> None:
    frame = mixed_table(160)[["width", "colour", "said", "seen", target]]
    dataset = register(frame, tmp_path, target, said="text")
    events = run(dataset, tmp_path / "run", keep_models=True)
    rows = datasets.load(dataset, "test")
    source = tmp_path / "source.csv"
    frame.drop(columns=target).iloc[rows.index].to_csv(source, index=False)
    actual = read(dataset, "test").actual
    trials = list(trials_of(events).values())
    assert len(trials) > 15
    folders = [unpack(events, trial.candidate, tmp_path / trial.candidate) for trial in trials]
    for trial, out in zip(trials, predictions(folders, source), strict=True):
        columns = [f"probability of {label}" for label in dataset.labels] or [target]
        predicted = out[columns].to_numpy(float) if dataset.labels else out[target].to_numpy(float)
        again = score(dataset.task, dataset.labels, (actual, predicted), (actual, predicted))
        for one, other in zip(again, trial.scores, strict=True):
            assert one.test == pytest.approx(other.test, abs=1e-6), (trial.algorithm, one.metric)


def test_a_model_of_images_reads_a_folder_of_pictures(home: Path, tmp_path: Path) -> None:
    dataset = datasets.add_sample("digits_images")
    events = run(dataset, tmp_path / "run", candidates=("LDA", "HistGradientBoosting"), keep_models=True)
    pixels, codes = datasets.load_images(dataset, "test")
    (tmp_path / "pictures").mkdir()
    for number in range(40):
        Image.fromarray(pixels[number, :, :, 0]).save(tmp_path / "pictures" / f"{number:03}.png")
    folders = [unpack(events, name, tmp_path / name) for name in ("LDA", "HistGradientBoosting")]
    for out in predictions(folders, tmp_path / "pictures"):
        assert list(out["image"]) == [f"{number:03}.png" for number in range(40)]
        labels = [dataset.labels[code] for code in codes[:40]]
        assert np.mean([str(a) == b for a, b in zip(out["label"], labels, strict=True)]) > 0.85


def test_the_zip_of_a_trial_holds_the_model_predict_and_the_read_me(classes: Dataset) -> None:
    jobs.submit(PortfolioSpec(dataset_id=classes.id, candidates=("Linear",)))
    job_id = loop.run_once("w")
    assert job_id is not None
    trial = results.trial(results.trials_of(job_id).trial_id[0])
    path = downloads.bundle_trial(trial)
    assert path is not None
    assert set(zipfile.ZipFile(path).namelist()) == {"model.skops", "README.txt", *predictor_files("skops")}
