"""`python -m core advise | refit`: advice, and the fits of the selectors behind it."""

from __future__ import annotations

import argparse
import dataclasses
import getpass
import json
from typing import Any

import pandas as pd

from core import advice, datasets, knowledge
from core.advice import fits
from core.cli.arguments import add_command, add_dataset, add_json
from core.cli.printing import print_table
from core.events import finite


def add(commands: Any) -> None:
    """Add the commands of this group to the parser."""
    advise = add_command(commands, "advise", "predict which candidates will do best on a dataset", _advise)
    add_dataset(advise)
    add_json(advise)
    advise.add_argument(
        "--run", action="store_true", dest="queue", help="queue the jobs of the plan and print only their ids"
    )

    add_command(commands, "refit", "fit the selectors now (the runner does this by itself)", _refit)


def _advise(options: argparse.Namespace) -> None:
    current = advice.advise(datasets.get(options.dataset).id)
    if options.queue:
        print(*advice.run(current, advice.specs_of(current), user=getpass.getuser()))
    elif options.json:
        print(json.dumps(finite(dataclasses.asdict(current)), indent=1))
    else:
        frame = pd.DataFrame([dataclasses.asdict(item) for item in current.ranking])
        plan = ["*" if name in current.plan else "" for name in frame["candidate"]]
        print_table(frame.assign(plan=plan).round(4), as_json=False)
        print(f"The error is 1 - {current.metric}: lower is better. {current.reason}")


def _refit(options: argparse.Namespace) -> None:
    for task_type in knowledge.TASK_TYPES:
        fit = fits.refit(task_type)
        size = f"{fit.n_datasets} datasets x {fit.n_candidates} candidates, {fit.took_s:.1f} s" if fit else "nothing"
        print(f"{task_type}: {size}")
