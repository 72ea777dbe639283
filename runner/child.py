"""The process of one job: `python -m runner.child DIRECTORY` runs its engine and writes the events that it yields.

`python -m runner.child --spare ENGINE WIRE_FD` loads an engine first, and then waits for the directory on the wire.
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
from runner.supervisor import Exit, enter

_NICE = 5  # keeps the dashboard responsive while jobs use every core


@dataclass(slots=True)
class Request:
    """A request of the user: a file in the run directory. `noticed` is true once the job has asked and it exists."""

    path: Path
    noticed: bool = False

    def __call__(self) -> bool:
        self.noticed = self.noticed or self.path.exists()
        return self.noticed


def run(directory: Path) -> int:
    """Run the job of a run directory with low priority, and return the exit code (see `work`)."""
    os.nice(_NICE)
    return work(directory)


def wait_for_order(engine: str, wire_fd: int) -> int:
    """Load the engine (the name of a module), wait for a run directory on the wire, and run its job."""
    os.nice(_NICE)
    importlib.import_module(engine)
    with socket.socket(fileno=wire_fd) as wire:
        text, files, _, _ = socket.recv_fds(wire, 65_536, 2)  # this process holds the lock as long as it is alive
    if not text:
        return 0
    enter(text.decode(), files[1])
    return work(Path(text.decode()))


def work(directory: Path) -> int:
    """Run the engine: events go to events.jsonl, the outcome to result.json. Return the exit code."""
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
        pause = Request(directory / "pause")
        _write(file, events.Environment(machine.facts()))
        for event in engine(spec, replace(context, paused=pause)):
            _write(file, event)
        # If the job has not noticed the pause, it was done before.
        return Exit("cancelled" if context.cancelled() else "paused" if pause.noticed else "succeeded")
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
    file.flush()  # a reported event is never lost


if __name__ == "__main__":
    sys.exit(wait_for_order(sys.argv[2], int(sys.argv[3])) if sys.argv[1] == "--spare" else run(Path(sys.argv[1])))
