"""`python -m core knowledge import | list | remove`: past runs from elsewhere, which advice learns from."""

from __future__ import annotations

import argparse
import dataclasses
import getpass
import sys
import time
from pathlib import Path
from typing import Any

from core import knowledge
from core.cli.arguments import add_command, add_json
from core.cli.printing import print_table
from core.knowledge import imports
from core.knowledge.recognition import Reading


def add(commands: Any) -> None:
    """Add the commands of this group to the parser."""
    parser = add_command(commands, "knowledge", "import, list and remove past runs that advice learns from")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    _add_import(add_command(actions, "import", "import a scenario: a table of past runs", _import_knowledge))
    add_json(add_command(actions, "list", "print the imported scenarios", _show_knowledge))
    remove = add_command(actions, "remove", "delete an imported scenario", _remove_knowledge)
    remove.add_argument("name", help="name of the scenario")


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="ASlib scenario (folder or ZIP), CSV, Parquet, or runs of MLflow")
    parser.add_argument("--name", help="name of the scenario; default: that of the file")
    for role, text in (
        ("dataset", "dataset"),
        ("candidate", "candidate"),
        ("fold", "fold"),
        ("fit-s", "seconds of the fit"),
    ):
        parser.add_argument(f"--{role}", metavar="COLUMN", help=f"column of the {text}; default: by its name")
    parser.add_argument("--metric", help="column of the metric, or its value in a column of metrics")
    parser.add_argument(
        "--higher-is-better", action=argparse.BooleanOptionalAction, help="default: by the name of the metric"
    )
    parser.add_argument("--features", type=Path, metavar="FILE", help="file with meta-features, one row a dataset")
    parser.add_argument("--average", action="store_true", help="average rows that repeat a dataset and candidate")
    parser.add_argument("--encoding", default="utf-8", help="encoding of a CSV file (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="only print how the file is read")


def _import_knowledge(options: argparse.Namespace) -> None:
    names = [field.name for field in dataclasses.fields(Reading)]
    reading = Reading(**{name: getattr(options, name) for name in names})
    if options.check:
        return _print_inspection(imports.inspect(options.file, reading))
    scenario, notes = imports.import_(options.file, reading, name=options.name, owner=getpass.getuser())
    print(*notes, sep="\n", end="\n" if notes else "", file=sys.stderr)
    print(f"{scenario.name}: {scenario.n_datasets:,} datasets x {scenario.n_candidates:,} candidates")


def _print_inspection(inspection: imports.Inspection) -> None:
    roles = {name: value for name, value in dataclasses.asdict(inspection.roles).items() if value is not None}
    print(f"format: {inspection.format}", *(f"{role}: {column}" for role, column in roles.items()), sep="\n")
    if not inspection.questions:
        better = "higher" if inspection.higher_is_better else "lower"
        size = f"{inspection.n_datasets:,} datasets x {inspection.n_candidates:,} candidates"
        print(f"{inspection.metric}, {better} is better: {size}")
        print(f"meta-features: {', '.join(inspection.features) or 'none'}")
    print(*inspection.questions, *inspection.notes, sep="\n")


def _show_knowledge(options: argparse.Namespace) -> None:
    frame = knowledge.overview()
    if not options.json:
        frame["imported_at"] = [time.strftime("%Y-%m-%d %H:%M", time.localtime(at)) for at in frame["imported_at"]]
    print_table(frame, as_json=options.json)


def _remove_knowledge(options: argparse.Namespace) -> None:
    knowledge.remove(options.name)
    print("removed")
