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
from core.cli.printing import print_table
from core.errors import InputError
from core.queue import jobs


def add(commands: Any) -> None:
    """Add the commands of this group to the parser."""
    submit = commands.add_parser("submit", help="queue the job of a JSON file ('-': standard input), print its id")
    submit.add_argument("spec")
    submit.add_argument("--priority", type=int, default=0)
    submit.set_defaults(run=_submit)

    show = commands.add_parser("jobs", help="show the queue")
    show.add_argument("--json", action="store_true")
    show.set_defaults(run=_show_jobs)

    cancel = commands.add_parser("cancel", help="stop a job")
    cancel.add_argument("id", type=int)
    cancel.set_defaults(run=_cancel)

    pause = commands.add_parser("pause", help="pause a search or a meta-training at its next checkpoint")
    pause.add_argument("id", type=int)
    pause.set_defaults(run=_pause)

    for name, run, text in (
        ("resume", _resume, "resume a paused job, with a larger budget if given"),
        ("extend", _extend, "queue a job that continues an ended search, and print its id"),
    ):
        more = commands.add_parser(name, help=text)
        more.add_argument("id", type=int)
        more.add_argument("--more-seconds", type=int, metavar="N")
        more.add_argument("--more-candidates", type=int, metavar="N")
        more.add_argument("--more-candidate-epochs", type=int, metavar="N")
        more.set_defaults(run=run)


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
    """Raise an error about a number that was given with --more-... as one about that option."""
    named = {
        "budget_s": ("--more-seconds", options.more_seconds),
        "max_candidates": ("--more-candidates", options.more_candidates),
        "max_candidate_epochs": ("--more-candidate-epochs", options.more_candidate_epochs),
    }
    try:
        yield
    except InputError as error:
        # One whose value is the sum, not what was given here, is about the job's own field.
        names = {field: option for field, (option, value) in named.items() if _is_about(error, value)}
        raise error.renamed(names) from None


def _is_about(error: InputError, value: int | None) -> bool:
    return value is not None and (error.value == value or any(part.value == value for part in error.parts))
