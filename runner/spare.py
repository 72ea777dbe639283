"""The spare: one supervised job process that has its engine loaded already and waits for a job that must answer soon.

It is started as any other job's processes are, and takes an order over a socket: the run directory, with the lock and
the log as open files. When the runner goes, by whatever signal, the socket closes, and an idle spare ends.
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

LOOK_S = 5.0  # between two looks into the store
PAUSE_S = 3.0  # after a hand-over: the job that the spare has become wants the cores first
BROKEN_PAUSE_S = 60.0
_ANSWER_S = 5.0
_ROOT = Path(__file__).parents[1]

log = logging.getLogger("metascout.runner")


@dataclass(slots=True)
class Spare:
    """The processes that wait (the supervisor's, and the wire to it), and when the next look is due (monotonic)."""

    process: subprocess.Popen[bytes] | None = None
    wire: socket.socket | None = None
    kind: str = ""  # of the jobs that it can take
    environment: Mapping[str, str] = field(default_factory=dict)
    next_at: float = 0.0


def tend(spare: Spare, environment: Mapping[str, str]) -> None:
    """Keep one spare process for the kind of job that wants one (see `Kind.warm`); never waits."""
    if spare.process is not None and spare.process.poll() is not None:
        log.warning("The spare process ended with code %s; jobs start without one", spare.process.returncode)
        _let_go(spare, BROKEN_PAUSE_S)
    if (now := time.monotonic()) < spare.next_at:
        return
    spare.next_at = now + LOOK_S
    kind = next((kind for kind in kinds.KINDS if kind.warm and kinds.load(kind.warm)()), None)
    if spare.process is not None and not (kind and kind.name == spare.kind and spare.environment == environment):
        stop(spare)
    elif spare.process is None and kind:
        _start(spare, kind, environment)


def hand_over(spare: Spare, directory: Path, environment: Mapping[str, str], files: Sequence[int]) -> int | None:
    """Give the spare a job: its run directory and the open lock and log; the supervisor's pid, and the spare is gone.

    None where there is no spare, or none that was started in the same environment, or it is dead: start without it.
    """
    process, wire = spare.process, spare.wire
    if process is None or wire is None or dict(environment) != dict(spare.environment):
        return None
    taken = False
    with suppress(OSError):
        socket.send_fds(wire, [str(directory).encode()], list(files))
        wire.settimeout(_ANSWER_S)
        taken = bool(wire.recv(1))
    if not taken:  # whatever it was doing, it must not begin the job beside another
        log.warning("The spare process did not take the job; it starts without one")
        process.kill()
        process.wait()
    _let_go(spare, PAUSE_S)
    return process.pid if taken else None


def stop(spare: Spare) -> None:
    """End the spare that waits."""
    if spare.process is not None:
        spare.process.kill()  # its job process is killed with it
        spare.process.wait()
        _let_go(spare, 0.0)


def _let_go(spare: Spare, pause_s: float) -> None:
    if spare.wire is not None:
        spare.wire.close()
    spare.process = spare.wire = None
    spare.next_at = time.monotonic() + pause_s


def _start(spare: Spare, kind: Kind, environment: Mapping[str, str]) -> None:
    mine, its = socket.socketpair()
    with its:
        spare.process = subprocess.Popen(
            [sys.executable, "-m", "runner.supervisor", "--spare", kind.entry.partition(":")[0], str(its.fileno())],
            cwd=_ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, pass_fds=[its.fileno()], start_new_session=True,
        )  # fmt: skip
    spare.wire, spare.kind, spare.environment = mine, kind.name, dict(environment)
