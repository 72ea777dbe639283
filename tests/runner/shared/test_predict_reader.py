"""The reader of a downloaded model reads a user's own file as the training table was read."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from core import datasets
from core.datasets.files.tables import MISSING
from runner.shared.predict import output, reader

SCHEMA = {
    "target": "y",
    "labels": [],
    "columns": [
        {"name": "age", "key": "c0", "type": "numeric"},
        {"name": "column 2", "key": "c1", "type": "text"},
        {"name": "zip (2)", "key": "c3", "type": "text"},
    ],
    "missing": list(MISSING),
}


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("1912-04-10 12:00:00", "datetime", "-1821700800.0"),
        ("1970/1/1 1:00", "datetime", "3600.0"),
        ("tomorrow", "datetime", ""),
        ("2020-02-30", "datetime", ""),
        ("1.0", "number as text", "1"),
        ("1.5", "number as text", "1.5"),
        ("00501", "text", "00501"),
        (" lead", "text", "lead"),
        ("\u00a0both ", "text", "both"),
        ("\tkept", "text", "\tkept"),
        ("?", "text", ""),
        (" NA", "text", ""),
        ("none", "text", "none"),
        (" 1e3", "numeric", "1000.0"),
        ("inf", "numeric", ""),
        ("?", "numeric", ""),
        ("", "numeric", ""),
    ],
)
def test_a_value_is_read_as_the_dataset_has_it(text: str, kind: str, expected: str) -> None:
    assert reader.convert(reader.clean(text, SCHEMA["missing"]), kind) == expected


def test_times_and_blanks_are_read_as_registration_reads_them(home: Path, tmp_path: Path) -> None:
    times = ["2020-01-05T03:04:05Z", "2020-01-05 3:04", "2020/1/5", "2020-01-05 10:00:00.5+01:30", "1969-12-31 23:59"]
    words = [" a", "b ", "\u3000c", "NA", " ?", "  -  ", "", " ", "None", "none"]
    lines = [f'{times[i % 5]},"{words[i % 10]}",{i % 7 % 2}' for i in range(40)]
    path = tmp_path / "times.csv"
    path.write_text("\n".join(["time,word,y", *lines]), "utf-8")
    dataset = datasets.register(path, name="times", target="y", types={"word": "categorical"})
    stored = datasets.load(dataset)
    seconds = (stored["c0"] - pd.Timestamp(0)) / pd.Timedelta(seconds=1)
    assert [float(reader.convert(times[i % 5], "datetime")) for i in range(40)] == list(seconds)
    assert [reader.clean(words[i % 10], SCHEMA["missing"]) or None for i in range(40)] == [
        None if pd.isna(word) else word for word in stored["c1"]
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_reader_finds_the_delimiter_and_the_names_of_the_training_table(tmp_path: Path, delimiter: str) -> None:
    lines = [["ZIP", "", " age ", "zip"], ["1", "a;b,c|d\te", "3", "007"], ["1", " ?", " 4", "NA"]]
    with (tmp_path / "in.csv").open("w", encoding="utf-8-sig", newline="") as file:
        file.write("\r\n")
        csv.writer(file, delimiter=delimiter).writerows([lines[0], lines[1], [], lines[2]])
    rows = list(reader.read_rows(str(tmp_path / "in.csv"), "utf-8-sig", SCHEMA))
    assert rows == [["3.0", "a;b,c|d\te", "007"], ["4.0", "", ""]]


def test_a_column_that_the_input_lacks_is_named(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("Age\n3\n")
    with pytest.raises(SystemExit, match=r"in.csv lacks the columns \['age', 'column 2', 'zip \(2\)'\]"):
        list(reader.read_rows(str(tmp_path / "in.csv"), "utf-8-sig", SCHEMA))


def test_values_of_another_type_are_missing_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.csv").write_text("age,,ZIP,zip\nold,a,1,2\n3,b,1,2\n")
    rows = list(reader.read_rows(str(tmp_path / "in.csv"), "utf-8-sig", SCHEMA))
    assert rows == [["", "a", "2"], ["3.0", "b", "2"]]
    assert capsys.readouterr().err == "1 values are not of their column's type and count as missing.\n"


def test_a_line_of_too_few_values_is_named_with_its_number(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("age,,ZIP,zip\n3,b,1,2\n3,b\n")
    with pytest.raises(SystemExit, match=r"in.csv, line 3: 2 values under 4 names"):
        list(reader.read_rows(str(tmp_path / "in.csv"), "utf-8-sig", SCHEMA))


def test_images_of_a_folder_get_the_size_and_the_mode_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    Image.new("RGB", (8, 6), (200, 200, 200)).save(tmp_path / "inner" / "a.png")
    Image.new("L", (4, 3), 90).save(tmp_path / "b.png")
    (tmp_path / "notes.txt").write_text("no image")
    names, pixels = reader.read_images(str(tmp_path), [3, 4, 1])
    assert names == ["b.png", "inner/a.png"]
    assert pixels.shape == (2, 3, 4, 1)
    assert pixels.dtype == np.uint8
    assert (pixels[0] == 90).all()
    assert (pixels[1] == 200).all()


@pytest.mark.parametrize("name", ["b.txt", "b.png"])
def test_a_file_that_is_no_image_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("no image")
    with pytest.raises(SystemExit, match=f"{name} (has no images|cannot be read as an image)"):
        reader.read_images(str(tmp_path / name), [3, 4, 1])


@pytest.mark.parametrize(
    ("labels", "names", "predictions", "expected"),
    [
        ([], None, np.array([1.5, 2], np.float32), [["row", "y"], ["1", "1.5"], ["2", "2.0"]]),
        (
            ["no", "a, b"],
            ["x.png"],
            [[0.25, 0.75]],
            [["image", "y", "probability of no", "probability of a, b"], ["x.png", "a, b", "0.25", "0.75"]],
        ),
    ],
)
def test_predictions_are_written_under_the_targets_name(
    tmp_path: Path, labels: list[str], names: list[str] | None, predictions: object, expected: list[list[str]]
) -> None:
    output.write(str(tmp_path / "out.csv"), {**SCHEMA, "labels": labels}, predictions, names)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == expected
