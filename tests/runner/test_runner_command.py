"""The command `python -m runner`: one runner a data directory, its settings, and what a kill -9 costs."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core import results
from core.queue import jobs, runners
from core.specs import AutoMLSpec
from runner import launch
from runner.__main__ import main
from tests import engines
from tests.waiting import until


@pytest.mark.parametrize(("name", "value"), [("METASCOUT_CPU_SLOTS", "0"), ("METASCOUT_STALL_S", "soon")])
def test_a_setting_that_is_not_a_number_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert main(["--drain"]) == 1
    assert capsys.readouterr().err.startswith(f"{name} is {value!r}")


@pytest.mark.slow
def test_a_second_runner_on_the_same_data_directory_names_the_first(home: Path) -> None:
    first = subprocess.Popen([sys.executable, "-m", "runner"])
    try:
        until(lambda: runners.alive())
        second = subprocess.run([sys.executable, "-m", "runner"], capture_output=True, text=True, timeout=30)
        assert second.returncode == 1
        assert f"A runner (process {first.pid}) already serves {home}" in second.stderr
    finally:
        first.send_signal(signal.SIGINT)
        assert first.wait(timeout=20) == 0


@pytest.mark.slow
def test_a_killed_runner_loses_nothing_and_the_next_one_adopts_its_job(home: Path, spec: AutoMLSpec) -> None:
    job_id = jobs.submit(spec)
    with engines.runner_process() as first:
        until(lambda: engines.has_reported(job_id))
        first.kill()
        first.wait()
    directory = jobs.get(job_id).directory
    assert launch.is_alive(directory)
    with engines.runner_process():
        before = len(results.curve(job_id, "best_valid"))
        until(lambda: len(results.curve(job_id, "best_valid")) > before + 20)
        jobs.request_cancel(job_id)
        until(lambda: jobs.get(job_id).status == "cancelled")
    assert jobs.get(job_id).attempt == 1
    steps = list(results.curve(job_id, "best_valid").step)
    assert steps == list(range(len(steps)))  # none missing, none twice
    assert not launch.is_alive(directory)
