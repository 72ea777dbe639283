"""`python -m core dataset add`: register a file."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path
from typing import Any, cast

from core import datasets
from core.datasets import ColumnType
from core.errors import InputError


def add(commands: Any) -> None:
    """Add the commands of this group to the parser."""
    actions = commands.add_parser("dataset", help="register a file").add_subparsers(required=True, metavar="add")
    add = actions.add_parser("add", help="register a file and print the dataset's id")
    add.add_argument("file", type=Path)
    add.add_argument("--name", required=True)
    add.add_argument("--target", help="the column to predict; omit it for images, whose folders are the classes")
    add.add_argument("--task", choices=("binary", "multiclass", "regression"), help="default: inferred")
    add.add_argument("--encoding", default="utf-8")
    add.add_argument("--seed", type=int, default=1, help="seed of the split")
    add.add_argument("--type", action="append", default=[], metavar="COLUMN=TYPE", help="correct a column's type")
    add.add_argument("--drop-rare-classes", action="store_true", help="omit classes with fewer than 3 rows")
    add.add_argument("--side", type=int, metavar="PIXELS", help="side of the images; default: their own, or the median")
    add.add_argument("--inner-folders", action="store_true", help="the inner folders of a ZIP are the classes")
    add.add_argument("--split-column", metavar="COLUMN", help="the column with the values train, valid and test")
    add.set_defaults(run=_add_dataset)


def _add_dataset(options: argparse.Namespace) -> None:
    common: dict[str, Any] = {name: getattr(options, name) for name in ("name", "seed", "drop_rare_classes")}
    common["owner"] = getpass.getuser()
    if options.target is None and options.file.suffix.lower() == ".csv":
        raise InputError(f"{options.file.name} is a table.", remedy="Name the column to predict with --target.")
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
