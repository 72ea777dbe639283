"""`python -m core submit | jobs | cancel | pause | resume | extend`: the queue."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core import specs
from core.cli.arguments import add_command, add_job, add_json
from core.cli.printing import print_table
from core.errors import InputError
from core.queue import jobs


def add(commands: Any) -> None:
    """Add the commands of this group to the parser."""
    submit = add_command(commands, "submit", "queue a job and print its id", _submit)
    submit.add_argument("spec", help="JSON file with the spec of the job; - reads standard input")
    submit.add_argument(
        "--priority", type=int, default=0, help="from -100 to 100; a higher one goes first (default: %(default)s)"
    )

    add_json(add_command(commands, "jobs", "print all jobs", _show_jobs))
    add_job(add_command(commands, "cancel", "stop a job", _cancel))
    add_job(add_command(commands, "pause", "pause a job at its next checkpoint", _pause))

    resume = add_command(commands, "resume", "resume a paused job", _resume)
    add_job(resume)
    _add_budget(resume, "added to that of the job")
    extend = add_command(commands, "extend", "queue a job that continues an ended search and print its id", _extend)
    add_job(extend)
    _add_budget(extend, "default: that of the old job")


def _add_budget(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--more-seconds", type=int, metavar="N", help=f"time budget; {default}")
    parser.add_argument("--more-candidates", type=int, metavar="N", help=f"maximum candidates; {default}")
    parser.add_argument("--more-candidate-epochs", type=int, metavar="N", help=f"maximum candidate-epochs; {default}")


def _submit(options: argparse.Namespace) -> None:
    try:
        text = sys.stdin.read() if options.spec == "-" else Path(options.spec).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The spec {options.spec} cannot be read: {error}.") from None
    print(jobs.submit(specs.parse(text), priority=options.priority, user=getpass.getuser()))


def _show_jobs(options: argparse.Namespace) -> None:
    frame = jobs.overview(limit=None)
    if options.json:
        for name in ("spec", "environment"):
            frame[name] = [json.loads(text) if isinstance(text, str) else None for text in frame[name]]
    else:
        columns = ["id", "status", "kind", "dataset", "owner", "priority", "fraction", "elapsed_s", "n_trials", "error"]
        frame = frame[columns].round(2)
        frame["error"] = frame["error"].fillna("").str.slice(0, 60)
    print_table(frame, as_json=options.json)


def _cancel(options: argparse.Namespace) -> None:
    status = jobs.request_cancel(options.id)
    print("cancelled" if status == "cancelled" else "the job was asked to stop")


def _pause(options: argparse.Namespace) -> None:
    status = jobs.request_pause(options.id)
    print("paused" if status == "paused" else "the job was asked to pause")


def _resume(options: argparse.Namespace) -> None:
    with _options_named(options):
        jobs.resume(options.id, **_more(options))
    print("queued")


def _extend(options: argparse.Namespace) -> None:
    with _options_named(options):
        print(jobs.extend(options.id, **_more(options), user=getpass.getuser()))


def _more(options: argparse.Namespace) -> dict[str, int | None]:
    return {
        "more_s": options.more_seconds,
        "more_candidates": options.more_candidates,
        "more_candidate_epochs": options.more_candidate_epochs,
    }


@contextmanager
def _options_named(options: argparse.Namespace) -> Iterator[None]:
    """Raise an error about the value of a --more-... option as an error of that option."""
    named = {
        "budget_s": ("--more-seconds", options.more_seconds),
        "max_candidates": ("--more-candidates", options.more_candidates),
        "max_candidate_epochs": ("--more-candidate-epochs", options.more_candidate_epochs),
    }
    try:
        yield
    except InputError as error:
        # An error about the sum of the old and the added budget is about the job's own field.
        names = {field: option for field, (option, value) in named.items() if _is_about(error, value)}
        raise error.renamed(names) from None


def _is_about(error: InputError, value: int | None) -> bool:
    return value is not None and (error.value == value or any(part.value == value for part in error.parts))
