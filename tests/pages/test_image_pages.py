"""The pages with images: what is uploaded is looked at, corrected and registered; a set shows its pictures."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core import datasets
from pages.parts import image_grid
from tests.pages.apptest import fine, opened, shown, upload
from tests.pages.filled import ODD
from tests.pictures import encoded, folders, pixels, zipped

__all__ = ["zipped"]  # a fixture
NAME = "my *pets*.zip"


def uploaded(home: Path) -> str:
    """The name on disk of the only upload."""
    return next(iter(home.joinpath("uploads").iterdir())).name


def cards(at: AppTest) -> list[str]:
    """The headings of the classes' cards."""
    return [shown(item.value) for item in at.markdown if ":gray[" in item.value]


def test_a_zip_is_looked_at_resized_and_registered(home, zipped) -> None:
    files = {f"top/{name}": content for name, content in folders(30, height=12, width=12).items()}
    path = zipped(files | {"top/notes.txt": b"x"})
    at = fine(upload(opened("add_dataset"), NAME, path.read_bytes()))
    file = uploaded(home)
    assert any("60 images of 12 x 12 pixels, RGB" in caption.value for caption in at.caption)
    assert any("1 file is ignored" in shown(warning.value) for warning in at.warning)
    assert cards(at) == ["**cat** :gray[30 images]", "**dog** :gray[30 images]"]
    assert len(at.get("image")) == 2
    at.number_input(key=f"side_{file}").set_value(8).run()
    assert any("60 images of 8 x 8 pixels" in caption.value for caption in at.caption)
    at.text_input(key=f"name_{file}").set_value("pets").run()
    at.button(key="register").click().run()
    fine(at)
    dataset = datasets.get("pets")
    assert (dataset.source, dataset.features[0].shape) == (NAME, (8, 8, 3))
    assert at.title[0].value == "pets"
    assert [metric.value for metric in at.metric] == ["36", "12", "12", "8 x 8"]
    assert len(at.get("image")) == 2
    assert not at.dataframe


@pytest.mark.parametrize("content", [b"PK\3\4 no archive", b"PK\5\6" + bytes(18)])
def test_a_zip_that_holds_no_images_ends_in_a_sentence_with_its_own_name(home, content: bytes) -> None:
    at = upload(opened("add_dataset"), NAME, content)
    assert not at.exception
    told = shown(at.error[0].value)
    assert told.startswith(NAME)
    assert not re.search(r"[0-9a-f]{32}", told)
    assert not at.button


def test_classes_that_cannot_be_learnt_block_the_button_until_they_are_left_out(home, zipped) -> None:
    files = folders() | {f"{ODD.replace('/', '')}/{i}.png": encoded(pixels(800 + i)) for i in range(2)}
    at = upload(opened("add_dataset"), NAME, zipped(files).read_bytes())
    assert not at.exception
    assert ODD.replace("/", "")[:20] in shown(at.error[0].value)
    assert at.button(key="register").disabled
    at.toggle(key=f"drop_{uploaded(home)}").set_value(True).run()
    fine(at)
    at.button(key="register").click().run()
    fine(at)
    assert datasets.get("my _pets").labels == ("cat", "dog")


def test_a_side_that_does_not_fit_is_asked_for_again(home, zipped, monkeypatch) -> None:
    monkeypatch.setattr("core.datasets.images.conversion.MAX_BYTES", 24 * 10 * 10 * 3)
    at = upload(opened("add_dataset"), NAME, zipped(folders(height=12, width=12)).read_bytes())
    assert "Choose a side of at most 10 pixels" in shown(at.error[0].value)
    at.number_input(key=f"side_{uploaded(home)}").set_value(10).run()
    fine(at)
    assert not at.button(key="register").disabled


def test_odd_names_of_classes_are_shown_as_they_are(home, zipped) -> None:
    odd = ODD.replace("/", "")
    files = folders() | {f"{odd}/{i}.png": encoded(pixels(800 + i)) for i in range(12)}
    datasets.register_images(zipped(files), name="odd")
    at = fine(opened("dataset", dataset="odd"))
    assert len(cards(at)) == 3
    assert any("script>" in text and "smile:" in text for text in cards(at))
    assert not any(":smile:" in item.value for item in at.markdown)
    assert fine(opened("datasets")).dataframe[0].value["open"][0] == ":material/image: odd"


def test_of_many_classes_the_commonest_are_drawn_and_all_are_listed(home, zipped) -> None:
    labels = tuple(f"class {i:02}" for i in range(30))
    files = folders(3, labels) | {f"class 29/more{i}.png": encoded(pixels(9000 + i)) for i in range(5)}
    datasets.register_images(zipped(files), name="many")
    at = fine(opened("dataset", dataset="many"))
    assert len(at.get("image")) == image_grid.CLASSES
    assert cards(at)[0] == "**class 29** :gray[8 images]"
    assert len(at.dataframe[0].value) == 30


def test_the_sample_of_images_is_added_at_one_click_and_a_job_form_opens_on_it(home) -> None:
    at = opened("add_dataset", way="A built-in sample")
    at.radio(key="sample").set_value("digits_images").run()
    at.button(key="add_sample").click().run()
    fine(at)
    assert shown(at.title[0].value) == "digits_images"
    assert len(at.get("image")) == 10
    assert fine(opened("new_job", dataset="digits_images")).title


@pytest.mark.parametrize(("side", "channels"), [(8, 1), (8, 3), (64, 3), (400, 1)])
def test_a_strip_shows_its_images_in_whole_pixels_with_clear_gaps(side: int, channels: int) -> None:
    values = np.stack([pixels(i, side, side, channels) for i in range(3)])
    strip = image_grid.strip(values)
    own = (strip.shape[1] - 3 * 4) // 3
    assert strip.dtype == np.uint8
    assert strip.shape == (own, 3 * (own + 4), 4)
    assert 40 <= own <= 130
    assert (strip[:, :own, 3] == 255).all()
    assert (strip[:, own : own + 4, 3] == 0).all()
    assert (strip[0, own + 4, :3] == values[1, 0, 0]).all()


def test_the_folders_within_a_zip_s_folders_may_be_its_classes(home, zipped) -> None:
    places = [f"{outer}/{inner}/{i}.png" for outer in ("Greek", "Latin") for inner in ("one", "two") for i in range(12)]
    files = {place: encoded(pixels(number)) for number, place in enumerate(places)}
    at = fine(upload(opened("add_dataset"), NAME, zipped(files).read_bytes()))
    assert cards(at) == ["**Greek** :gray[24 images]", "**Latin** :gray[24 images]"]
    at.get_by_key(f"inner_{uploaded(home)}").set_value("Inner").run()
    assert cards(fine(at)) == [f"**{o}/{i}** :gray[12 images]" for o in ("Greek", "Latin") for i in ("one", "two")]
    at.button(key="register").click().run()
    fine(at)
    assert datasets.get("my _pets").labels == ("Greek/one", "Greek/two", "Latin/one", "Latin/two")
