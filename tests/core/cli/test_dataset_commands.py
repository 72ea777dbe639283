"""`python -m core dataset`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from core import datasets
from core.__main__ import main
from tests.pictures import folders, zipped

__all__ = ["zipped"]  # a fixture


def test_a_dataset_is_added_by_the_real_command(home: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("a,b\n" + "".join(f"{n * 7 % 31},{'xy'[n % 2]}\n" for n in range(60)))
    command = [sys.executable, "-m", "core", "dataset", "add", str(table), "--name", "mine", "--target", "b"]
    command += ["--type", "a=categorical", "--drop-rare-classes"]
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    assert out.stdout.strip() == "1"
    assert datasets.get("mine").columns[0].type == "categorical"


def test_images_are_added_without_a_target(zipped, capsys):
    assert main(["dataset", "add", str(zipped(folders())), "--name", "pets", "--side", "6"]) == 0
    assert capsys.readouterr().out.strip() == "1"
    assert datasets.load_images(datasets.get("pets"), "train")[0].shape[1:] == (6, 6, 3)


def test_inner_folders_are_the_classes_with_an_option(zipped, capsys):
    path = zipped(folders(12, ("top/Greek/one", "top/Greek/two")))
    assert main(["dataset", "add", str(path), "--name", "letters", "--inner-folders"]) == 0
    assert datasets.get("letters").labels == ("Greek/one", "Greek/two")
