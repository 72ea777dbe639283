"""The parser of `python -m core`, and its handling of errors and closed pipes."""

from __future__ import annotations

import argparse
import os
import sys

from core.cli import advice_commands, dataset_commands, job_commands, knowledge_commands, result_commands
from core.errors import MetascoutError

GROUPS = (dataset_commands, job_commands, result_commands, advice_commands, knowledge_commands)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="python -m core", description="Datasets, jobs, results and advice on the command line."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in GROUPS:
        group.add(commands)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return the exit code. Errors for the user go to standard error."""
    options = build_parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except MetascoutError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
