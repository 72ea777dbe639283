"""`python -m core dataset add`: register a dataset."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path
from typing import Any, cast

from core import datasets
from core.cli.arguments import add_command
from core.datasets import ColumnType
from core.errors import InputError


def add(commands: Any) -> None:
    """Add the commands of this group to the parser."""
    dataset = add_command(commands, "dataset", "register a dataset")
    actions = dataset.add_subparsers(required=True, metavar="ACTION")
    _add_options(add_command(actions, "add", "register a file as a dataset and print its id", _add_dataset))


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="table (CSV, Parquet) or images (ZIP of class folders, npz, Parquet)")
    parser.add_argument("--name", required=True, help="name of the dataset")
    parser.add_argument("--target", metavar="COLUMN", help="column to predict; leave it out for images")
    parser.add_argument(
        "--task", choices=("binary", "multiclass", "regression"), help="default: derived from the target"
    )
    parser.add_argument("--encoding", default="utf-8", help="encoding of a CSV file (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the split (default: %(default)s)")
    parser.add_argument("--type", action="append", default=[], metavar="COLUMN=TYPE", help="type of a column")
    parser.add_argument("--drop-rare-classes", action="store_true", help="leave out classes with fewer than 3 rows")
    parser.add_argument(
        "--side", type=int, metavar="PIXELS", help="side of the images; default: their own, or the median"
    )
    parser.add_argument("--inner-folders", action="store_true", help="the innermost folders of a ZIP are the classes")
    parser.add_argument("--split-column", metavar="COLUMN", help="column with the values train, valid and test")


def _add_dataset(options: argparse.Namespace) -> None:
    common: dict[str, Any] = {name: getattr(options, name) for name in ("name", "seed", "drop_rare_classes")}
    common["owner"] = getpass.getuser()
    if options.target is None and options.file.suffix.lower() == ".csv":
        raise InputError(f"{options.file.name} is a table.", remedy="Choose the column to predict with --target.")
    if options.target is None:
        dataset = datasets.register_images(
            options.file, side=options.side, inner_folders=options.inner_folders, **common
        )
    else:
        dataset = datasets.register(
            options.file,
            target=options.target,
            task=options.task,
            encoding=options.encoding,
            types=_types(options.type),
            split_column=options.split_column,
            **common,
        )
    for finding in dataset.findings:
        print(finding.text, file=sys.stderr)
    print(dataset.id)


def _types(texts: list[str]) -> dict[str, ColumnType]:
    pairs = {name: column_type for name, _, column_type in (text.rpartition("=") for text in texts)}
    if "" in pairs:
        raise InputError(
            f"{pairs['']!r} is not COLUMN=TYPE.", field="--type", value=pairs[""], remedy="Write zip=categorical."
        )
    return cast(dict[str, ColumnType], pairs)  # register refuses an unknown type
