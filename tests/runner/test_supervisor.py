"""The supervisor: when it ends a job, the outcome that it records, and that no process stays."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from core.queue import jobs
from core.specs import AutoMLSpec
from runner import launch, supervisor
from runner.supervisor import Exit
from tests import engines
from tests.waiting import until


@contextmanager
def _silent_process(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing, and the event file of a job."""
    (directory / "events.jsonl").touch()
    process = subprocess.Popen(["sleep", "60"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_stopped_runner_ends_the_job(tmp_path: Path) -> None:
    with _silent_process(tmp_path) as process:
        assert supervisor.watch(tmp_path, process, [signal.SIGTERM]) == Exit("stopped", "The runner was stopped.")


def test_a_job_that_ignores_a_cancel_is_ended_after_the_grace_period(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METASCOUT_CANCEL_GRACE_S", "0.2")
    (tmp_path / "cancel").touch()
    with _silent_process(tmp_path) as process:
        outcome = supervisor.watch(tmp_path, process, [])
    assert outcome == Exit("cancelled", "The job did not stop within 0.2 s and was ended by force.")


def test_a_job_without_events_is_ended_at_the_stall_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METASCOUT_STALL_S", "0.2")
    with _silent_process(tmp_path) as process:
        outcome = supervisor.watch(tmp_path, process, [])
    assert outcome == Exit("crashed", "The job sent no heartbeat for 0.2 s and was ended.")


def test_a_job_that_ends_by_itself_is_not_ended_by_the_supervisor(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").touch()
    assert supervisor.watch(tmp_path, subprocess.Popen(["true"]), []) is None


@pytest.mark.parametrize(
    ("code", "status", "text"),
    [
        (errno.ENOSPC, "failed", "is full. Free some space, then retry the job."),
        (-signal.SIGKILL, "crashed", "killed by an external SIGKILL. The system does this when it runs out of memory"),
        (-signal.SIGSEGV, "crashed", "killed by an external SIGSEGV."),
        (3, "crashed", "ended unexpectedly with exit code 3. See its log."),
    ],
)
def test_an_exit_code_without_a_result_has_a_meaning(tmp_path: Path, code: int, status: str, text: str) -> None:
    outcome = supervisor.read_result(tmp_path, code)
    assert outcome.status == status
    assert text in (outcome.error or "")


def test_a_cancelled_job_without_a_result_is_cancelled(tmp_path: Path) -> None:
    (tmp_path / "cancel").touch()
    assert supervisor.read_result(tmp_path, -signal.SIGKILL) == Exit("cancelled")


def test_a_result_counts_more_than_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"status": "failed", "error": "no rows"}')
    assert supervisor.read_result(tmp_path, 1) == Exit("failed", "no rows")


def test_a_killed_job_is_queued_again_and_leaves_no_process_and_no_temporary_file(spec: AutoMLSpec) -> None:
    job_id = jobs.submit(spec)
    engines.run_once(automl=engines.leave_children)
    job = jobs.get(job_id)
    assert (job.status, job.attempt) == ("queued", 2)
    assert "SIGKILL" in " ".join(jobs.history(job_id).reason.dropna())
    directory = job.directory.with_name(f"{job_id}-1")
    assert not psutil.pid_exists(int((directory / "child.pid").read_text()))
    assert not (directory / "tmp").exists()


def test_a_stop_before_the_supervisor_handles_signals_still_counts(spec: AutoMLSpec) -> None:
    job = engines.claimed(spec)
    engines.use(automl=engines.wait_for_cancel)
    launch.start(job)
    launch.stop(job.directory)
    until(lambda: not launch.is_alive(job.directory))
    assert launch.read_exit(job.directory).status == "stopped"


@pytest.mark.slow
def test_a_job_whose_supervisor_was_killed_too_is_queued_again(home: Path, spec: AutoMLSpec) -> None:
    job_id = jobs.submit(spec)
    with engines.serving(engines.wait_for_cancel):
        until(lambda: engines.has_reported(job_id))
        directory = jobs.get(job_id).directory
        process = psutil.Process(int((directory / "alive.lock").read_text()))
        children = process.children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
        until(lambda: jobs.get(job_id).attempt == 2)
        assert psutil.wait_procs(children, timeout=5)[1] == []
        assert not (directory / "tmp").exists()


@pytest.mark.slow
def test_a_cancel_ends_a_deaf_job_by_force(spec: AutoMLSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METASCOUT_CANCEL_GRACE_S", "0.5")
    job_id = jobs.submit(spec)
    with engines.serving(engines.ignore_cancel):
        until(lambda: jobs.overview(job_id=job_id).stage[0] == "deaf")
        jobs.request_cancel(job_id)
        until(lambda: jobs.get(job_id).status == "cancelled")
    assert "ended by force" in jobs.overview(job_id=job_id).error[0]


@pytest.mark.slow
def test_a_silent_job_is_ended_at_its_limit_and_queued_again(spec: AutoMLSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METASCOUT_STALL_S", "0.5")
    job_id = jobs.submit(spec)
    engines.run_once(automl=engines.fall_silent)
    assert jobs.get(job_id).attempt == 2
    assert "no heartbeat for 0.5 s" in " ".join(jobs.history(job_id).reason.dropna())
