"""A real H2O job whose processes are killed while it trains: no Java process and no temporary file remains."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from core import datasets, results
from core.queue import jobs
from core.specs import AutoMLSpec
from runner import launch, loop

_CLEANUP_S = 10

pytestmark = [pytest.mark.h2o, pytest.mark.slow]


def _until(condition: Callable[[], object], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.1)


def _java(home: Path) -> list[int]:
    """The Java processes whose command line names the data directory."""
    pids = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or [""]
        if Path(command[0]).name == "java" and any(str(home) in part for part in command):
            pids.append(process.pid)
    return pids


def _remains(home: Path) -> list[object]:
    return [*_java(home), *(home / "jobs").glob("*/tmp")]


def _trains(job_id: int) -> bool:
    return len(results.curve(job_id, "best_valid")) > 0


@pytest.fixture
def job_id(home: Path) -> int:
    dataset = datasets.add_sample("breast_cancer")
    return jobs.submit(AutoMLSpec(dataset_id=dataset.id, budget_s=60, max_models=1_000, memory_bytes=2**30))


def _supervisor(directory: Path) -> psutil.Process:
    return psutil.Process(int((directory / "alive.lock").read_text()))


def _job(directory: Path) -> psutil.Process:
    children = _supervisor(directory).children()
    return next(child for child in children if "runner.child" in child.cmdline())


@pytest.mark.parametrize("victim", [_job, _supervisor])
def test_a_killed_job_or_supervisor_leaves_no_java_process(
    home: Path, job_id: int, victim: Callable[[Path], psutil.Process]
) -> None:
    runner = threading.Thread(target=loop.run_once, args=("drill",))
    runner.start()
    directory = home / "jobs" / f"{job_id}-1"
    try:
        _until(lambda: _trains(job_id))
        assert len(_java(home)) == 1
        victim(directory).kill()
        _until(lambda: not _remains(home), _CLEANUP_S)
        runner.join(_CLEANUP_S)
        assert not runner.is_alive()
    finally:
        launch.stop(directory)
        runner.join()
    assert _remains(home) == []
    job = jobs.get(job_id)
    assert (job.status, job.attempt) == ("queued", 2)


def test_a_killed_runner_and_the_next_one_that_adopts_its_job_leave_no_java_process(home: Path, job_id: int) -> None:
    command = [sys.executable, "-m", "runner"]
    directory = home / "jobs" / f"{job_id}-1"
    first = subprocess.Popen(command)
    try:
        _until(lambda: _trains(job_id))
        first.kill()
        first.wait()
        java = _java(home)
        assert len(java) == 1
        second = subprocess.Popen(command)
        try:
            before = len(results.curve(job_id, "best_valid"))
            _until(lambda: len(results.curve(job_id, "best_valid")) > before)
            assert _java(home) == java
            jobs.request_cancel(job_id)
            _until(lambda: jobs.get(job_id).status == "cancelled")
            _until(lambda: not _remains(home), _CLEANUP_S)
        finally:
            second.send_signal(signal.SIGTERM)
            assert second.wait(timeout=20) == 0
    finally:
        first.kill()
        first.wait()
        launch.stop(directory)
    assert jobs.get(job_id).attempt == 1
    assert _remains(home) == []


def test_a_job_that_ends_after_its_runner_was_killed_is_cleaned_up(home: Path, job_id: int) -> None:
    """The job's processes are killed too while no runner lives; the next runner finds only their files."""
    directory = home / "jobs" / f"{job_id}-1"
    first = subprocess.Popen([sys.executable, "-m", "runner"])
    try:
        _until(lambda: _trains(job_id))
        first.kill()
        first.wait()
        os.kill(_supervisor(directory).pid, signal.SIGKILL)
        _until(lambda: not _java(home), _CLEANUP_S)
    finally:
        first.kill()
        first.wait()
        launch.stop(directory)
    assert (directory / "tmp").exists()
    jobs.request_cancel(job_id)
    loop.serve(drain=True)
    assert jobs.get(job_id).status == "cancelled"
    assert _remains(home) == []
