"""The page that adds tables: what is uploaded is looked at, corrected and registered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core import datasets
from tests.pages.apptest import fine, opened, shown, upload


def test_a_csv_file_is_inspected_corrected_and_registered(home: Path) -> None:
    rows = "".join(f"{i},{i % 7},{'yes' if i % 3 else 'no'},{i * 37 % 11}\n" for i in range(300))
    at = fine(upload(opened("add_dataset"), "../../My churn [1].csv", f"id,plan,left,calls\n{rows}".encode()))
    file = next(iter(home.joinpath("uploads").iterdir())).name
    frame = at.data_editor[0].value
    assert dict(zip(frame["name"], frame["type"], strict=True))["id"] == "ignored"
    assert any("id" in shown(warning.value) for warning in at.warning)
    at.selectbox(key=f"target_{file}_utf-8").set_value("left").run()
    fine(at)
    assert "binary classification" in shown(at.selectbox(key=f"task_{file}_utf-8_left").options[0])
    at.session_state[f"columns_{file}_utf-8"] = {
        "edited_rows": {1: {"type": "categorical"}},
        "added_rows": [],
        "deleted_rows": [],
    }
    at.run()
    at.text_input(key=f"name_{file}_utf-8").set_value("churn").run()
    at.button(key="register").click().run()
    fine(at)
    dataset = datasets.get("churn")
    assert (dataset.target, dataset.task, dataset.source) == ("left", "binary", "../../My churn [1].csv")
    assert {column.name: column.type for column in dataset.columns}["plan"] == "categorical"
    assert at.title[0].value == "churn"


@pytest.mark.parametrize("content", [b"", b"a,b\n", b"\x89PNG\r\n\x1a\n00", b"a,b\n1,2\n1,2,3\n", b"a,b\n\xff\xfe,1\n"])
def test_a_file_that_is_no_table_ends_in_a_sentence_with_its_own_name(home: Path, content: bytes) -> None:
    at = upload(opened("add_dataset"), "bad *file*.csv", content)
    assert not at.exception
    told = shown(at.error[0].value)
    assert told.endswith(".")
    assert not re.search(r"[0-9a-f]{32}", told)


def test_a_target_that_cannot_be_learnt_blocks_the_button_with_the_reason(home: Path) -> None:
    rows = "".join(f"{i % 9},same\n" for i in range(100))
    at = upload(opened("add_dataset"), "constant.csv", f"x,c\n{rows}".encode())
    file = next(iter(home.joinpath("uploads").iterdir())).name
    at.selectbox(key=f"target_{file}_utf-8").set_value("c").run()
    assert not at.exception
    assert "same value in every row" in shown(at.error[0].value)
    assert at.button(key="register").disabled


def test_a_file_with_a_split_of_its_own_keeps_it_unless_told_otherwise(home: Path) -> None:
    rows = "".join(f"{i % 9},{'ab'[i % 2]},{'test' if i >= 80 else 'train'}\n" for i in range(100))
    at = fine(upload(opened("add_dataset"), "own.csv", f"x,c,part\n{rows}".encode()))
    file = next(iter(home.joinpath("uploads").iterdir())).name
    at.selectbox(key=f"target_{file}_utf-8").set_value("c").run()
    [split] = [box for box in at.selectbox if box.label == "Split"]
    assert split.options == ["From column part", "New: 60% train, 20% validation, 20% test"]
    at.button(key="register").click().run()
    fine(at)
    assert len(datasets.load(datasets.get("own"), "test")) == 20


def test_rare_classes_can_be_left_out(home: Path) -> None:
    rows = "".join(f"{i % 9},{'rare' if i == 0 else 'ab'[i % 2]}\n" for i in range(100))
    at = upload(opened("add_dataset"), "rare.csv", f"x,c\n{rows}".encode())
    file = next(iter(home.joinpath("uploads").iterdir())).name
    assert "rare" in shown(at.error[0].value)
    at.toggle(key=f"drop_{file}_utf-8").set_value(True).run()
    fine(at)
    at.button(key="register").click().run()
    assert datasets.get("rare").labels == ("a", "b")


def test_a_sample_is_added_at_one_click(home: Path) -> None:
    at = opened("add_dataset", way="A built-in sample")
    at.radio(key="sample").set_value("iris").run()
    at.button(key="add_sample").click().run()
    fine(at)
    assert at.title[0].value == "iris"
