"""The arguments that several commands have."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


def add_command(
    commands: Any, name: str, summary: str, run: Callable[[argparse.Namespace], None] | None = None
) -> argparse.ArgumentParser:
    """Add a command to a list of commands and return its parser. `summary` is a phrase without a full stop."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}."
    )
    if run is not None:
        parser.set_defaults(run=run)
    return parser


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """Add the argument for an existing dataset."""
    parser.add_argument("dataset", help="name or id of the dataset")


def add_job(parser: argparse.ArgumentParser) -> None:
    """Add the argument for an existing job."""
    parser.add_argument("id", type=int, help="id of the job")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the option for JSON instead of a table."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
