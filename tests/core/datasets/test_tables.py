"""Tables: which files are refused, and how; which values are read."""

from __future__ import annotations

import datetime
import errno
import os
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core import datasets
from core.datasets.files import content, scratch, tables
from core.errors import InputError, MetascoutError


def refusal(path: Path, data: bytes, encoding: str = "utf-8") -> str:
    path.write_bytes(data)
    with pytest.raises(InputError) as error:
        tables.stage(path, encoding)
    files = [entry.name for entry in (scratch.folder() / "staged").glob("*")]
    assert files == [], "no half-written file stays"
    return str(error.value)


def values(path: Path, encoding: str = "utf-8") -> list[list[object]]:
    staged = tables.stage(path, encoding)
    return (
        pq.read_table(staged.parquet)
        .to_pandas()
        .astype(object)
        .where(lambda frame: frame.notna(), None)
        .values.tolist()
    )


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (b"", ["table.csv is empty"]),
        (b"\n\n\r\n", ["blank lines"]),
        (b"a,b\n", ["a, b", "no rows"]),
        (b"a,b\n\n\n", ["no rows"]),
        (b"a,b\n1,2\n3\n", ["line 3", "2 columns", "this line has 1"]),
        (b"a,b\n1,2\n3,4\n5,6,7\n", ["line 4", "2 columns", "this line has 3"]),
        (b'a,b\n1,2\n3,"4\n5,6\n', ["line 3", "quote"]),
        (b'a,b\n1,"x"y\n', ["line 2", "quote"]),
        (b"PK\x03\x04rest", ["ZIP archive or an Excel", "CSV"]),
        (b"\x1f\x8b\x08rest", ["gzip", "Unpack it."]),
        (b"%PDF-1.7", ["PDF"]),
        (b"\x89PNG\r\n", ["PNG"]),
        (b"a,b\n1,2\n3,\x004\n", ["zero byte on line 3"]),
        ("a,b\n1,2\n".encode("utf-16"), ["UTF-16", "Choose the encoding utf-16"]),
        (b"name,b\nok,2\ncaf\xe9,3\n", ["0xe9 on line 3", "byte 15", "latin-1"]),
        (b"PAR1" + bytes(200), ["not a complete Parquet file"]),
        (",".join(f"c{i}" for i in range(2_001)).encode() + b"\n", ["2,001 columns", "2,000"]),
    ],
)
def test_an_unreadable_file_is_refused_with_the_place_and_the_remedy(home, tmp_path, data, parts):
    sentence = refusal(tmp_path / "table.csv", data)
    for part in parts:
        assert part in sentence


def test_a_folder_and_a_missing_file_are_refused(home, tmp_path):
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        tables.stage(tmp_path)
    with pytest.raises(InputError, match=r"no\.csv cannot be read: No such file"):
        tables.stage(tmp_path / "no.csv")


def test_a_ragged_line_deep_in_a_large_file_is_named(home, tmp_path):
    sentence = refusal(tmp_path / "t.csv", b"a,b\n" + b"1,2\n" * 700_000 + b"1\n" + b"1,2\n" * 700_000)
    assert "line 700,002" in sentence


def test_a_wrong_byte_beyond_the_first_chunk_is_reported_with_its_place(home, tmp_path, monkeypatch):
    monkeypatch.setattr(content, "_CHUNK_BYTES", 7)
    sentence = refusal(tmp_path / "t.csv", "a,b\né,1\n".encode() * 5 + b"x,\xff\n")
    assert "0xff on line 11 (byte 47)" in sentence


def test_latin_1_and_utf_16_are_read_when_chosen(home, tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("naïve;größe\ncafé;1\n".encode("latin-1"))
    assert values(path, "latin-1") == [["café", "1"]]
    assert tables.stage(path, "latin-1").names == ("naïve", "größe")
    path.write_bytes("a\tb\ncafé\t1\n".encode("utf-16"))
    assert values(path, "utf-16") == [["café", "1"]]
    with pytest.raises(InputError, match="no encoding 'ebcdic'"):
        tables.stage(path, "ebcdic")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_delimiter_and_line_end_are_recognised(home, tmp_path, delimiter, newline):
    path = tmp_path / "t.csv"
    path.write_bytes(newline.join(["a,b", "1,2 3", ""]).replace(",", delimiter).encode())
    assert values(path) == [["1", "2 3"]]


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfa,b\n1,2\n",
        b"\n\na,b\n1,2\n",
        b"a,b\r\n1,2\n",
        b"a,b\n1,2",
        b'"a","b"\n"1"," 2 "\n',
        b"a,b\n\n1,2\n",
    ],
)
def test_byte_order_marks_blank_lines_mixed_line_ends_and_quotes_do_no_harm(home, tmp_path, data):
    path = tmp_path / "odd [1]*.csv"
    path.write_bytes(data)
    staged = tables.stage(path)
    assert (staged.names, values(path)) == (("a", "b"), [["1", "2"]])


