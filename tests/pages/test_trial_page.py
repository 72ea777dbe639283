"""The page of a trial: its charts, its network, and its model as a download."""

from __future__ import annotations

import io
import zipfile

from streamlit.testing.v1 import AppTest

from core import results
from core.results import downloads
from pages.parts import network_drawing
from tests.pages.apptest import figure, fine, opened
from tests.pages.filled import ARCHITECTURE, Filled


def test_a_trial_offers_its_model_with_a_command_that_fits_its_name(filled: Filled) -> None:
    at = fine(opened("trial", trial=str(filled.trial)))
    buttons = {button.key for button in at.get("download_button")}
    assert "bundle" in buttons
    assert f"unzip breast_cancer_trial_{filled.trial}.zip" in at.code[0].value
    at = fine(opened("trial", trial=str(filled.yardstick)))
    assert len(results.trial(filled.yardstick).artifacts)  # the scoring jar of the job
    assert not at.get("download_button")
    assert any("for comparison only" in info.value for info in at.info)


def test_a_regression_trial_draws_its_residuals(filled: Filled) -> None:
    frame = results.leaderboard(filled.regression)
    at = fine(opened("trial", trial=str(frame["trial_id"].iloc[0])))
    assert "Predicted and actual, test set" in [item.value for item in at.subheader]


def test_a_finalist_shows_its_network_and_offers_its_files(filled: Filled) -> None:
    at = fine(opened("trial", trial=str(filled.finalist)))
    values = {metric.label: metric.value for metric in at.metric}
    assert values["Parameters"] == "5,211"
    assert values["FLOPs per row"] == "512 k"
    body = figure(at, "architecture")
    texts = [note.get("text", "") for note in body["layout"]["annotations"]]
    assert sum("<b>" in text for text in texts) == len(ARCHITECTURE)
    assert "8x8x16" in texts
    assert not any("<script" in text for text in texts)
    assert "bundle" in {button.key for button in at.get("download_button")}
    assert f"unzip digits_images_trial_{filled.finalist}.zip" in at.code[0].value
    assert "python predict.py images/ predictions.csv" in at.code[0].value


def test_the_bundle_of_a_finalist_holds_its_own_model_and_the_script(filled: Filled) -> None:
    trial = results.trial(filled.finalist)
    path = downloads.bundle_trial(trial)
    assert path is not None
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        assert set(archive.namelist()) == {"model.onnx", "model.py", "weights.pt", "predict.py", "README.txt"}
        assert archive.read("weights.pt").startswith(f"weights.pt of {trial.candidate}".encode())


def test_a_trial_without_a_model_has_no_bundle(filled: Filled) -> None:
    trial = results.trial(filled.yardstick)
    assert len(trial.artifacts)
    assert downloads.bundle_trial(trial) is None


def test_a_deep_network_is_drawn_as_far_as_it_fits(filled: Filled) -> None:
    def deep() -> None:
        from pages.parts import network_drawing

        network_drawing.draw([{"name": f"Layer {i}"} for i in range(100)], key="deep")

    at = fine(AppTest.from_function(deep).run())
    assert at.caption[0].value == f"The first {network_drawing.LAYERS} of 100 layers"
