"""Contention: processes submit and claim jobs at once and are killed at random; no job is lost or claimed twice."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from core.store import database

_SUBMIT = """
import os, sys
from core.queue import jobs
from core.specs import AutoMLSpec
path, count = sys.argv[1], int(sys.argv[2])
done = os.path.getsize(path) // 9 if os.path.exists(path) else 0
with open(path, "ab", buffering=0) as file:
    for _ in range(count - done):
        file.write(b"%08d\\n" % jobs.submit(AutoMLSpec(dataset_id=1)))
"""
_CLAIM = """
import os, sys, time
from core.queue import jobs
with open(sys.argv[1], "ab", buffering=0) as file:
    while True:
        job = jobs.claim(f"claimer {os.getpid()}")
        if job is None:
            time.sleep(0.01)
            continue
        file.write(b"%08d\\n" % job.id)
        jobs.finish(job, "succeeded")
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The counts of the drill. `lost`: acknowledged jobs that are not in the store; `twice`: jobs claimed twice."""

    acknowledged: int
    lost: int
    claimed: int
    twice: int
    kills: int
    seconds: float


def run(folder: Path, *, submitters: int, submits: int, claimers: int, kill_every_s: float, seed: int = 1) -> Outcome:
    """Let `submitters` processes submit `submits` jobs each to dataset 1 while `claimers` claim them; kill some."""
    choose = random.Random(seed)
    commands = [
        [sys.executable, "-c", _SUBMIT, str(folder / f"submitted-{n}"), str(submits)] for n in range(submitters)
    ]
    commands += [[sys.executable, "-c", _CLAIM, str(folder / f"claimed-{n}")] for n in range(claimers)]
    processes = [subprocess.Popen(command) for command in commands]
    kills, started = 0, time.monotonic()
    while any(len(_ids(folder / f"submitted-{n}")) < submits for n in range(submitters)):
        time.sleep(choose.uniform(0, 2 * kill_every_s))
        victim = choose.randrange(len(processes))
        if processes[victim].poll() is None:
            processes[victim].kill()
            kills += 1
        elif processes[victim].returncode > 0:
            raise RuntimeError(f"process {victim} of the drill failed with {processes[victim].returncode}")
        processes[victim].wait()
        processes[victim] = subprocess.Popen(commands[victim])
    seconds = time.monotonic() - started
    for process in processes:
        process.kill()
        process.wait()
    return _count(folder, kills, seconds)


def _ids(path: Path) -> list[int]:
    return [int(line) for line in path.read_bytes().split()] if path.exists() else []


def _count(folder: Path, kills: int, seconds: float) -> Outcome:
    acknowledged = [job_id for path in folder.glob("submitted-*") for job_id in _ids(path)]
    claimed = Counter(job_id for path in folder.glob("claimed-*") for job_id in _ids(path))
    with database.transaction() as connection:
        stored = {row[0] for row in connection.execute("SELECT id FROM jobs").fetchall()}
        moves = connection.execute(
            "SELECT job_id FROM job_history WHERE status='running' GROUP BY job_id, attempt HAVING count(*) > 1"
        ).fetchall()
    twice = {job_id for job_id, count in claimed.items() if count > 1} | {row[0] for row in moves}
    return Outcome(len(acknowledged), len(set(acknowledged) - stored), len(claimed), len(twice), kills, seconds)
