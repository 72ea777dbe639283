"""Examples for the playground: uploaded and drawn, and shown with their predictions."""

from __future__ import annotations

import base64
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core import specs
from core.datasets.images import examples
from core.errors import InputError
from core.queue import jobs
from pages import words
from pages.parts.fewshot import canvas, gallery
from tests.pages.apptest import fine, opened, shown
from tests.pages.fewshot_filled import Filled, glyph
from tests.pictures import encoded

SHAPE = (28, 28, 1)


def newest() -> jobs.Job:
    """The job that was submitted last."""
    return jobs.get(int(jobs.overview(limit=None)["id"].max()))


def png(number: int, drawer: int = 0, side: int = 28) -> bytes:
    return encoded(glyph(number, drawer, side)[..., 0])


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return stream.getvalue()


def uploading(fewshot: Filled, way: str) -> AppTest:
    at = fine(opened("playground", initialisation=str(fewshot.maml)))
    at.get_by_key("play_source").set_value("Upload").run()
    return fine(at).radio(key="play_way").set_value(way).run()


def test_a_zip_of_class_folders_becomes_examples_of_one_size_and_mode(fewshot: Filled) -> None:
    at = uploading(fewshot, "A ZIP of class folders")
    files = {f"{label}/{i}.png": png(k, i, 40) for k, label in enumerate("xy") for i in range(4)}
    at.file_uploader(key="play_zip").upload("mine.zip", zipped(files | {"x/broken.png": b"no image"})).run()
    assert "1 image of mine.zip cannot be read. Ignored." in shown(at.warning[0].value)
    at.file_uploader(key="play_predict").upload("what.png", png(0, 9)).run()
    at.number_input(key="play_upload_shots").set_value(3).run()
    at.button(key="adapt").click().run()
    fine(at)
    spec = newest().spec
    assert isinstance(spec, specs.FineTuneSpec)
    assert (spec.shots, spec.classes, spec.initialisation) == (3, (), fewshot.maml)
    kept = examples.load(spec.examples or "")
    assert kept.images.shape == (9, *SHAPE)
    assert kept.codes.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, examples.UNKNOWN]
    assert kept.labels == ("x", "y")
    assert (kept.images[8] == glyph(0, 9)).all()


def test_images_class_by_class_become_examples_under_the_names_given(fewshot: Filled) -> None:
    at = uploading(fewshot, "Class by class")
    at.text_input(key="play_name_0").set_value("*ones*")
    at.file_uploader(key="play_files_0").upload("a.png", png(3)).run()
    at.file_uploader(key="play_files_1").upload("b.png", png(4)).run()
    at.button(key="adapt").click().run()
    fine(at)
    spec = newest().spec
    assert isinstance(spec, specs.FineTuneSpec)
    assert examples.load(spec.examples or "").labels == ("*ones*", "B")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"play_zip": ("photos.zip", b"PK\3\4 broken")}, "photos.zip is not a complete ZIP file"),
        ({"play_zip": ("flat.zip", zipped({"1.png": png(1)}))}, "No image of flat.zip is in a class folder"),
        ({"play_predict": ("party.png", b"no image")}, "party.png is not a readable image"),
        (
            {"play_zip": ("same.zip", zipped({"a/1.png": png(1), "b/2.png": png(1)}))},
            "'a/1.png' in 'a' and 'b/2.png' in 'b' are the same image",
        ),
    ],
)
def test_a_bad_upload_is_told_in_a_sentence_with_its_name(
    fewshot: Filled, files: dict[str, tuple[str, bytes]], said: str
) -> None:
    at = uploading(fewshot, "A ZIP of class folders")
    for key, (file, content) in files.items():
        at.file_uploader(key=key).upload(file, content).run()
    assert not at.exception
    assert any(said in shown(item.value) for item in at.warning)


def test_adapting_without_examples_says_what_is_missing(fewshot: Filled) -> None:
    before = sum(jobs.counts().values())
    at = uploading(fewshot, "Class by class")
    at.button(key="adapt").click().run()
    assert "Examples: There are no images yet. Give images of 2 classes or more." in shown(at.error[0].value)
    two = uploading(fewshot, "Class by class")
    two.text_input(key="play_name_1").set_value("A").run()
    assert any("Class 2 is named 'A'. Give each class a different name." in shown(w.value) for w in two.warning)
    assert sum(jobs.counts().values()) == before


def url(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def test_drawings_become_examples_and_can_be_deleted(fewshot: Filled) -> None:
    at = fine(opened("playground", initialisation=str(fewshot.maml)))
    at.get_by_key("play_source").set_value("Draw").run()
    assert at.toggle(key=f"play_bright_{fewshot.images}").value is True
    drawn = [canvas.Drawing(str(i), png(i, 0, 280), label) for i, label in enumerate(["A", "A", "*b*", None])]
    at.session_state["drawings"] = drawn
    at.run()
    assert [item.value for item in fine(at).markdown if "**" in item.value] == [
        "**A**", f"**{words.plain('*b*')}**", f"**{canvas.PREDICT}**",
    ]  # fmt: skip
    at.button(key="delete_1").click().run()
    at.button(key="adapt").click().run()
    fine(at)
    spec = newest().spec
    assert isinstance(spec, specs.FineTuneSpec)
    assert spec.shots == 1
    kept = examples.load(spec.examples or "")
    assert (kept.codes.tolist(), kept.labels) == ([0, 1, examples.UNKNOWN], ("A", "*b*"))
    assert kept.images.shape == (3, *SHAPE)


@pytest.mark.parametrize(
    "sent",
    [None, 7, "", "data:text/html;base64,PGI+", "data:image/png;base64,***", url(b"no image"), url(b"x" * 2**21)],
)
def test_what_is_no_drawing_is_refused_in_a_sentence(home: Path, sent: Any) -> None:
    with pytest.raises(InputError, match=r"Draw it again\."):
        canvas.content(sent)


def test_a_drawing_larger_than_the_canvas_can_be_is_refused(home: Path) -> None:
    with pytest.raises(InputError, match="at most 1024 pixels"):
        canvas.content(url(encoded(np.zeros((8, 2000), np.uint8))))
    assert canvas.content(url(png(1))) == png(1)


def test_what_is_to_be_predicted_comes_first_and_then_what_is_wrong() -> None:
    rows = [
        {"actual": "a", "predicted": "a"}, {"actual": "a", "predicted": "b"}, {"actual": None, "predicted": "b"},
    ]  # fmt: skip
    assert [row["actual"] is None for row in sorted(rows, key=gallery.order)] == [True, False, False]
    assert sorted(rows, key=gallery.order)[1]["predicted"] == "b"


def test_names_of_classes_are_no_markup_in_the_grid() -> None:
    card = gallery.card(
        {"actual": "<i>x</i>", "predicted": "<script>", "probabilities": [0.25, 0.75], "name": '"><b>'},
        np.zeros(SHAPE, np.uint8),
    )
    assert "<script>" not in card
    assert "<i>" not in card
    assert 'alt="&quot;&gt;&lt;b&gt;, predicted &lt;script&gt;"' in card
    assert "&lt;script&gt;</b> 75%" in card
