"""The supervisor of one job: it starts the process of the job, watches it, and ends it with all its descendants.

`python -m runner.supervisor DIRECTORY LOCK_FD` runs a job. It imports very little, and it adopts the orphans of the
job to end the whole process tree. `python -m runner.supervisor --spare ENGINE WIRE_FD` starts a job process that
loads the engine, waits for an order on the wire, and then does the same.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import psutil

POLL_S = 0.1
EXIT_BYTES = 16_384  # maximum size of the record: 1,000 characters, each up to 12 bytes in JSON
_SET_CHILD_SUBREAPER, _SET_PDEATHSIG = 36, 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # before any fork


@dataclass(frozen=True, slots=True)
class Exit:
    """How an attempt ended. "crashed": killed or stuck; "stopped": by the runner."""

    status: Literal["succeeded", "failed", "cancelled", "paused", "crashed", "stopped"]
    error: str | None = None


def supervise(directory: Path, lock_fd: int) -> None:
    """Run the job of a run directory to its end, and write exit.json."""
    _prctl(_SET_CHILD_SUBREAPER, 1)
    signals = _catch_sigterm()
    # Both processes hold the lock.
    child = _start_job(lock_fd, str(directory))
    _supervise_to_end(directory, child, signals)


def wait_for_order(engine: str, wire_fd: int) -> None:
    """Start a job process that loads the engine, and supervise it once an order arrives. End if the wire is closed."""
    _prctl(_SET_CHILD_SUBREAPER, 1)
    runner = socket.socket(fileno=wire_fd)
    mine, its = socket.socketpair()
    with its:
        child = _start_job(its.fileno(), "--spare", engine)
    broken = mine in select.select([runner, mine], [], [])[0]  # the job process sends nothing; an event is its death
    text, files, _, _ = socket.recv_fds(runner, 65_536, 2)
    if broken or not text:
        _end_descendants()
        sys.exit(int(broken))
    signals = _catch_sigterm()
    enter(text.decode(), files[1])
    socket.send_fds(mine, [text], files)
    runner.send(b"1")  # confirm the order
    runner.close()
    _supervise_to_end(Path(text.decode()), child, signals)


def enter(directory: str, log_fd: int) -> None:
    """Change to a run directory and its log, as if this process had been started there."""
    os.chdir(directory)
    for stream in (1, 2):
        os.dup2(log_fd, stream)


def _start_job(fd: int, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "runner.child", *arguments, *([str(fd)] if "--spare" in arguments else [])]
    return subprocess.Popen(command, preexec_fn=partial(die_with_parent, os.getpid()), pass_fds=[fd])


def _catch_sigterm() -> list[int]:
    """Return a list to which every SIGTERM is added from now on."""
    signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: signals.append(number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # blocked by the runner at the start
    return signals


def _supervise_to_end(directory: Path, child: subprocess.Popen[bytes], signals: list[int]) -> None:
    forced = watch(directory, child, signals)
    _end_descendants()
    shutil.rmtree(directory / "tmp", ignore_errors=True)
    result = forced or read_result(directory, child.wait())
    text = json.dumps({"status": result.status, "error": result.error and result.error[:1000]})
    with open(directory / "exit.json", "r+") as file:  # in place: this works on a full disk too
        file.write(text.ljust(EXIT_BYTES))


def watch(directory: Path, child: subprocess.Popen[bytes], signals: list[int]) -> Exit | None:
    """Wait until the job ends (None), or until it must be ended (the Exit to record).

    Time is counted in this process, not by the times of files: a machine that sleeps does not make a job stall.
    """
    grace_s = float(os.environ.get("METASCOUT_CANCEL_GRACE_S") or 15)
    stall_s = float(os.environ.get("METASCOUT_STALL_S") or 1800)
    cancel_at, event_at, last_size = None, time.monotonic(), 0
    while child.poll() is None:
        now = time.monotonic()
        if signals:
            return Exit("stopped", "The runner was stopped.")
        if cancel_at is None and (directory / "cancel").exists():
            cancel_at = now
        if cancel_at is not None and now > cancel_at + grace_s:
            return Exit("cancelled", f"The job did not stop within {grace_s:g} s and was ended by force.")
        if (size := (directory / "events.jsonl").stat().st_size) != last_size:
            event_at, last_size = now, size
        if now > event_at + stall_s:
            return Exit("crashed", f"The job sent no heartbeat for {stall_s:g} s and was ended.")
        time.sleep(POLL_S)
    return None


def read_result(directory: Path, code: int) -> Exit:
    """Return how a job ended by itself: its result.json, or else the meaning of its exit code."""
    with suppress(OSError, ValueError):
        return Exit(**json.loads((directory / "result.json").read_text()))
    if (directory / "cancel").exists():
        return Exit("cancelled")
    if code == errno.ENOSPC:
        return Exit("failed", _disk_full(directory))
    if code < 0:
        name = signal.Signals(-code).name
        hint = " The system does this when it runs out of memory." if -code == signal.SIGKILL else ""
        return Exit("crashed", f"The process of the job was killed by an external {name}.{hint}")
    return Exit("crashed", f"The process of the job ended unexpectedly with exit code {code}. See its log.")


def _end_descendants() -> None:
    """Kill all processes that the job started. Orphans of the job are children of this process by now."""
    while children := psutil.Process().children(recursive=True):
        for process in children:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(children, timeout=1)


def _disk_full(directory: Path) -> str:
    return f"The disk with {directory.parent} is full. Free some space, then retry the job."


def die_with_parent(parent: int) -> None:
    """Make a new process end when the thread of `parent` that started it ends (on Linux only)."""
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the call
        os._exit(1)


def _prctl(option: int, value: int) -> None:
    if _LIBC is not None:
        _LIBC.prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    if sys.argv[1] == "--spare":
        wait_for_order(sys.argv[2], int(sys.argv[3]))
    else:
        supervise(Path(sys.argv[1]), int(sys.argv[2]))
