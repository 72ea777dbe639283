"""`python -m core knowledge import | list | remove`: runs from elsewhere that advice may learn from."""

from __future__ import annotations

import argparse
import dataclasses
import getpass
import sys
import time
from pathlib import Path
from typing import Any

from core import knowledge
from core.cli.printing import print_table
from core.knowledge import imports
from core.knowledge.recognition import Reading


def add(commands: Any) -> None:
    """Add the commands of this group to the parser."""
    parser = commands.add_parser("knowledge", help="runs from elsewhere that advice may learn from")
    actions = parser.add_subparsers(required=True, metavar="import|list|remove")
    add = actions.add_parser("import", help="an ASlib scenario (folder or ZIP), a tidy CSV or Parquet, MLflow's runs")
    add.add_argument("file", type=Path)
    add.add_argument("--name", help="name of the scenario; default: the file's")
    for role in ("dataset", "candidate", "fold", "fit-s"):
        add.add_argument(f"--{role}", metavar="COLUMN", help="default: by the columns' names")
    add.add_argument("--metric", help="a column, or a value in the column of metrics")
    add.add_argument("--higher-is-better", action=argparse.BooleanOptionalAction, help="default: by the metric's name")
    add.add_argument("--features", type=Path, metavar="FILE", help="meta-features in a second file, a row a dataset")
    add.add_argument("--average", action="store_true", help="average rows that repeat a dataset and candidate")
    add.add_argument("--encoding", default="utf-8")
    add.add_argument("--check", action="store_true", help="only show how the file is read")
    add.set_defaults(run=_import_knowledge)

    show = actions.add_parser("list", help="list the imported scenarios")
    show.add_argument("--json", action="store_true")
    show.set_defaults(run=_show_knowledge)

    remove = actions.add_parser("remove", help="delete a scenario")
    remove.add_argument("name")
    remove.set_defaults(run=_remove_knowledge)


def _import_knowledge(options: argparse.Namespace) -> None:
    names = [field.name for field in dataclasses.fields(Reading)]
    reading = Reading(**{name: getattr(options, name) for name in names})
    if options.check:
        return _print_inspection(imports.inspect(options.file, reading))
    scenario, notes = imports.import_(options.file, reading, name=options.name, owner=getpass.getuser())
    print(*notes, sep="\n", end="\n" if notes else "", file=sys.stderr)
    print(f"{scenario.name}: {scenario.n_datasets:,} datasets x {scenario.n_candidates:,} candidates")


def _print_inspection(found: imports.Inspection) -> None:
    told = {name: value for name, value in dataclasses.asdict(found.roles).items() if value is not None}
    print(f"format: {found.format}", *(f"{role}: {column}" for role, column in told.items()), sep="\n")
    if not found.questions:
        better = "higher" if found.higher_is_better else "lower"
        print(f"{found.metric}, {better} is better: {found.n_datasets:,} datasets x {found.n_candidates:,} candidates")
        print(f"meta-features: {', '.join(found.features) or 'none'}")
    print(*found.questions, *found.notes, sep="\n")


def _show_knowledge(options: argparse.Namespace) -> None:
    frame = knowledge.overview()
    if not options.json:
        frame["imported_at"] = [time.strftime("%Y-%m-%d %H:%M", time.localtime(at)) for at in frame["imported_at"]]
    print_table(frame, as_json=options.json)


def _remove_knowledge(options: argparse.Namespace) -> None:
    knowledge.remove(options.name)
    print("removed")
