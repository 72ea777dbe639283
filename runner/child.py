"""The process of one job: `python -m runner.child DIRECTORY` runs its engine and writes down what it reports.

`python -m runner.child --spare ENGINE WIRE_FD` loads an engine first, and learns on the wire which directory it is.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import socket
import sys
import time
import traceback
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

from core import events, machine
from core.errors import InputError, MetascoutError
from core.specs import LABELS
from runner.launch import receive
from runner.supervisor import Exit, take_over

_NICE = 5  # the dashboard answers while jobs use every core


@dataclass(slots=True)
class Wish:
    """Whether the user's wish lies in the run directory; `heard` once the job has asked, and it did."""

    path: Path
    heard: bool = False

    def __call__(self) -> bool:
        self.heard = self.heard or self.path.exists()
        return self.heard


def run(directory: Path) -> int:
    """Run the job of this directory: events go to events.jsonl, the ending to result.json; returns the exit code."""
    os.nice(_NICE)
    return _work(directory)


def wait_for_order(engine: str, wire_fd: int) -> int:
    """Load the engine (a module's name), wait for a directory on the wire, and do as `run` does."""
    os.nice(_NICE)
    importlib.import_module(engine)
    with socket.socket(fileno=wire_fd) as wire:
        text, files, _, _ = socket.recv_fds(wire, 65_536, 2)  # the lock is held as long as this process lives
    if not text:
        return 0
    take_over(text.decode(), files[1])
    return _work(Path(text.decode()))


def _work(directory: Path) -> int:
    try:
        with open(directory / "events.jsonl", "ab") as file:
            result = _run_engine(directory, file)
        (directory / "result.json").write_text(json.dumps(asdict(result)))
    except OSError as error:
        traceback.print_exc()
        return error.errno or 1
    return 0


def _run_engine(directory: Path, file: IO[bytes]) -> Exit:
    try:
        spec, context, engine = receive(directory)
        pause = Wish(directory / "pause")
        _write(file, events.Environment(machine.facts()))
        for event in engine(spec, replace(context, paused=pause)):
            _write(file, event)
        # A pause that comes too late to be heard finds a job that is done.
        return Exit("cancelled" if context.cancelled() else "paused" if pause.heard else "succeeded")
    except InputError as error:
        return Exit("failed", error.sentence(LABELS))
    except MetascoutError as error:
        return Exit("failed", str(error))
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        traceback.print_exc()
        _write(file, events.Message(traceback.format_exc(), "error"))
        return Exit("failed", f"An unexpected error: {type(error).__name__}: {error}. The log has the details.")


def _write(file: IO[bytes], event: events.Event) -> None:
    file.write(events.to_json(event, time.time()).encode() + b"\n")
    file.flush()  # an event that was reported survives whatever happens next


if __name__ == "__main__":
    sys.exit(wait_for_order(sys.argv[2], int(sys.argv[3])) if sys.argv[1] == "--spare" else run(Path(sys.argv[1])))
