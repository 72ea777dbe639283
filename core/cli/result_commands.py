"""`python -m core leaderboard | fewshot | fewshot-weights`: results, and pretrained weights for few-shot learning."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from core import datasets, results
from core.cli.arguments import add_command, add_dataset, add_json
from core.cli.printing import print_table
from core.results import initialisations
from core.store import backbones


def add(commands: Any) -> None:
    """Add the commands of this group to the parser."""
    board = add_command(commands, "leaderboard", "print all trials of a dataset, best first", _show_leaderboard)
    add_dataset(board)
    board.add_argument("--metric", help="metric to rank by; default: the main metric of the dataset's task")
    add_json(board)

    few_shot = add_command(
        commands,
        "fewshot",
        "print the scores of a dataset's meta-trainings on held-out classes",
        _show_few_shot,
    )
    add_dataset(few_shot)
    add_json(few_shot)

    weights = add_command(
        commands, "fewshot-weights", "store pretrained weights of a ResNet and print their sha256", _store_weights
    )
    weights.add_argument("file", type=Path, help="safetensors file; its sha256 is the value of 'backbone' in a spec")


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
