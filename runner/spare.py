"""The spare process: a supervised job process that has an engine loaded and waits for a job that must answer soon.

It takes an order over a socket: the run directory, with the lock and the log as open files. When the runner ends, for
any reason, the socket closes, and a spare process that waits ends too.
"""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from core import kinds
from core.kinds import Kind

CHECK_S = 5.0  # between two checks of the store
REST_S = 3.0  # before the next start after an assignment, whose job gets the cores first
BROKEN_REST_S = 60.0
_ANSWER_S = 5.0
_ROOT = Path(__file__).parents[1]

log = logging.getLogger("metascout.runner")


@dataclass(slots=True)
class Spare:
    """The supervisor of the process that waits, the wire to it, and the time of the next check (monotonic clock)."""

    process: subprocess.Popen[bytes] | None = None
    wire: socket.socket | None = None
    kind: str = ""  # the kind of job that it waits for
    environment: Mapping[str, str] = field(default_factory=dict)
    next_at: float = 0.0


def maintain(spare: Spare, environment: Mapping[str, str]) -> None:
    """Keep one spare process for the kind of job that needs one (see `Kind.warm`). Never waits."""
    if spare.process is not None and spare.process.poll() is not None:
        log.warning("The spare process ended with code %s; jobs start without it", spare.process.returncode)
        _clear(spare, BROKEN_REST_S)
    if (now := time.monotonic()) < spare.next_at:
        return
    spare.next_at = now + CHECK_S
    kind = next((kind for kind in kinds.KINDS if kind.warm and kinds.load(kind.warm)()), None)
    if spare.process is not None and not (kind and kind.name == spare.kind and spare.environment == environment):
        stop(spare)
    elif spare.process is None and kind:
        _start(spare, kind, environment)


def assign(spare: Spare, directory: Path, environment: Mapping[str, str], files: Sequence[int]) -> int | None:
    """Assign a job to the spare process: its run directory and the open lock and log. Return the supervisor's pid.

    Return None if there is no spare process, it has another environment, or it is dead: the job starts without it.
    """
    process, wire = spare.process, spare.wire
    if process is None or wire is None or dict(environment) != dict(spare.environment):
        return None
    confirmed = False
    with suppress(OSError):
        socket.send_fds(wire, [str(directory).encode()], list(files))
        wire.settimeout(_ANSWER_S)
        confirmed = bool(wire.recv(1))
    if not confirmed:  # kill it: the job must not run twice
        log.warning("The spare process did not take the job; the job starts without it")
        process.kill()
        process.wait()
    _clear(spare, REST_S)
    return process.pid if confirmed else None


def stop(spare: Spare) -> None:
    """End the spare process that waits."""
    if spare.process is not None:
        spare.process.kill()  # its job process is killed with it
        spare.process.wait()
        _clear(spare, 0.0)


def _clear(spare: Spare, rest_s: float) -> None:
    if spare.wire is not None:
        spare.wire.close()
    spare.process = spare.wire = None
    spare.next_at = time.monotonic() + rest_s


def _start(spare: Spare, kind: Kind, environment: Mapping[str, str]) -> None:
    mine, its = socket.socketpair()
    with its:
        spare.process = subprocess.Popen(
            [sys.executable, "-m", "runner.supervisor", "--spare", kind.entry.partition(":")[0], str(its.fileno())],
            cwd=_ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, pass_fds=[its.fileno()], start_new_session=True,
        )  # fmt: skip
    spare.wire, spare.kind, spare.environment = mine, kind.name, dict(environment)
