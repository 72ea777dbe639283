"""Image sets: images of any size and mode become alike, classes are checked, and each image has a split."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from core import datasets, specs
from core.datasets.images import conversion
from core.datasets.images import folders as image_folders
from core.errors import InputError, MetascoutError
from core.queue import jobs
from runner.shared.rows import plain_columns
from tests.pictures import all_rows, encoded, finding_text, folders, kinds, pixels, stored_pixels, zipped

__all__ = ["zipped"]  # a fixture


def test_a_zip_of_class_folders_is_stored_pixel_by_pixel_and_split_within_each_class(zipped):
    files = folders(40)
    dataset = datasets.register_images(zipped(files), name="pets", owner="ann", source="pets.zip")
    assert (dataset.target, dataset.task, dataset.labels) == ("label", "binary", ("cat", "dog"))
    assert [(c.key, c.type, c.shape) for c in dataset.columns] == [
        ("c0", "image", (8, 8, 3)),
        ("c1", "categorical", None),
    ]
    assert dataset.n_rows == {"train": 48, "valid": 16, "test": 16}
    assert (dataset.modality, dataset.owner, dataset.source) == ("image", "ann", "pets.zip")
    assert dataset.findings == (datasets.Finding("few_rows", dataset.findings[0].text),)
    frame = all_rows(dataset)
    assert list(frame) == ["c0", "c1", "split", "row"]
    assert frame.groupby("c1")["split"].value_counts().to_dict() == {
        (label, split): n for label in ("cat", "dog") for split, n in (("train", 24), ("valid", 8), ("test", 8))
    }
    for row, number in ((0, 0), (79, 139)):
        assert (stored_pixels(dataset, row) == pixels(number)).all()
    assert datasets.get("pets") == dataset
    assert datasets.from_json(datasets.to_json(dataset)) == dataset


def test_images_load_in_the_order_of_the_file_with_the_codes_of_their_classes(zipped):
    dataset = datasets.register_images(zipped(folders(30)), name="pets")
    frame = all_rows(dataset)
    for split in datasets.SPLITS:
        values, codes = datasets.load_images(dataset, split)
        part = frame[frame["split"] == split]
        assert (values.dtype, codes.dtype) == (np.uint8, np.int64)
        assert values.shape == (dataset.n_rows[split], 8, 8, 3)
        assert [value.tobytes() for value in values] == list(part["c0"])
        assert [dataset.labels[code] for code in codes] == list(part["c1"])


def test_the_same_images_and_choices_are_one_dataset_and_other_choices_need_another_name(zipped):
    path = zipped(folders())
    first = datasets.register_images(path, name="n")
    assert datasets.register_images(path, name="n") == first
    assert datasets.register_images(path, name="n", side=8) == first  # the size that the images have
    for choice in ({"seed": 2}, {"side": 16}):
        with pytest.raises(InputError, match="'n' is taken"):
            datasets.register_images(path, name="n", **choice)
    same = datasets.register_images(path, name="m")
    assert (same.fingerprint, same.table) == (first.fingerprint, first.table)
    other = datasets.register_images(path, name="o", seed=2)
    assert list(all_rows(other)["split"]) != list(all_rows(first)["split"])
    with pytest.raises(InputError, match=r"'a/b' cannot be used"):
        datasets.register_images(path, name="a/b")


def test_common_folders_mac_junk_and_other_files_are_not_classes(zipped):
    files = {f"top/data/{name}": content for name, content in folders().items()}
    files |= {
        "__MACOSX/top/data/cat/._0.png": b"junk", "top/data/.DS_Store": b"junk", "top/data/cat/Thumbs.db": b"junk",
        "top/data/cat/.hidden.png": b"junk", "top/data/notes.txt": b"text", "top/data/dog/more.zip": b"PK\3\4",
        "top/data/loose.png": encoded(pixels(900)), "top/data/cat/deep/1.png": encoded(pixels(901)),
        "top/data/bird/": b"", "readme.png": encoded(pixels(902)),
    }  # fmt: skip
    dataset = datasets.register_images(zipped(files), name="n")
    assert dataset.labels == ("cat", "dog")
    assert sum(dataset.n_rows.values()) == 25
    assert finding_text(dataset, "other_files") == "3 files are ignored: 1 archive, 1 hidden, 1 of another type."
    assert finding_text(dataset, "no_class").startswith("2 images are not in a class folder")
    assert finding_text(dataset, "deep_folders").startswith("1 image is in a folder within a class folder")
    assert finding_text(dataset, "empty_class").endswith("'bird'. Ignored.")


@pytest.mark.parametrize("label", ["<b>x", "größe ✨", "=1+1", "a'b\"c", "*a*", "$x$ :red[y]", "very " * 60])
def test_odd_names_of_classes_are_stored_unchanged(zipped, label):
    files = folders() | {f"{label}/{i}.png": encoded(pixels(700 + i)) for i in range(5)}
    assert label[:200].strip() in [name.strip() for name in datasets.register_images(zipped(files), name="n").labels]


def test_a_name_of_a_class_loses_control_characters_and_spellings_of_one_letter_become_one():
    assert image_folders.plain_label(" a\x00\n\u200bb ") == "a b"
    assert image_folders.plain_label("e\u0301") == image_folders.plain_label("\u00e9")


def test_images_of_many_sizes_become_squares_of_their_median_side_and_keep_their_shape(zipped):
    files = folders(10, height=20, width=20) | {
        "cat/wide.png": encoded(np.full((10, 40, 3), (200, 100, 50), np.uint8)),
        "dog/tall.png": encoded(np.concatenate([np.full((20, 10, 3), 250, np.uint8), np.zeros((20, 10, 3), np.uint8)])),
    }
    dataset = datasets.register_images(zipped(files), name="n")
    assert dataset.features[0].shape == (20, 20, 3)
    assert finding_text(dataset, "resized").startswith("2 of 22 images of 3 sizes were resized to 20 x 20 pixels")
    assert (stored_pixels(dataset, 20) == (200, 100, 50)).all()  # its edge is repeated, no border is made up
    tall = stored_pixels(dataset, 21)
    assert (tall[:8] == 250).all()
    assert (tall[-8:] == 0).all()


def test_the_default_side_is_capped_and_a_chosen_one_holds_for_all(zipped):
    big = folders(10, height=100, width=120) | {"cat/odd.png": encoded(pixels(900, 90, 90))}
    path = zipped(big)
    assert datasets.register_images(path, name="a").features[0].shape == (64, 64, 3)
    assert datasets.register_images(path, name="b", side=16).features[0].shape == (16, 16, 3)
    equal = zipped(folders(10, height=10, width=14), "equal.zip")
    assert datasets.register_images(equal, name="c").features[0].shape == (10, 14, 3)
    for side in (3, 513):
        with pytest.raises(InputError, match=f"The side {side} cannot be used. Choose 4 to 512"):
            datasets.register_images(path, name="d", side=side)


def test_every_format_and_mode_is_decoded(zipped):
    grey, other = pixels(901, channels=1)[:, :, 0], pixels(902, channels=1)[:, :, 0]
    deep = Image.fromarray(other.astype(np.uint16) * 257)
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    turned = Image.Exif()
    turned[0x0112] = 6
    half = np.zeros((8, 8, 3), np.uint8)
    half[:, 4:] = 255
    frames = [Image.fromarray(pixels(i)) for i in (903, 904)]
    files = folders() | {
        "cat/grey.png": encoded(grey), "cat/deep.png": encoded(deep), "cat/clear.png": encoded(clear),
        "dog/turned.jpg": encoded(half, "JPEG", exif=turned, quality=100),
        "dog/cmyk.jpg": encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"),
        "dog/moving.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "dog/lossless.webp": encoded(pixels(905), "WEBP", lossless=True), "dog/map.bmp": encoded(pixels(906), "BMP"),
        "dog/palette.png": encoded(Image.fromarray(half).convert("P")),
    }  # fmt: skip
    dataset = datasets.register_images(zipped(files), name="n")
    assert kinds(dataset) == {"transparent", "turned", "deep", "moving", "modes"}
    for kind in kinds(dataset) - {"modes"}:
        assert finding_text(dataset, kind).startswith("1 of 33 images")
    assert finding_text(dataset, "modes").startswith("2 of 33 images are grey")
    assert (stored_pixels(dataset, 24) == grey[:, :, None]).all()
    assert (stored_pixels(dataset, 25) == other[:, :, None]).all()
    assert (stored_pixels(dataset, 26) == 255).all()
    assert stored_pixels(dataset, 27)[0].mean() < 10  # the dark left half has turned to the top
    assert stored_pixels(dataset, 27)[-1].mean() > 245
    assert np.abs(stored_pixels(dataset, 28).astype(int) - (255, 0, 0)).max() < 12
    assert (stored_pixels(dataset, 30) == pixels(905)).all()
    assert (stored_pixels(dataset, 31) == pixels(906)).all()
    assert (stored_pixels(dataset, 32) == half).all()


def test_all_grey_images_have_one_channel_even_when_stored_in_colour(zipped):
    plain = {name: encoded(pixels(i, channels=1)[:, :, 0]) for i, name in enumerate(folders())}
    dataset = datasets.register_images(zipped(plain), name="plain")
    assert (dataset.features[0].shape, kinds(dataset)) == ((8, 8, 1), set())
    stored = {name: encoded(pixels(i, channels=1).repeat(3, axis=2)) for i, name in enumerate(folders())}
    dataset = datasets.register_images(zipped(stored, "stored.zip"), name="stored")
    assert dataset.features[0].shape == (8, 8, 1)
    assert finding_text(dataset, "modes").startswith("All images are grey, though 24 are stored in colour")
    assert (stored_pixels(dataset, 3) == pixels(3, channels=1)).all()


def test_a_large_photo_is_read_at_a_fraction_of_its_size(zipped):
    ramp = np.linspace(0, 255, 1600).astype(np.uint8)
    photo = np.stack([np.tile(ramp, (1200, 1))] * 3, axis=2)
    files = folders() | {"cat/photo.jpg": encoded(photo, "JPEG", quality=95)}
    dataset = datasets.register_images(zipped(files), name="n", side=32)
    row = stored_pixels(dataset, 24)[16, :, 0].astype(int)
    assert np.abs(row - np.linspace(0, 255, 32)).max() < 10


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"notes.txt": b"x"}, r"holds no images \(PNG, JPEG"),
        ({}, r"holds no images \(PNG, JPEG"),
        ({f"{i}.png": encoded(pixels(i)) for i in range(30)}, "No image of set.zip is in a class folder"),
        (folders(30, ("cat",)), "All images are of one class, 'cat'"),
        (folders(9), "18 images have a usable class; at least 20 are needed"),
        (folders(2, tuple("abcdefghijkl")), r"12 classes of 'label' have fewer than 3 different images.*'a' \(2\)"),
        (
            folders() | {f"dodo/{i}.png": encoded(pixels(7)) for i in range(9)},
            r"fewer than 3 different images to train on: 'dodo' \(1\)\. Add .*, or choose to drop rare classes",
        ),
    ],
)
def test_classes_that_cannot_be_learned_are_refused_with_the_remedy(zipped, files, sentence):
    with pytest.raises(InputError, match=sentence):
        datasets.register_images(zipped(files), name="n")


def test_images_may_have_up_to_5_000_classes(home, tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "many.npz"
    values = rng.integers(0, 256, (5_001, 4, 4), np.uint8)
    np.savez(path, x=values, y=np.arange(5_001))
    with pytest.raises(InputError, match="5,001 classes; at most 5,000 are allowed"):
        datasets.register_images(path, name="n")
    np.savez(path, x=values[:1_200], y=np.repeat(np.arange(400), 3))
    dataset = datasets.register_images(path, name="n")
    assert len(dataset.labels) == 400
    assert "imbalance" not in kinds(dataset)  # each class is rare, and as large as any other


def test_inner_folders_are_the_classes_if_chosen(zipped):
    names = [f"images/{outer}/{inner}" for outer in ("Greek", "Latin") for inner in ("one", "two")]
    files = folders(6, tuple(names)) | {
        "images/Greek/loose.png": encoded(pixels(900)), "images/Latin/two/deep/1.png": encoded(pixels(901)),
        "images/Latin/three/": b"",
    }  # fmt: skip
    path = zipped(files)
    inner = datasets.register_images(path, name="inner", inner_folders=True)
    assert inner.labels == ("Greek/one", "Greek/two", "Latin/one", "Latin/two")
    assert sum(inner.n_rows.values()) == 25
    assert finding_text(inner, "no_class") == "1 image is not in a class folder. Ignored."
    assert finding_text(inner, "deep_folders").endswith("within a class folder.")
    assert finding_text(inner, "empty_class").endswith("'Latin/three'. Ignored.")
    outer = datasets.register_images(path, name="outer")
    assert outer.labels == ("Greek", "Latin")
    assert finding_text(outer, "deep_folders").endswith("choose inner folders.")
    assert outer.fingerprint != inner.fingerprint
    one = zipped(folders(12, ("top/Greek/one", "top/Greek/two")), "one.zip")
    assert datasets.register_images(one, name="one", inner_folders=True).labels == ("Greek/one", "Greek/two")
    with pytest.raises(InputError, match=r"is in a folder within a folder\. Choose the outer folders as classes"):
        datasets.register_images(zipped(folders(), "flat.zip"), name="flat", inner_folders=True)


def test_rare_classes_can_be_dropped(zipped):
    files = folders() | {f"dodo/{i}.png": encoded(pixels(800 + i)) for i in range(2)}
    dataset = datasets.register_images(zipped(files), name="n", drop_rare_classes=True)
    assert (dataset.labels, sum(dataset.n_rows.values())) == (("cat", "dog"), 24)
    assert finding_text(dataset, "rare_classes") == "2 images of 1 rare class: dodo. Dropped."


def test_a_small_class_has_an_image_in_every_split_and_is_reported(zipped):
    files = folders(70) | {f"owl/{i}.png": encoded(pixels(800 + i)) for i in range(3)}
    dataset = datasets.register_images(zipped(files), name="n")
    frame = all_rows(dataset)
    assert sorted(frame["split"][frame["c1"] == "owl"]) == ["test", "train", "valid"]
    assert "'owl' has 3 of 143 images" in finding_text(dataset, "imbalance")


@pytest.mark.parametrize("seed", range(5))
def test_equal_images_of_a_class_stay_in_one_split_however_many_they_are(zipped, seed):
    files = folders(12) | {f"cat/copy{i}.png": encoded(pixels(0)) for i in range(9)}
    files |= {f"cat/other{i}.bmp": encoded(pixels(1), "BMP") for i in range(3)}
    dataset = datasets.register_images(zipped(files), name="n", seed=seed)
    frame = all_rows(dataset)
    assert frame.groupby(["c0", "c1"])["split"].nunique().max() == 1
    assert frame.groupby("c1")["split"].nunique().min() == 3
    assert finding_text(dataset, "duplicate_rows").startswith("12 of 36 images repeat another image of their class")


def test_the_same_image_in_two_classes_is_a_leak_that_is_named(zipped):
    dataset = datasets.register_images(zipped(folders() | {"dog/x.bmp": encoded(pixels(0), "BMP")}), name="n")
    assert "such as 'cat/0.png' and 'dog/x.bmp' in 'cat' and 'dog'" in finding_text(dataset, "leak")


def test_train_and_test_folders_are_used_and_valid_is_cut_from_train(zipped):
    files = {f"all/{part}/{name}": content for part in ("Train", "test") for name, content in folders(20).items()}
    files = {name: content if "Train" in name else encoded(pixels(5000 + i)) for i, (name, content) in
             enumerate(files.items())}  # fmt: skip
    dataset = datasets.register_images(zipped(files), name="n")
    assert dataset.n_rows == {"train": 32, "valid": 8, "test": 40}
    assert set(all_rows(dataset).query("row >= 40")["split"]) == {"test"}
    text = "The file's own split is used. A fifth of train becomes the validation set."
    assert finding_text(dataset, "given_split") == text
    assert kinds(dataset) == {"given_split"}


def test_test_images_that_are_also_in_train_are_a_leak(zipped):
    files = {f"{part}/{name}": content for part in ("train", "test") for name, content in folders(12).items()}
    dataset = datasets.register_images(zipped(files), name="n")
    assert dataset.n_rows["test"] == 24
    assert finding_text(dataset, "leak").startswith("24 test images are also in train, such as 'test/cat/0.png'")


def test_a_valid_folder_without_a_test_folder_becomes_the_test_set(zipped):
    files = {f"train/{name}": content for name, content in folders(20).items()}
    files |= {f"val/{label}/{i}.png": encoded(pixels(600 + i)) for i, label in enumerate(["cat"] * 6)}
    files |= {"test/unknown.png": encoded(pixels(700))}  # as contests have it: no classes
    dataset = datasets.register_images(zipped(files), name="n")
    assert dataset.n_rows == {"train": 32, "valid": 8, "test": 6}
    assert "Its valid part becomes the test set" in finding_text(dataset, "given_split")
    assert finding_text(dataset, "no_test") == "1 class has no test image: dog. Not covered by the test score."
    assert finding_text(dataset, "no_class").startswith("1 image is not")


def test_all_three_folders_are_used_as_they_are(zipped):
    numbers = iter(range(10_000))
    files = {f"{part}/{label}/{i}.png": encoded(pixels(next(numbers))) for part, n in
             (("train", 10), ("validation", 4), ("test", 3)) for label in ("cat", "dog") for i in range(n)}  # fmt: skip
    dataset = datasets.register_images(zipped(files), name="n")
    assert dataset.n_rows == {"train": 20, "valid": 8, "test": 6}


def test_classes_called_train_and_test_are_classes(zipped):
    assert datasets.register_images(zipped(folders(12, ("test", "train"))), name="n").labels == ("test", "train")


def test_a_set_that_decodes_into_more_than_two_gigabytes_is_refused_with_a_side_that_fits(zipped, monkeypatch):
    path = zipped(folders(12, height=40, width=40))
    monkeypatch.setattr(conversion, "MAX_BYTES", 24 * 30 * 30 * 3)
    with pytest.raises(InputError, match=r"24 images of 40 x 40 pixels take .* Choose a side of at most 30 pixels"):
        datasets.register_images(path, name="n")
    assert datasets.register_images(path, name="n", side=30).features[0].shape == (30, 30, 3)


def test_automl_refuses_images_when_it_is_submitted_and_sees_no_image_column(zipped):
    dataset = datasets.register_images(zipped(folders()), name="pets")
    with pytest.raises(MetascoutError, match="H2O AutoML needs tables, but 'pets' holds images"):
        jobs.submit(specs.AutoMLSpec(dataset_id=dataset.id))
    assert plain_columns(dataset) == ()


def test_a_table_cannot_have_a_column_of_images(home, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x,y\n" + "1,a\n2,b\n" * 20)
    with pytest.raises(InputError, match="'x' cannot be 'image'"):
        datasets.register(path, name="n", target="y", types={"x": "image"})


@pytest.mark.parametrize(("columns", "modality"), [(("words",), "text"), (("words", "n"), "table"), (("n",), "table")])
def test_the_modality_is_text_where_there_is_nothing_but_text(home, tmp_path, columns, modality):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"words": [f"word {i} {random.random()}" for i in range(40)], "n": random.normal(size=40)})
    frame[[*columns]].assign(y=["a", "b"] * 20).to_csv(tmp_path / "t.csv", index=False)
    types = dict.fromkeys({"words"} & set(columns), "text")
    dataset = datasets.register(tmp_path / "t.csv", name="n", target="y", types=types)
    assert dataset.modality == modality
