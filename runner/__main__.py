"""The command `python -m runner`: run the queued jobs."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import portalocker

from core import machine
from core.errors import MetascoutError
from core.store import database
from runner import loop


@contextmanager
def sole_runner() -> Iterator[None]:
    """Hold the lock of the only runner. Raises MetascoutError that names the process of another runner."""
    with database.lock_file("runner") as lock:
        try:
            portalocker.lock(lock, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
        except (portalocker.AlreadyLocked, portalocker.LockException):
            lock.seek(0)
            holder = lock.read().strip()
            raise MetascoutError(
                f"A runner (process {holder}) already serves {database.store_path().parent}. Stop it first."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _catch_signals() -> list[int]:
    """Return a list to which every signal to stop is added from now on."""
    signals: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: signals.append(number))
    return signals


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, run jobs, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m runner", description="Run the queued jobs.")
    parser.add_argument("--drain", action="store_true", help="exit when no job is queued or running")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        machine.check_settings()
        signals = _catch_signals()
        with sole_runner():
            logging.info("The runner serves %s. Stop it with Ctrl-C.", database.home())
            loop.serve(drain=options.drain, stopped=lambda: bool(signals))
    except MetascoutError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
