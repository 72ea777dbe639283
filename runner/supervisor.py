"""The process that watches one job: it starts it, ends it when it must, and leaves no process behind.

`python -m runner.supervisor DIRECTORY LOCK_FD`. It imports next to nothing, and adopts whatever the job leaves
running, so that it can end the whole tree. `python -m runner.supervisor --spare ENGINE WIRE_FD` starts a job process
that loads the engine, and waits for the order on the wire before it does the same.
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
EXIT_BYTES = 16_384  # the longest record: 1,000 characters, each up to 12 bytes in JSON
_SET_CHILD_SUBREAPER, _SET_PDEATHSIG = 36, 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # before any fork


@dataclass(frozen=True, slots=True)
class Exit:
    """How an attempt ended: succeeded, failed, cancelled, paused, crashed (killed or stuck), stopped (by runner)."""

    status: Literal["succeeded", "failed", "cancelled", "paused", "crashed", "stopped"]
    error: str | None = None


def supervise(directory: Path, lock_fd: int) -> None:
    """Run the job of this directory to its end, and record how it ended."""
    _prctl(_SET_CHILD_SUBREAPER, 1)
    stopped = _listen()
    # The lock stays held as long as either of the two lives.
    child = _job(lock_fd, str(directory))
    _see_to_the_end(directory, child, stopped)


def wait_for_order(engine: str, wire_fd: int) -> None:
    """Keep a job process that has the engine loaded, and `supervise` it once an order comes; end when the wire does."""
    _prctl(_SET_CHILD_SUBREAPER, 1)
    runner = socket.socket(fileno=wire_fd)
    mine, its = socket.socketpair()
    with its:
        child = _job(its.fileno(), "--spare", engine)
    broken = mine in select.select([runner, mine], [], [])[0]  # the job process has nothing to say but its death
    text, files, _, _ = socket.recv_fds(runner, 65_536, 2)
    if broken or not text:
        _end_descendants()
        sys.exit(int(broken))
    stopped = _listen()
    take_over(text.decode(), files[1])
    socket.send_fds(mine, [text], files)
    runner.send(b"1")  # from here on the job is this process's
    runner.close()
    _see_to_the_end(Path(text.decode()), child, stopped)


def take_over(directory: str, log_fd: int) -> None:
    """Be as a process that was started in this run directory with this log."""
    os.chdir(directory)
    for stream in (1, 2):
        os.dup2(log_fd, stream)


def _job(fd: int, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "runner.child", *arguments, *([str(fd)] if "--spare" in arguments else [])]
    return subprocess.Popen(command, preexec_fn=partial(die_with_parent, os.getpid()), pass_fds=[fd])


def _listen() -> list[int]:
    """From now on a SIGTERM is put into the list that is returned."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # it was held back until now
    return stopped


def _see_to_the_end(directory: Path, child: subprocess.Popen[bytes], stopped: list[int]) -> None:
    ended = _watch(directory, child, stopped)
    _end_descendants()
    shutil.rmtree(directory / "tmp", ignore_errors=True)
    ended = ended or _verdict(directory, child.wait())
    text = json.dumps({"status": ended.status, "error": ended.error and ended.error[:1000]})
    with open(directory / "exit.json", "r+") as file:  # in place: this works on a full disk too
        file.write(text.ljust(EXIT_BYTES))


def _watch(directory: Path, child: subprocess.Popen[bytes], stopped: list[int]) -> Exit | None:
    """Wait for the job to end by itself (None), or until it has to be ended (and how to call that).

    Time is counted here and not read off the files, so that a machine that sleeps is not a job that is silent.
    """
    grace_s = float(os.environ.get("METASCOUT_CANCEL_GRACE_S") or 15)
    stall_s = float(os.environ.get("METASCOUT_STALL_S") or 1800)
    wished_at, spoke_at, last_word = None, time.monotonic(), 0
    while child.poll() is None:
        now = time.monotonic()
        if stopped:
            return Exit("stopped", "The runner was stopped.")
        if wished_at is None and (directory / "cancel").exists():
            wished_at = now
        if wished_at is not None and now > wished_at + grace_s:
            return Exit("cancelled", f"It did not stop by itself within {grace_s:g} s, and was ended by force.")
        if (size := (directory / "events.jsonl").stat().st_size) != last_word:
            spoke_at, last_word = now, size
        if now > spoke_at + stall_s:
            return Exit("crashed", f"The job gave no sign of life for {stall_s:g} s, and was ended.")
        time.sleep(POLL_S)
    return None


def _verdict(directory: Path, code: int) -> Exit:
    with suppress(OSError, ValueError):
        return Exit(**json.loads((directory / "result.json").read_text()))
    if (directory / "cancel").exists():
        return Exit("cancelled")
    if code == errno.ENOSPC:
        return Exit("failed", _disk_full(directory))
    if code < 0:
        name = signal.Signals(-code).name
        hint = " The system ends processes so when memory runs out." if -code == signal.SIGKILL else ""
        return Exit("crashed", f"The job's process was ended from outside by {name}.{hint}")
    return Exit("crashed", f"The job's process ended unexpectedly with exit code {code}; see its log.")


def _end_descendants() -> None:
    """Kill all that the job started; those it has left orphaned are this process's children by now."""
    while children := psutil.Process().children(recursive=True):
        for process in children:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(children, timeout=1)


def _disk_full(directory: Path) -> str:
    return f"The disk that holds {directory.parent} is full. Free some space, then retry the job."


def die_with_parent(parent: int) -> None:
    """For a new process: be killed when the thread of `parent` that started it ends (Linux; elsewhere nothing)."""
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
