"""Image files: hostile and broken ZIP files, arrays, and Parquet."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core import datasets
from core.datasets.files import archives
from core.datasets.images import conversion
from core.datasets.images import folders as image_folders
from core.errors import InputError
from tests.pictures import encoded, finding_text, folders, pixels, stored_pixels, zipped

__all__ = ["zipped"]  # a fixture


@pytest.fixture
def arrays(home: Path, tmp_path: Path) -> Callable[..., Path]:
    def save(**values: object) -> Path:
        np.savez_compressed(tmp_path / "set.npz", **values)
        return tmp_path / "set.npz"

    return save


def test_names_that_point_out_of_the_archive_are_only_names(zipped, home, tmp_path):
    files = folders()
    escapes = [
        "../../../evil/1.png", "/etc/passwd/1.png", "C:\\temp\\evil\\1.png", "cat/../../dog/x.png", "..\\..\\x\\1.png",
    ]  # fmt: skip
    files |= {name: encoded(pixels(500 + i)) for i, name in enumerate(escapes)}
    before = {path for path in tmp_path.rglob("*") if home not in path.parents}
    path = zipped(files)
    dataset = datasets.register_images(path, name="n", drop_rare_classes=True)
    assert dataset.labels == ("cat", "dog")
    assert finding_text(dataset, "rare_classes").startswith("4 images of 4 rare classes: etc, evil, temp, x.")
    assert {path for path in tmp_path.rglob("*") if home not in path.parents} - before == {path}
    assert {path.suffix for path in home.rglob("*") if path.is_file()} <= {".parquet", ".json", ".duckdb", ".lock"}


def test_the_parts_of_an_entrys_name_cannot_leave_a_folder():
    assert archives.path_names("../a/./b/../c.png") == ("a", "b", "c.png")
    assert archives.path_names("C:\\x\\..\\y.png") == ("x", "y.png")
    assert archives.path_names("/..") == ()


def test_broken_images_are_ignored_and_named(zipped):
    whole = encoded(pixels(900, 64, 64))
    files = folders(20, height=64, width=64)
    files |= {"cat/cut.png": whole[: len(whole) // 2], "dog/text.jpg": b"no image", "dog/none.png": b""}
    dataset = datasets.register_images(zipped(files), name="n")
    assert sum(dataset.n_rows.values()) == 40
    assert "3 images cannot be read: " in finding_text(dataset, "broken")
    assert all(name in finding_text(dataset, "broken") for name in ("cat/cut.png", "dog/text.jpg", "dog/none.png"))
    files |= {f"dog/bad{i}.png": b"bad" for i in range(3)}
    with pytest.raises(InputError, match=r"5 of 46 images of many\.zip cannot be read: dog/text\.jpg.* At most 10%"):
        datasets.register_images(zipped(files, "many.zip"), name="m")
    cut = folders(20) | {f"dog/cut{i}.png": whole[: len(whole) // 2] for i in range(5)}
    with pytest.raises(InputError, match=r"5 of 45 images of cut\.zip cannot be read: dog/cut0\.png"):
        datasets.register_images(zipped(cut, "cut.zip"), name="m")


def test_a_damaged_entry_is_detected_by_its_checksum(zipped):
    path = zipped(folders(15))
    content = bytearray(path.read_bytes())
    content[content.index(b"cat/7.png") + 60] ^= 0xFF
    path.write_bytes(content)
    dataset = datasets.register_images(path, name="n")
    assert finding_text(dataset, "broken").endswith("1 image cannot be read: cat/7.png. Ignored.")


def png_without_pixels(side: int) -> bytes:
    """A PNG file that says how large it is, and holds no pixels."""
    chunks = [(b"IHDR", struct.pack(">2I5B", side, side, 1, 0, 0, 0, 0)), (b"IDAT", zlib.compress(b""))]
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("side", [8_000, 20_000])
def test_a_picture_of_too_many_pixels_is_not_decoded(zipped, monkeypatch, side):
    bomb = png_without_pixels(side)
    assert image_folders.open_image(png_without_pixels(100)) is not None
    dataset = datasets.register_images(zipped(folders() | {"cat/bomb.png": bomb}), name="n")
    assert "cat/bomb.png" in finding_text(dataset, "broken")
    monkeypatch.setattr(image_folders, "MAX_PIXELS", 63)
    assert image_folders.open_image(encoded(pixels(1))) is None


def test_a_small_zip_bomb_is_refused_where_the_limit_is_small(zipped, monkeypatch):
    path = zipped({"cat/1.bmp": bytes(3 * 2**20)}, method=zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(archives, "_SMALL_BYTES", 2**20)
    with pytest.raises(InputError, match="times its size, as a ZIP bomb does; at most 100 times"):
        datasets.register_images(path, name="n")


@pytest.mark.slow
def test_a_zip_bomb_is_refused_before_it_unpacks(zipped, monkeypatch):
    path = zipped({"cat/1.bmp": bytes(300 * 2**20)}, method=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="times its size, as a ZIP bomb does; at most 100 times"):
        datasets.register_images(path, name="n")
    monkeypatch.setattr(archives, "MAX_BYTES", 2**20)
    with pytest.raises(InputError, match=r"set\.zip unpacks into 0\.3 GB; at most 0 GB"):
        datasets.register_images(path, name="n")
    with zipfile.ZipFile(path) as archive:
        assert archives.read(archive, archive.infolist()[0]) is None  # one entry alone is too large as well


def test_an_entry_that_understates_its_size_is_broken(zipped):
    path = zipped(folders(15) | {"cat/liar.png": bytes(100_000)}, method=zipfile.ZIP_DEFLATED)
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<L", 100_000), struct.pack("<L", 50)))
    assert finding_text(datasets.register_images(path, name="n"), "broken").endswith("cat/liar.png. Ignored.")


def test_too_many_entries_are_refused_before_the_directory_is_read(zipped, monkeypatch):
    path = zipped(folders())
    monkeypatch.setattr(archives, "MAX_ENTRIES", 23)
    with pytest.raises(InputError, match=r"set\.zip holds 24 files; at most 23 are allowed"):
        datasets.register_images(path, name="n")
    monkeypatch.undo()
    monkeypatch.setenv("METASCOUT_HOME", str(path.parent / "home"))
    monkeypatch.setattr(archives, "_DIRECTORY_BYTES", 1000)
    with pytest.raises(InputError, match="has a directory of"):
        datasets.register_images(path, name="n")


def test_an_incomplete_zip_or_one_with_a_password_is_refused(zipped, tmp_path):
    path = zipped(folders())
    content = path.read_bytes()
    (tmp_path / "cut.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"cut\.zip is not a complete ZIP file"):
        datasets.register_images(tmp_path / "cut.zip", name="n")
    locked = bytearray(content)
    locked[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(locked)
    with pytest.raises(InputError, match="protected by a password"):
        datasets.register_images(path, name="n")
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(InputError, match=r"text\.zip holds no images. Choose a ZIP"):
        datasets.register_images(tmp_path / "text.zip", name="n")
    with pytest.raises(InputError, match=r"none\.zip cannot be read: No such file"):
        datasets.register_images(tmp_path / "none.zip", name="n")


@pytest.mark.parametrize("channels_first", [False, True])
def test_arrays_of_all_layouts_are_read(arrays, channels_first):
    colour = np.stack([pixels(i, 9, 7) for i in range(30)])
    stored = colour.transpose(0, 3, 1, 2) if channels_first else colour
    path = arrays(images=stored, labels=np.arange(30) % 3, class_names=np.array(["a", "b", "c"]))
    dataset = datasets.register_images(path, name="n")
    assert (dataset.labels, dataset.features[0].shape) == (("a", "b", "c"), (9, 7, 3))
    assert (stored_pixels(dataset, 29) == colour[29]).all()


def test_grey_arrays_with_their_own_test_part_are_read(arrays):
    values = np.stack([pixels(i, channels=1)[:, :, 0] for i in range(50)])
    names = np.array(["no", "yes"])
    path = arrays(
        x_train=values[:30], y_train=names[np.arange(30) % 2], x_test=values[30:], y_test=names[np.arange(20) % 2]
    )
    dataset = datasets.register_images(path, name="n")
    assert dataset.n_rows == {"train": 24, "valid": 6, "test": 20}
    test, codes = datasets.load_images(dataset, "test")
    assert (test[:, :, :, 0] == values[30:]).all()
    assert list(codes) == [0, 1] * 10


def test_transparent_arrays_are_laid_on_white(arrays):
    values = np.stack([pixels(i, channels=4) for i in range(24)])
    values[5, :, :, 3] = 0
    dataset = datasets.register_images(arrays(x=values, y=np.arange(24) % 2), name="n")
    assert (stored_pixels(dataset, 5) == 255).all()
    assert finding_text(dataset, "transparent").startswith("24 of 24")


X, Y = np.stack([pixels(i) for i in range(24)]), np.arange(24) % 2


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"x": X / 255, "y": Y}, "'x' holds float64 instead of uint8"),
        ({"x": X, "y": Y[:20]}, "24 images but 20 labels in 'x' and 'y'"),
        ({"x": X, "y": Y / 2}, "'y' holds float64 of shape"),
        ({"x": X, "y": np.eye(24, dtype=int)}, r"'y' holds int64 of shape \(24, 24\)"),
        ({"x": X[:, :, :, :2], "y": Y}, r"'x' has the shape \(24, 8, 8, 2\)"),
        ({"x": X[:0], "y": Y[:0]}, r"'x' has the shape \(0, 8, 8, 3\)"),
        ({"pictures": X, "y": Y}, r"no arrays of images and labels. It holds pictures \(24, 8, 8.*Name them x and y"),
        ({"x": X, "y": np.array([{}] * 24)}, "'y' in set.npz holds Python objects"),
        ({"x": np.asfortranarray(X), "y": Y}, "stored column by column"),
    ],
)
def test_arrays_that_are_not_images_are_refused_with_the_remedy(arrays, values, sentence):
    with pytest.raises(InputError, match=sentence):
        datasets.register_images(arrays(**values), name="n")


def test_an_array_shorter_than_its_header_says_is_refused(arrays):
    path = arrays(x=X, y=Y)
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 28, 28)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", head.getvalue())
        archive.writestr("y.npy", head.getvalue())
    with pytest.raises(InputError, match=r"'x' in set\.npz is shorter than its header says"):
        datasets.register_images(path, name="n")


def saved_parquet(path: Path, column: pa.Array, **others: object) -> Path:
    pq.write_table(pa.table({"image": column, **others}), path)
    return path


def test_a_parquet_of_encoded_images_is_read_as_hugging_face_writes_it(home, tmp_path):
    contents = [encoded(pixels(i)) for i in range(24)]
    structs = pa.array([{"bytes": content, "path": None} for content in contents])
    names = b'{"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}'
    labels = pa.array([i % 2 if i else None for i in range(24)])
    table = pa.table({"image": structs, "label": labels}).replace_schema_metadata({"huggingface": names})
    pq.write_table(table, tmp_path / "hf.parquet")
    dataset = datasets.register_images(tmp_path / "hf.parquet", name="n")
    assert (dataset.labels, sum(dataset.n_rows.values())) == (("cat", "dog"), 23)
    assert (stored_pixels(dataset, 22) == pixels(23)).all()
    assert finding_text(dataset, "missing_target") == "1 image has no 'label'. Dropped."
    plain = saved_parquet(tmp_path / "p.parquet", pa.array(contents), kind=[["x", "y"][i % 2] for i in range(24)])
    assert datasets.register_images(plain, name="m").target == "kind"


def test_a_parquet_without_images_or_labels_is_refused(home, tmp_path):
    contents = pa.array([encoded(pixels(i)) for i in range(24)])
    table = saved_parquet(tmp_path / "t.parquet", pa.array([b"hash"] * 24), label=list(range(24)))
    assert not conversion.holds_images(table)
    with pytest.raises(InputError, match=r"t\.parquet has no column of PNG, JPEG"):
        datasets.register_images(table, name="n")
    unnamed = saved_parquet(tmp_path / "u.parquet", contents, a=["x"] * 24, b=["y"] * 24)
    assert conversion.holds_images(unnamed)
    with pytest.raises(
        InputError, match=r"no single column of labels beside 'image'.*image, a, b. Name the column of labels 'label'"
    ):
        datasets.register_images(unnamed, name="n")
    content = unnamed.read_bytes()
    unnamed.write_bytes(content[:-20])
    with pytest.raises(InputError, match=r"u\.parquet is not a complete Parquet file"):
        datasets.register_images(unnamed, name="n")


def test_a_workbook_is_not_a_file_of_images(zipped):
    assert not conversion.holds_images(zipped({"[Content_Types].xml": b"", "xl/media/1.png": encoded(pixels(1))}))
    assert conversion.holds_images(zipped(folders(), "other.zip"))
