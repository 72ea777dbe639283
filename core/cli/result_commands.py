"""`python -m core leaderboard | fewshot | fewshot-weights`: results, and pretrained weights for few-shot learning."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from core import datasets, results
from core.cli.printing import print_table
from core.results import initialisations
from core.store import backbones


def add(commands: Any) -> None:
    """Add the commands of this group to the parser."""
    board = commands.add_parser("leaderboard", help="all trials of a dataset, best first by validation score")
    board.add_argument("dataset", help="its name or id")
    board.add_argument("--metric")
    board.add_argument("--json", action="store_true")
    board.set_defaults(run=_show_leaderboard)

    few = commands.add_parser("fewshot", help="how good the meta-trainings of a dataset are on held-out classes")
    few.add_argument("dataset", help="its name or id")
    few.add_argument("--json", action="store_true")
    few.set_defaults(run=_show_few_shot)

    weights = commands.add_parser(
        "fewshot-weights", help="store a ResNet's weights (safetensors), print the sha256 for a spec's backbone"
    )
    weights.add_argument("file", type=Path)
    weights.set_defaults(run=_store_weights)


def _show_leaderboard(options: argparse.Namespace) -> None:
    dataset = datasets.get(options.dataset)
    frame = results.leaderboard(dataset.id, metric=options.metric)
    columns = ["rank", "algorithm", "candidate", "metric", "valid", "test", "lower", "upper", "fit_s", "job_id"]
    print_table(frame if options.json else frame[columns], as_json=options.json)


def _show_few_shot(options: argparse.Namespace) -> None:
    frame = initialisations.leaderboard(datasets.get(options.dataset).id)
    columns = ["algorithm", "network", "ways", "shots", "protocol", "metric", "valid", "test", "lower", "upper"]
    columns += ["n_episodes", "adapt_s", "job_id"]
    print_table(frame if options.json else frame[columns].round(4), as_json=options.json)


def _store_weights(options: argparse.Namespace) -> None:
    print(backbones.store(options.file, options.file.name))
