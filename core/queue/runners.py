"""The runners: which are alive, and the load of their machine."""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass
from typing import Any

from core.store import database

ALIVE_S = 10.0  # after the last heartbeat; a runner sends one every 2 s


@dataclass(frozen=True, slots=True)
class Runner:
    """A runner process. `machine` is the last result of `machine.usage`, with cpu_slots, gpu_slots and `running`."""

    worker_id: str
    pid: int
    host: str
    started_at: float
    heartbeat_at: float
    machine: dict[str, Any]


def heartbeat(worker_id: str, machine: dict[str, Any]) -> None:
    """Save that this runner is alive, and the load of its machine."""
    now = time.time()
    with database.transaction(write=True) as connection:
        connection.execute(
            "INSERT INTO runners VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (worker_id) DO UPDATE"
            " SET heartbeat_at=excluded.heartbeat_at, machine=excluded.machine",
            [worker_id, os.getpid(), socket.gethostname(), now, now, json.dumps(machine)],
        )


def remove(worker_id: str) -> None:
    """Remove this runner, which has ended."""
    with database.transaction(write=True) as connection:
        connection.execute("DELETE FROM runners WHERE worker_id=?", [worker_id])


def slots() -> tuple[int, int] | None:
    """Return how many threads and GPUs the runner gives to jobs; None if no runner is alive."""
    pairs = [(runner.machine.get("cpu_slots"), runner.machine.get("gpu_slots")) for runner in alive()]
    return next(((int(cpus), int(gpus)) for cpus, gpus in pairs if cpus is not None and gpus is not None), None)


def alive(*, now: float | None = None) -> list[Runner]:
    """Return the runners with a heartbeat in the last ten seconds, the latest first."""
    now = time.time() if now is None else now
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT worker_id, pid, host, started_at, heartbeat_at, machine FROM runners WHERE heartbeat_at > ?"
            " ORDER BY heartbeat_at DESC",
            [now - ALIVE_S],
        ).fetchall()
    return [Runner(*(*row[:-1], json.loads(row[-1]))) for row in rows]
