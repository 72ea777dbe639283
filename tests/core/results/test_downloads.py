"""What a trial's zip holds, by the kind of each artifact: of today's jobs and of those of earlier versions."""

from __future__ import annotations

import pandas as pd
import pytest

from core.results import downloads


@pytest.mark.parametrize(
    ("kind", "name", "path"),
    [
        ("mojo", "GBM_1.zip", "model.zip"),
        ("skops", "SVM.skops", "model.skops"),
        ("predict_script", "predict.py", "predict.py"),
        ("predict_module", "reader.py", "metascout_predict/reader.py"),
        ("predict_schema", "schema.json", "schema.json"),
        ("readme", "README.txt", "README.txt"),
        ("scoring_jar", "h2o-genmodel.jar", "h2o-genmodel.jar"),
        ("scoring_script", "score.py", "score.py"),
        ("nas_script", "predict.py", "predict.py"),
        ("skops_readme", "README.txt", "README.txt"),
        ("checkpoint", "search.pt", None),
    ],
)
def test_an_artifact_has_its_place_in_the_zip(kind: str, name: str, path: str | None) -> None:
    assert downloads.path_in_zip(kind, name) == path


@pytest.mark.parametrize(
    ("kinds", "script"),
    [
        (["mojo", "predict_script", "predict_module"], "predict.py"),
        (["mojo", "scoring_script", "scoring_jar"], "score.py"),
        (["onnx", "nas_script"], "predict.py"),
        (["skops", "skops_script"], "predict.py"),
        (["adapted_weights"], None),
    ],
)
def test_the_script_of_a_download_is_that_of_its_version(kinds: list[str], script: str | None) -> None:
    assert downloads.script(pd.DataFrame({"kind": kinds})) == script
