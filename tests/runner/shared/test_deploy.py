"""The files that are written for the download of a model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from core import datasets
from core.datasets import Dataset
from core.events import Artifact
from core.results import downloads
from runner.shared.deploy import Readme, image_schema, network_readme, table_schema, value_type, write_predictor
from runner.shared.predict import with_h2o, with_onnx, with_skops
from tests.model_folders import predict, predictor_files, unpack

NUMBERS = """
def predict(folder, schema, inputs, options):
    return [len(row) for row in inputs]
"""


def test_a_table_is_described_with_the_columns_that_the_model_reads(dataset: Dataset) -> None:
    schema = table_schema(dataset, "onnx", dataset.features, words=["a"])
    assert schema["columns"] == [
        {"name": "size", "key": "c0", "type": "numeric", "text": False},
        {"name": "colour", "key": "c1", "type": "text", "text": False},
    ]
    assert (schema["format"], schema["modality"], schema["target"]) == ("onnx", "table", "target")
    assert (schema["labels"], schema["words"]) == (["no", "yes"], ["a"])


def test_categories_that_are_all_numbers_are_read_as_numbers(home: Path, tmp_path: Path) -> None:
    lines = [("1.0,007,1,2", "2.0,2,x,3")[row % 2] + f",{row % 3}" for row in range(60)]
    (tmp_path / "codes.csv").write_text("\n".join(["whole,code,word,number,y", *lines]))
    types = {"whole": "categorical", "code": "categorical", "word": "categorical", "number": "numeric"}
    dataset = datasets.register(tmp_path / "codes.csv", name="codes", target="y", types=types)
    read_as = {column.name: value_type(dataset, column) for column in dataset.features}
    assert read_as == {"whole": "number as text", "code": "text", "word": "text", "number": "numeric"}


def test_the_folder_of_a_model_predicts_with_its_own_modules_only(dataset: Dataset, tmp_path: Path) -> None:
    directory = tmp_path / "artifacts"
    directory.mkdir()
    readme = Readme("small: predict 'target'", {"model.zip": "the model"}, ", and nothing else", "A note.")
    schema = table_schema(dataset, "h2o", dataset.features) | {"labels": []}
    events: list[Artifact] = list(write_predictor(directory, schema, readme))
    paths = {downloads.path_in_zip(event.kind, event.name) for event in events}
    assert paths == {"README.txt", *predictor_files("h2o")}
    assert json.loads((directory / "schema.json").read_text("utf-8")) == schema
    text = (directory / "README.txt").read_text("utf-8")
    assert text.startswith("small: predict 'target'\n\nmodel.zip            the model\n")
    assert (
        "\n    python predict.py rows.csv predictions.csv\n\npredict.py needs Python 3.11+, and nothing else.\n" in text
    )
    assert text.endswith("\n\nA note.\n")
    folder = unpack(events, "any", tmp_path / "model")
    (folder / "metascout_predict" / "with_h2o.py").write_text(NUMBERS)
    (folder / "rows.csv").write_text("other,colour,size\n1,red,2\n1,blue,3\n")
    out = predict(folder, "rows.csv", env={})
    assert out.to_dict("list") == {"row": ["1", "2"], "target": ["2.0", "2.0"]}
    command = [sys.executable, "predict.py", "gone.csv", "out.csv"]
    gone = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert (gone.returncode, gone.stderr) == (1, "There is no file gone.csv: give the path of an existing one.\n")


def test_the_read_me_of_a_network_of_images_names_what_it_needs(tmp_path: Path) -> None:
    schema = image_schema("onnx", "label", ["a", "b"], [8, 8, 1])
    list(write_predictor(tmp_path, schema, network_readme("digits", True, "")))
    text = (tmp_path / "README.txt").read_text("utf-8")
    assert "python predict.py images/ predictions.csv" in text
    assert "needs Python 3.11+, numpy, onnxruntime and Pillow; with --torch it uses" in " ".join(text.split())
    assert text.endswith("An image of another size or mode is converted.\n")
    assert json.loads((tmp_path / "schema.json").read_text("utf-8"))["shape"] == [8, 8, 1]


def test_rows_become_the_raw_inputs_of_a_network() -> None:
    columns = [{"name": "size"}, {"name": "colour", "levels": ["blue", "red"]}, {"name": "empty", "levels": []}]
    table = with_onnx._encode(iter([["1.5", "red", ""], ["", "green", "x"]]), {"modality": "table", "columns": columns})
    np.testing.assert_array_equal(table, [[1.5, 2, 0], [np.nan, 0, 0]])
    schema = {"modality": "text", "words": ["fine", "film"], "length": 3}
    codes = with_onnx._encode(iter([["A fine", "film, this"], ["", ""]]), schema)
    assert codes.tolist() == [[1, 2, 3], [0, 0, 0]]
    assert with_onnx._encode(np.zeros((2, 4, 5, 3), np.uint8), {"modality": "image"}).shape == (2, 3, 4, 5)


def test_rows_become_the_table_of_a_pipeline() -> None:
    columns = [
        {"key": "c0", "type": "numeric", "text": False},
        {"key": "c1", "type": "number as text", "text": False},
        {"key": "c2", "type": "text", "text": True},
    ]
    frame = with_skops.table(iter([["1.5", "3", "words"], ["", "", ""]]), columns)
    assert frame["c0"].tolist()[0] == 1.5
    assert np.isnan(frame["c0"][1])
    assert frame["c1"].tolist() == ["3", None]
    assert frame["c2"].tolist() == ["words", ""]


def test_the_scorer_of_h2o_reads_quoted_values_and_writes_probabilities_or_numbers(tmp_path: Path) -> None:
    with_h2o.write_input(tmp_path / "in.csv", [{"key": "c0"}, {"key": "c1"}], iter([[" a", 'b"c'], ["", "1"]]))
    assert (tmp_path / "in.csv").read_text("utf-8").splitlines() == ['"c0","c1"', '" a","b""c"', '"","1"']
    (tmp_path / "out.csv").write_text("predict,no,yes\nyes,0.25,0.75\n")
    assert with_h2o._read_output(tmp_path / "out.csv", 2) == [[0.25, 0.75]]
    (tmp_path / "numbers.csv").write_text("predict\n1.5\n")
    assert with_h2o._read_output(tmp_path / "numbers.csv", 0) == [1.5]
