"""`python -m runner`: run the queued jobs; `--drain`: run what is queued, then exit."""

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
    """Be the only runner of this store, or raise MetascoutError that names the one there is."""
    with database.lock_file("runner") as lock:
        try:
            portalocker.lock(lock, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
        except (portalocker.AlreadyLocked, portalocker.LockException):
            lock.seek(0)
            holder = lock.read().strip()
            raise MetascoutError(
                f"A runner (process {holder}) already serves {database.store_path().parent}; one is enough."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def main() -> int:
    """Parse the command line and serve; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m runner", description=__doc__)
    parser.add_argument("--drain", action="store_true", help="run what is queued, then exit")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    signals: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: signals.append(number))
    try:
        machine.check_settings()
        with sole_runner():
            logging.info("The runner serves %s; stop it with Ctrl-C", database.home())
            loop.serve(drain=arguments.drain, stopped=lambda: bool(signals))
    except MetascoutError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
