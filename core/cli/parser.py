"""The parser of `python -m core`, and what an error or a reader that stops early does to a command."""

from __future__ import annotations

import argparse
import os
import sys

from core.cli import advice_commands, dataset_commands, job_commands, knowledge_commands, result_commands
from core.errors import MetascoutError

GROUPS = (dataset_commands, job_commands, result_commands, advice_commands, knowledge_commands)


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return the exit code. Errors for the user go to standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m core", description="Datasets, jobs, results and advice for scripts and the command line."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in GROUPS:
        group.add(commands)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output has stopped
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except MetascoutError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
