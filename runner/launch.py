"""Where a job runs: a supervised process of its own on this machine, which outlives the runner.

The runner and the job share one directory. The runner writes `job.json`, `cancel` and `pause`; the job appends to
`events.jsonl`; its supervisor writes `exit.json`. A lock on `alive.lock` is held while the supervisor or the job
lives, so its release is the news of their death, whoever killed them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import portalocker
import psutil

from core import datasets, events, kinds, machine, specs
from core.kinds import Kind
from core.queue.jobs import Job
from core.store import database
from runner import spare
from runner.shared.context import Context, Engine
from runner.spare import Spare
from runner.supervisor import EXIT_BYTES, Exit

ROOT = Path(__file__).parents[1]
PAUSE_S = 60.0
_BATCH_BYTES = 4 * 2**20  # events are read and recorded in pieces of this size


def start(job: Job, ready: Spare | None = None) -> None:
    """Start a job's attempt as a supervised process; `is_alive` holds from the moment that this returns.

    `ready` is a spare process that has an engine loaded, and takes the job if it is of that kind. Raises InputError
    for a kind of job that this version does not know.
    """
    kind = kinds.of(job.kind)
    directory = job.directory
    clean(directory)  # what a run of the same name left, in a data directory whose store was restored
    for name in ("artifacts", "tmp"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    (directory / "job.json").write_text(json.dumps(_order(job, kind)))
    (directory / "events.jsonl").touch()
    # Written in place at the end, so that a full disk cannot keep the ending secret.
    (directory / "exit.json").write_text(" " * EXIT_BYTES)
    with open(directory / "alive.lock", "w") as lock, open(directory / "log.txt", "ab") as log:
        portalocker.lock(lock, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
        around = environment(job.cpus)
        pid = None
        if ready is not None and ready.kind == job.kind:
            pid = spare.hand_over(ready, directory, around, (lock.fileno(), log.fileno()))
        lock.write(str(_supervised(directory, around, lock.fileno(), log.fileno()) if pid is None else pid))


def _supervised(directory: Path, around: Mapping[str, str], lock_fd: int, log_fd: int) -> int:
    """Start the supervisor, which starts the job; returns its pid."""
    # A stop that comes before the supervisor can hear it must wait, not kill it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    process = subprocess.Popen(
        [sys.executable, "-m", "runner.supervisor", str(directory), str(lock_fd)],
        cwd=directory,
        env=around,
        stdin=subprocess.DEVNULL,
        stdout=log_fd,
        stderr=log_fd,
        pass_fds=[lock_fd],  # the lock lives on in the supervisor when this side closes
        start_new_session=True,
    )
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return process.pid


def _order(job: Job, kind: Kind) -> dict[str, Any]:
    """Return what is written to job.json. A job does not open the store, so that all it needs is in it."""
    return {
        "job_id": job.id,
        "attempt": job.attempt,
        "executor": kind.entry,
        "spec": job.spec_text,
        "dataset": datasets.to_json(datasets.get(job.dataset_id)),
        "cpus": job.cpus or machine.cpu_slots(),
        "gpus": job.gpus,
        "order": kinds.load(kind.order)() if kind.order else {},
    }


def environment(cpus: int) -> Mapping[str, str]:
    """The variables that a job of so many threads (0: all) is started with."""
    threads = str(cpus or machine.cpu_slots())
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    own = {"METASCOUT_HOME": str(database.home()), "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "DO_NOT_TRACK": "1"}
    # Waiting threads that spin take the cores from those that work.
    own |= {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    return {**os.environ, **own, "MKL_NUM_THREADS": threads}


def is_alive(directory: Path) -> bool:
    """Whether the supervisor or the job of this run directory still lives."""
    try:
        with open(directory / "alive.lock", "r+") as lock:
            portalocker.lock(lock, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
            portalocker.unlock(lock)
    except (portalocker.AlreadyLocked, portalocker.LockException):
        return True
    except FileNotFoundError:
        return False
    return False


def request_cancel(directory: Path) -> None:
    """Ask the job to stop; its supervisor ends it by force after a grace period, counted from the first request."""
    wish = directory / "cancel"
    if not wish.exists():
        wish.touch()


def request_pause(directory: Path) -> bool:
    """Ask the job to pause; True, once, when it has been asked for `PAUSE_S` seconds and still runs."""
    wish = directory / "pause"
    if not wish.exists():
        wish.touch()
    stat = wish.stat()
    if stat.st_size or time.time() < stat.st_mtime + PAUSE_S:
        return False
    wish.write_text("late")
    return True


def stop(directory: Path) -> None:
    """End the job at once, with everything that it started."""
    with suppress(OSError, ValueError):
        pid = int((directory / "alive.lock").read_text())
        if is_alive(directory):
            os.kill(pid, signal.SIGTERM)


def read_events(directory: Path, offset: int) -> tuple[list[events.Event], list[float], int]:
    """The next events from byte `offset` of the event file: they, their times, and the offset behind them.

    A line that is not an event (cut off by a full disk) becomes a warning. No file: the attempt never started.
    """
    if not (directory / "events.jsonl").exists():
        return [], [], offset
    with open(directory / "events.jsonl", "rb") as file:
        file.seek(offset)
        piece = file.read(_BATCH_BYTES)
        if len(piece) == _BATCH_BYTES and b"\n" not in piece:
            piece += file.readline()
    complete = piece[: piece.rfind(b"\n") + 1]
    found, times = [], []
    for line in complete.splitlines():
        try:
            event, happened_at = events.from_json(line)
        except (ValueError, KeyError, TypeError):
            event = events.Message(f"An unreadable event was skipped: {line[:80]!r}", "warning")
            happened_at = time.time()
        found.append(event)
        times.append(happened_at)
    return found, times, offset + len(complete)


def read_exit(directory: Path) -> Exit:
    """How the attempt ended; call it when `is_alive` is False. No record means that its supervisor was killed too."""
    try:
        return Exit(**json.loads((directory / "exit.json").read_text()))
    except (OSError, ValueError):
        return Exit("crashed", "The job's process and its supervisor were killed, or the machine went down.")


def clean(directory: Path) -> None:
    """Remove what an ended attempt left behind that nobody reads any more (its artifacts are kept elsewhere).

    Its supervisor has ended its processes; where that was killed too, a Java that works in its tmp/ is ended here.
    """
    for process in psutil.process_iter(["cmdline"]):
        if any(part.startswith(f"-Djava.io.tmpdir={directory}/tmp/") for part in process.info["cmdline"] or ()):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                process.kill()
    for name in ("tmp", "artifacts"):
        shutil.rmtree(directory / name, ignore_errors=True)


def sweep(*, keep: set[Path]) -> None:
    """Clean up after every attempt that no longer lives, but for those whose directories are to be kept."""
    for directory in (database.home() / "jobs").glob("*-*"):
        if (directory / "tmp").exists() and directory not in keep and not is_alive(directory):
            clean(directory)


def receive(directory: Path) -> tuple[specs.Spec, Context, Engine]:
    """Return what `start` ordered, as the job's own process needs it: its spec, its context and its engine's `run`."""
    order = json.loads((directory / "job.json").read_text())
    context = Context(
        job_id=order["job_id"],
        attempt=order["attempt"],
        dataset=datasets.from_json(order["dataset"]),
        directory=directory,
        cpus=order["cpus"],
        gpus=order["gpus"],
        cancelled=(directory / "cancel").exists,
        paused=(directory / "pause").exists,
        order=order["order"],
    )
    return specs.parse(order["spec"]), context, kinds.load(order["executor"])
