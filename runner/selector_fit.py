"""The selectors' fits: a low-priority process beside the jobs, started when more is known than at the last fit."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass

from core.advice import fits
from core.store import database
from runner.launch import ROOT

PAUSE_S = 30.0  # between two fits
BUSY_PAUSE_S = 600.0  # while jobs run, which bring news all the time and want the cores
LIMIT_S = 900.0
_STOP_S = 5.0
_NICE = 10

log = logging.getLogger("metascout.runner")


@dataclass(slots=True)
class Fitting:
    """The process of the fit that runs, and when (on the monotonic clock) it began or the next one may begin."""

    process: subprocess.Popen[bytes] | None = None
    began_at: float = 0.0
    next_at: float = 0.0
    busy_next_at: float = 0.0


def tend(fitting: Fitting, *, busy: bool = False) -> None:
    """Start a fit where one is due, and see to the one that runs; never waits. `busy`: jobs are running."""
    now = time.monotonic()
    if fitting.process is not None:
        if fitting.process.poll() is None:
            if now > fitting.began_at + LIMIT_S:
                log.warning("The fit of the selectors has not ended within %g s; it is ended", LIMIT_S)
                stop(fitting)
            return
        if fitting.process.returncode:
            log.warning("The fit of the selectors ended with code %d", fitting.process.returncode)
        _rest(fitting)
    elif now >= (fitting.busy_next_at if busy else fitting.next_at):
        fitting.next_at = fitting.busy_next_at = now + PAUSE_S / 10
        if fits.is_due():
            fitting.process, fitting.began_at = _started(), now


def stop(fitting: Fitting) -> None:
    """End the fit that runs; what it had fitted is kept."""
    if fitting.process is not None:
        fitting.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            fitting.process.wait(_STOP_S)
        fitting.process.kill()
        fitting.process.wait()
        _rest(fitting)


def _rest(fitting: Fitting) -> None:
    """The fit is over; the next one waits."""
    now = time.monotonic()
    fitting.process, fitting.next_at, fitting.busy_next_at = None, now + PAUSE_S, now + BUSY_PAUSE_S


def _started() -> subprocess.Popen[bytes]:
    places = {
        "METASCOUT_HOME": str(database.home()),
        "METASCOUT_STORE": str(database.store_path()),
        "OMP_NUM_THREADS": "1",
    }
    command = ["nice", "-n", str(_NICE), sys.executable, "-m", "core", "refit"]
    return subprocess.Popen(
        command, cwd=ROOT, env=os.environ | places, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the runner, which ends it
    )  # fmt: skip
