"""The spare process: its job is the same as one without it, and no process stays, whichever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from core.datasets import Dataset
from core.queue import jobs, log
from core.results import initialisations
from core.specs import FineTuneSpec
from runner import launch, loop, spare
from runner.shared.context import Engine
from runner.spare import Spare
from tests import engines
from tests.runner.fewshot.pattern_jobs import patterns
from tests.waiting import until

__all__ = ["patterns"]  # a fixture
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@contextmanager
def _ready() -> Iterator[Spare]:
    """A spare process that waits for its order."""
    one = Spare()
    spare.maintain(one, launch.environment(0))
    try:
        until(lambda: _waits(one), 60)
        yield one
    finally:
        spare.stop(one)


def _job_process(one: Spare) -> psutil.Process | None:
    assert one.process is not None
    children = psutil.Process(one.process.pid).children()
    return children[0] if children else None


def _waits(one: Spare) -> bool:
    """Return whether its job process has loaded the engine and waits: it uses no processor time."""
    process = _job_process(one)
    if process is None or not any("libtorch" in part.path for part in process.memory_maps()):
        return False
    before = process.cpu_times()
    time.sleep(0.5)
    return process.cpu_times() == before


def _spec(dataset: Dataset, **more: object) -> FineTuneSpec:
    return FineTuneSpec(dataset_id=dataset.id, classes=dataset.labels[-3:], **more)


def _run(spec: FineTuneSpec, one: Spare | None, engine: Engine | None = None) -> int:
    """Run one job to its end and return its id."""
    job_id = jobs.submit(spec)
    runs: dict[int, jobs.Job] = {}
    if engine is not None:
        engines.use(finetune=engine)
    loop._claim_all("w", runs, one or Spare())
    while runs:
        loop._follow_all(runs)
        time.sleep(0.05)
    return job_id


def test_a_job_in_the_spare_process_gives_the_same_result_as_in_a_new_one(patterns: Dataset) -> None:
    with _ready() as ready:
        dataset_id = initialisations.get(1).dataset_id
        spec = FineTuneSpec(dataset_id=dataset_id, classes=("pattern00", "pattern01", "pattern02"), initialisation=2)
        waiting = _job_process(ready)
        warm, cold = _run(spec, ready), _run(spec, None)
        bodies = [initialisations.adaptation(job_id) for job_id in (warm, cold)]
        assert ready.process is None
        assert waiting is not None
        assert not waiting.is_running()
        for body in bodies:
            assert body is not None
            body.pop("adapt_s")
        assert bodies[0] == bodies[1]
        assert [jobs.get(job_id).status for job_id in (warm, cold)] == ["succeeded"] * 2
        for job_id in (warm, cold):
            assert not launch.is_alive(jobs.get(job_id).directory)
            assert not (jobs.get(job_id).directory / "tmp").exists()


def test_it_uses_the_run_directory_the_log_and_the_environment_of_its_job(patterns: Dataset) -> None:
    with _ready() as ready:
        outputs = []
        for one in (ready, None):
            job_id = _run(_spec(patterns), one, engines.look_around)
            directory = jobs.get(job_id).directory
            outputs.append((directory / "log.txt").read_text().replace(str(directory), "HERE"))
            assert jobs.get(job_id).status == "succeeded"
        assert "cwd HERE" in outputs[0]
        assert outputs[0] == outputs[1]


def test_a_job_starts_without_a_killed_spare_process(patterns: Dataset) -> None:
    with _ready() as ready:
        assert ready.process is not None
        os.kill(ready.process.pid, signal.SIGKILL)
        assert jobs.get(_run(_spec(patterns), ready, engines.look_around)).status == "succeeded"
        assert ready.process is None


def test_a_job_starts_without_a_spare_process_whose_job_process_was_killed(patterns: Dataset) -> None:
    with _ready() as ready:
        process = _job_process(ready)
        assert process is not None
        process.kill()
        assert jobs.get(_run(_spec(patterns), ready, engines.look_around)).status == "succeeded"


def test_a_job_with_another_number_of_threads_does_not_use_the_spare_process(patterns: Dataset) -> None:
    with _ready() as ready:
        pid = ready.process.pid if ready.process else None
        assert jobs.get(_run(_spec(patterns, cpus=7), ready, engines.look_around)).status == "succeeded"
        assert ready.process is not None
        assert ready.process.pid == pid


def test_a_stop_ends_the_job_in_the_spare_process_with_all_its_processes(patterns: Dataset) -> None:
    with _ready() as ready:
        job_id = jobs.submit(_spec(patterns))
        runs: dict[int, jobs.Job] = {}
        engines.use(finetune=engines.start_a_child)
        loop._claim_all("w", runs, ready)
        directory = jobs.get(job_id).directory
        until(lambda: (directory / "child.pid").exists())
        launch.stop(directory)
        until(lambda: not launch.is_alive(directory))
        assert not psutil.pid_exists(int((directory / "child.pid").read_text()))
        assert launch.read_exit(directory).status == "stopped"


def test_a_job_in_the_spare_process_can_be_cancelled(patterns: Dataset) -> None:
    with _ready() as ready:
        job_id = jobs.submit(_spec(patterns))
        runs: dict[int, jobs.Job] = {}
        engines.use(finetune=engines.wait_for_cancel)
        loop._claim_all("w", runs, ready)
        jobs.request_cancel(job_id)
        while runs:
            loop._follow_all(runs)
        assert jobs.get(job_id).status == "cancelled"
        assert "winding down" in set(log.messages(job_id).text)


def test_without_an_initialisation_there_is_no_spare_process(home: Path) -> None:
    one = Spare()
    spare.maintain(one, launch.environment(0))
    assert one.process is None


def test_each_job_has_a_new_process_and_a_killed_runner_ends_its_spare_process(
    patterns: Dataset, home: Path
) -> None:  # fmt: skip
    runner = subprocess.Popen(
        [sys.executable, "-m", "runner"], cwd=ROOT, env=os.environ | {"METASCOUT_HOME": str(home)}
    )
    try:
        pids = []
        for _ in range(2):
            until(lambda: set(_pids(runner.pid)) - set(pids), 60)
            pids.extend(set(_pids(runner.pid)) - set(pids))
            job_id = jobs.submit(_spec(patterns))
            until(lambda job_id=job_id: jobs.get(job_id).status == "succeeded", 60)
            assert (jobs.get(job_id).directory / "alive.lock").read_text() == str(pids[-1])
        assert len(pids) == 2
        until(lambda: set(_pids(runner.pid)) - set(pids), 60)
        waits = _spares(runner.pid)[0]
        until(waits.children)
        processes = [waits, *waits.children()]
    finally:
        runner.kill()
        runner.wait()
    until(lambda: not any(process.is_running() for process in processes), 10)


def _pids(pid: int) -> list[int]:
    return [one.pid for one in _spares(pid)]


def _spares(pid: int) -> list[psutil.Process]:
    """Return the supervisors of spare processes among the children of a runner."""
    children = [one for one in psutil.Process(pid).children() if one.status() != psutil.STATUS_ZOMBIE]
    return [one for one in children if "--spare" in one.cmdline()]