def test_quotes_commas_line_breaks_and_emoji_survive(home, tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes('"a,b","say ""hi""",🚀 größe,\n"x, ""y""\nz",2,🎉,\n1,2,3,4\n'.encode())
    staged = tables.stage(path)
    assert staged.names == ("a,b", 'say "hi"', "🚀 größe", "column 4")
    assert values(path) == [['x, "y"\nz', "2", "🎉", None], ["1", "2", "3", "4"]]


def test_a_repeated_name_is_numbered_and_reported(home, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,A,a,A (2),b\n1,2,3,4,5\n")
    staged = tables.stage(path)
    assert len({name.casefold() for name in staged.names}) == 5
    assert staged.names == ("a", "A (3)", "a (4)", "A (2)", "b")
    assert [finding.kind for finding in staged.findings] == ["duplicate_name"] * 2
    assert "'A (3)'" in staged.findings[0].text


def test_missing_tokens_become_missing_and_none_in_small_letters_does_not(home, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('a,b\n?,NA\nnan, \n"NULL",-\n ?,"N/A"\nnone,-1\n')
    assert values(path) == [[None, None]] * 4 + [["none", "-1"]]


def test_a_first_row_of_numbers_is_reported(home, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("5.1,3.5,setosa\n4.9,3.0,setosa\n")
    assert [finding.kind for finding in tables.stage(path).findings] == ["header"]


def test_parquet_columns_have_their_declared_types_and_nested_ones_are_ignored(home, tmp_path):
    day = datetime.datetime(2020, 1, 2, 3, 4, 5, 678_901)
    table = pa.table(
        {
            "whole": pa.array([1, 2**60, None]),
            "half": pa.array([0.1, float("inf"), None], pa.float32()),
            "price": pa.array([1, 2, 3], pa.decimal128(10, 2)),
            "code": pa.array(["007", "008", None]).dictionary_encode(),
            "flag": pa.array([True, False, None]),
            "ms": pa.array([day.replace(microsecond=0), None, None], pa.timestamp("ms", "Europe/Berlin")),
            "ns": pa.array([day, day, day + datetime.timedelta(1)], pa.timestamp("ns")),
            "list": pa.array([[1], [2], [3]]),
        }
    )
    path = tmp_path / "named.csv"
    pq.write_table(table, path, compression="lz4")
    inspection = datasets.inspect(path)
    types = {column.name: column.type for column in inspection.columns}
    assert [types[name] for name in ("whole", "half", "ms", "ns")] == ["numeric", "numeric", "datetime", "datetime"]
    assert [types[name] for name in ("code", "flag", "list")] == ["categorical", "categorical", "ignored"]
    staged = pq.read_table(inspection.table.parquet).to_pylist()
    assert (staged[1]["c0"], staged[0]["c1"], staged[0]["c3"]) == (str(2**60), "0.10000000149011612", "007")
    assert staged[0]["c6"] == "2020-01-02 03:04:05.678901"
    assert {finding.kind for finding in inspection.findings} == {"nested", "infinite"}


def test_a_parquet_file_cut_short_is_refused(home, tmp_path, data):
    whole = (data / "nasbench_macro.parquet").read_bytes()
    assert "not a complete Parquet file" in refusal(tmp_path / "t.parquet", whole[: len(whole) // 2])


def test_a_file_is_parsed_once_for_each_content(home, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n")
    first = tables.stage(path)
    inode = first.parquet.stat().st_ino
    assert tables.stage(path) == first
    assert first.parquet.stat().st_ino == inode
    path.write_text("a,b\n1,3\n")
    assert tables.stage(path).parquet != first.parquet


def test_a_full_disk_is_a_clear_error_and_leaves_nothing_behind(home, tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(MetascoutError, match=r"The disk of .* is full\. Free some space"):
        tables.stage(path)
    assert list((scratch.folder() / "staged").iterdir()) == []


@pytest.mark.slow
def test_a_table_of_2000_columns_is_read(home, tmp_path):
    path = tmp_path / "t.csv"
    pd.DataFrame([range(2_000)] * 3, columns=[f"n{i}" for i in range(2_000)]).to_csv(path, index=False)
    staged = tables.stage(path)
    assert (len(staged.names), staged.n_rows) == (2_000, 3)
