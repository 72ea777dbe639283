"""The fits of the selectors: a low-priority process beside the jobs, started when there are new results."""

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

INTERVAL_S = 30.0  # between two fits
BUSY_INTERVAL_S = 600.0  # while jobs run: they need the cores, and they add results all the time
LIMIT_S = 900.0
_STOP_S = 5.0
_NICE = 10

log = logging.getLogger("metascout.runner")


@dataclass(slots=True)
class FitProcess:
    """The process of the current fit, when it started, and when the next one may start (monotonic clock)."""

    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    next_at: float = 0.0
    busy_next_at: float = 0.0


def maintain(fit: FitProcess, *, busy: bool = False) -> None:
    """Start a fit if one is due, and check the current one. Never waits. `busy`: jobs are running."""
    now = time.monotonic()
    if fit.process is not None:
        if fit.process.poll() is None:
            if now > fit.started_at + LIMIT_S:
                log.warning("The fit of the selectors took more than %g s and is stopped", LIMIT_S)
                stop(fit)
            return
        if fit.process.returncode:
            log.warning("The fit of the selectors ended with code %d", fit.process.returncode)
        _schedule_next(fit)
    elif now >= (fit.busy_next_at if busy else fit.next_at):
        fit.next_at = fit.busy_next_at = now + INTERVAL_S / 10
        if fits.is_due():
            fit.process, fit.started_at = _start(), now


def stop(fit: FitProcess) -> None:
    """End the current fit. Selectors that it has saved stay."""
    if fit.process is not None:
        fit.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            fit.process.wait(_STOP_S)
        fit.process.kill()
        fit.process.wait()
        _schedule_next(fit)


def _schedule_next(fit: FitProcess) -> None:
    now = time.monotonic()
    fit.process, fit.next_at, fit.busy_next_at = None, now + INTERVAL_S, now + BUSY_INTERVAL_S


def _start() -> subprocess.Popen[bytes]:
    variables = {
        "METASCOUT_HOME": str(database.home()),
        "METASCOUT_STORE": str(database.store_path()),
        "OMP_NUM_THREADS": "1",
    }
    command = ["nice", "-n", str(_NICE), sys.executable, "-m", "core", "refit"]
    return subprocess.Popen(
        command, cwd=ROOT, env=os.environ | variables, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C reaches only the runner, which ends the fit
    )  # fmt: skip
