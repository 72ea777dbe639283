"""Stored files."""

from __future__ import annotations

from pathlib import Path

from core.store import artifacts


def test_a_stored_file_does_not_change_when_the_job_continues_to_write(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    path.write_bytes(b"first")
    sha256, size = artifacts.store(path)
    with path.open("r+b") as file:
        file.write(b"other")
    assert artifacts.locate(sha256).read_bytes() == b"first"
    assert size == 5


def test_a_file_that_is_stored_twice_takes_the_space_of_one(home: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(b"same")
    assert artifacts.store(tmp_path / "one") == artifacts.store(tmp_path / "two")
    assert len([path for path in (home / "artifacts").rglob("*") if path.is_file()]) == 1
