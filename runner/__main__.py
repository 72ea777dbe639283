"""`python -m runner`: run the queued jobs; `--drain`: run what is queued, then exit."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys

import portalocker

from core import db
from core.errors import MetascoutError
from runner import worker
from runner.executors import EXECUTORS


def main() -> int:
    """Parse the command line and serve; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m runner", description=__doc__)
    parser.add_argument("--drain", action="store_true", help="run what is queued, then exit")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    signals: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: signals.append(number))
    try:
        with open(db.store_path().with_suffix(".runner"), "a+") as lock:
            try:
                portalocker.lock(lock, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
            except (portalocker.AlreadyLocked, portalocker.LockException):
                lock.seek(0)
                raise MetascoutError(
                    f"A runner (process {lock.read().strip()}) already serves {db.store_path().parent}; one is enough."
                ) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            logging.info("The runner serves %s; stop it with Ctrl-C", db.home())
            worker.serve(EXECUTORS, drain=arguments.drain, stopped=lambda: bool(signals))
    except MetascoutError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
