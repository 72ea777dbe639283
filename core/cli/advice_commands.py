"""`python -m core advise | refit`: advice, and the selectors that it comes from."""

from __future__ import annotations

import argparse
import dataclasses
import getpass
import json
from typing import Any

import pandas as pd

from core import advice, datasets, knowledge
from core.advice import fits
from core.cli.printing import print_table
from core.events import finite


def add(commands: Any) -> None:
    """Add the commands of this group to the parser."""
    advise = commands.add_parser("advise", help="which candidates will do best on a dataset, before anything runs")
    advise.add_argument("dataset", help="its name or id")
    advise.add_argument("--json", action="store_true")
    advise.add_argument(
        "--run", action="store_true", dest="queue", help="queue the jobs of the plan and print only their ids"
    )
    advise.set_defaults(run=_advise)

    refit = commands.add_parser("refit", help="fit the selectors on all that is known; the runner does it by itself")
    refit.set_defaults(run=_refit)


def _advise(options: argparse.Namespace) -> None:
    given = advice.advise(datasets.get(options.dataset).id)
    if options.queue:
        print(*advice.run(given, advice.specs_of(given), user=getpass.getuser()))
    elif options.json:
        print(json.dumps(finite(dataclasses.asdict(given)), indent=1))
    else:
        frame = pd.DataFrame([dataclasses.asdict(item) for item in given.ranking])
        plan = ["*" if name in given.plan else "" for name in frame["candidate"]]
        print_table(frame.assign(plan=plan).round(4), as_json=False)
        print(f"error: {given.metric}, lower is better. {given.reason}")


def _refit(options: argparse.Namespace) -> None:
    for task_type in knowledge.TASK_TYPES:
        fit = fits.refit(task_type)
        size = f"{fit.n_datasets} datasets x {fit.n_candidates} candidates, {fit.took_s:.1f} s" if fit else "nothing"
        print(f"{task_type}: {size}")
