"""Starting and following a job: a supervised process on this machine, which outlives the runner.

The runner and the job share a run directory. The runner writes `job.json`, `cancel` and `pause`. The job appends to
`events.jsonl`. The supervisor writes `exit.json`. While the supervisor or the job is alive, it holds a lock on
`alive.lock`: the release of the lock shows that both are dead, whatever the cause.
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
from runner.shared.context import Context, Engine
from runner.spare import Spare, assign
from runner.supervisor import EXIT_BYTES, Exit

ROOT = Path(__file__).parents[1]
LATE_PAUSE_S = 60.0  # after this time a pause that the job has not obeyed becomes a warning
_BATCH_BYTES = 4 * 2**20  # maximum bytes of events in one batch


def start(job: Job, spare: Spare | None = None) -> None:
    """Start an attempt of a job as a supervised process. `is_alive` is true as soon as this returns.

    A spare process that waits for this kind of job takes it. Raises InputError for an unknown kind of job.
    """
    directory = prepare(job)
    with open(directory / "alive.lock", "w") as lock, open(directory / "log.txt", "ab") as log:
        portalocker.lock(lock, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
        variables = environment(job.cpus)
        pid = None
        if spare is not None and spare.kind == job.kind:
            pid = assign(spare, directory, variables, (lock.fileno(), log.fileno()))
        lock.write(str(_start_supervisor(directory, variables, lock.fileno(), log.fileno()) if pid is None else pid))


def prepare(job: Job) -> Path:
    """Write the run directory of an attempt and return it. Raises InputError for an unknown kind of job."""
    order = _order(job, kinds.of(job.kind))
    directory = job.directory
    clean(directory)  # after a restored backup there may be a run of the same name
    for name in ("artifacts", "tmp"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    (directory / "job.json").write_text(json.dumps(order))
    (directory / "events.jsonl").touch()
    # The space is reserved now and written in place at the end, which works on a full disk too.
    (directory / "exit.json").write_text(" " * EXIT_BYTES)
    return directory


def _start_supervisor(directory: Path, variables: Mapping[str, str], lock_fd: int, log_fd: int) -> int:
    """Start the supervisor, which starts the job, and return its pid."""
    # SIGTERM is blocked until the supervisor can handle it; an earlier one would kill it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    process = subprocess.Popen(
        [sys.executable, "-m", "runner.supervisor", str(directory), str(lock_fd)],
        cwd=directory,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=log_fd,
        stderr=log_fd,
        pass_fds=[lock_fd],  # the supervisor keeps the lock when the runner closes its file
        start_new_session=True,
    )
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return process.pid


def _order(job: Job, kind: Kind) -> dict[str, Any]:
    """Return the content of job.json: all that a job needs, because it does not open the store."""
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
    """Return the environment variables of a job with so many threads (0: all)."""
    threads = str(cpus or machine.cpu_slots())
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    own = {"METASCOUT_HOME": str(database.home()), "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "DO_NOT_TRACK": "1"}
    # Waiting threads sleep: spinning ones would take the cores from those that work.
    own |= {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    return {**os.environ, **own, "MKL_NUM_THREADS": threads}


def is_alive(directory: Path) -> bool:
    """Return whether the supervisor or the job of this run directory is alive."""
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
    """Request that the job stops. Its supervisor kills it after a grace period, counted from the first request."""
    _touch(directory / "cancel")


def request_pause(directory: Path) -> None:
    """Request that the job pauses at its next checkpoint."""
    _touch(directory / "pause")


def _touch(request: Path) -> None:
    if not request.exists():  # its time is that of the first request
        request.touch()


def mark_late_pause(directory: Path) -> bool:
    """Mark a pause that the job has not obeyed for `LATE_PAUSE_S` seconds. Return True only if it was marked now."""
    request = directory / "pause"
    stat = request.stat()
    if stat.st_size or time.time() < stat.st_mtime + LATE_PAUSE_S:
        return False
    request.write_text("late")
    return True


def stop(directory: Path) -> None:
    """End the job at once, with all the processes that it started."""
    with suppress(OSError, ValueError):
        pid = int((directory / "alive.lock").read_text())
        if is_alive(directory):
            os.kill(pid, signal.SIGTERM)


def read_events(directory: Path, offset: int) -> tuple[list[events.Event], list[float], int]:
    """Return the next batch of events from byte `offset` of the event file, their times, and the next offset.

    A line that is not an event (cut off by a full disk) becomes a warning. Without a file, the attempt never started.
    """
    if not (directory / "events.jsonl").exists():
        return [], [], offset
    with open(directory / "events.jsonl", "rb") as file:
        file.seek(offset)
        piece = file.read(_BATCH_BYTES)
        if len(piece) == _BATCH_BYTES and b"\n" not in piece:
            piece += file.readline()
    complete = piece[: piece.rfind(b"\n") + 1]
    batch, times = [], []
    for line in complete.splitlines():
        try:
            event, happened_at = events.from_json(line)
        except (ValueError, KeyError, TypeError):
            event = events.Message(f"An unreadable event was skipped: {line[:80]!r}", "warning")
            happened_at = time.time()
        batch.append(event)
        times.append(happened_at)
    return batch, times, offset + len(complete)


def read_exit(directory: Path) -> Exit:
    """Return how an attempt that is not alive has ended. Without a record, its supervisor was killed too."""
    try:
        return Exit(**json.loads((directory / "exit.json").read_text()))
    except (OSError, ValueError):
        return Exit("crashed", "The process of the job and its supervisor were killed, or the machine went down.")


def clean(directory: Path) -> None:
    """Remove the temporary files of an attempt that has ended, and its artifacts, which are stored elsewhere.

    Its supervisor has ended its processes. If that was killed too, a Java process that uses its tmp/ is killed here.
    """
    for process in psutil.process_iter(["cmdline"]):
        if any(part.startswith(f"-Djava.io.tmpdir={directory}/tmp/") for part in process.info["cmdline"] or ()):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                process.kill()
    for name in ("tmp", "artifacts"):
        shutil.rmtree(directory / name, ignore_errors=True)


def sweep(*, keep: set[Path]) -> None:
    """Clean up after every attempt that is not alive, except for the directories in `keep`."""
    for directory in (database.home() / "jobs").glob("*-*"):
        if (directory / "tmp").exists() and directory not in keep and not is_alive(directory):
            clean(directory)


def receive(directory: Path) -> tuple[specs.Spec, Context, Engine]:
    """Return the spec, the context and the engine's `run` that `prepare` wrote to a run directory."""
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
