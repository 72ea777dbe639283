"""Pausing and resuming real processes: no checkpoint is lost, whichever process is killed."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest

from core import results
from core.queue import jobs, log
from core.specs import AutoMLSpec, NASSpec
from core.store import housekeeping
from runner import launch, loop
from tests import engines
from tests.waiting import until


@pytest.fixture
def search(spec: AutoMLSpec) -> NASSpec:
    return NASSpec(dataset_id=spec.dataset_id, max_candidates=60)


def _steps(job_id: int) -> list[int]:
    return [int(step) for step in results.curve(job_id, "best_valid").step]


def test_a_request_for_an_attempt_that_never_started_does_not_break_the_runner(search: NASSpec) -> None:
    ids = [jobs.submit(search), jobs.submit(search)]
    for job_id, request in zip(ids, (jobs.request_pause, jobs.request_cancel), strict=True):
        assert jobs.claim("a runner that is killed now") is not None
        request(job_id)
    engines.drain(nas=engines.search)
    assert [jobs.get(job_id).status for job_id in ids] == ["paused", "cancelled"]


@pytest.mark.slow
def test_a_paused_job_keeps_its_checkpoint_and_resumes_from_it(search: NASSpec) -> None:
    job_id = jobs.submit(search)
    with engines.serving(engines.search):
        until(lambda: len(_steps(job_id)) > 3)
        jobs.request_pause(job_id)
        until(lambda: jobs.get(job_id).status == "paused")
    paused = jobs.get(job_id)
    count = int((paused.directory / "count.txt").read_text())
    assert 3 < count < 60
    assert _steps(job_id) == list(range(1, count + 1))
    housekeeping.sweep(now=time.time() + 10 * housekeeping.MAX_AGE_S)
    loop.serve(drain=True)  # another runner sweeps when it starts
    jobs.resume(job_id, more_candidates=4)
    assert _steps(job_id) == list(range(1, count + 1))  # shown until the next attempt reports
    engines.drain(nas=engines.search)
    job = jobs.get(job_id)
    assert (job.status, job.attempt) == ("succeeded", 2)
    assert _steps(job_id) == list(range(count + 1, 65))
    assert list(results.trials_of(job_id).candidate) == ["cnn(64)"]


@pytest.mark.slow
def test_a_runner_that_is_killed_while_its_job_pauses_loses_nothing(search: NASSpec) -> None:
    job_id = jobs.submit(search.model_copy(update={"max_candidates": 5_000}))
    with engines.runner_process() as runner:
        until(lambda: engines.has_reported(job_id))
        runner.kill()
        runner.wait()
    directory = jobs.get(job_id).directory
    assert jobs.request_pause(job_id) == "running"
    launch.request_pause(directory)  # as the runner did before it was killed
    until(lambda: not launch.is_alive(directory))
    assert jobs.get(job_id).status == "running"
    with engines.runner_process():
        until(lambda: jobs.get(job_id).status == "paused")
        count = int((directory / "count.txt").read_text())
        assert _steps(job_id) == list(range(1, count + 1))  # none missing, none twice
        jobs.resume(job_id)
        until(lambda: jobs.get(job_id).attempt == 2 and _steps(job_id)[:1] == [count + 1])
        jobs.request_cancel(job_id)
        until(lambda: jobs.get(job_id).status == "cancelled")


@pytest.mark.slow
def test_a_job_that_is_killed_instead_of_pausing_is_paused_and_resumes(search: NASSpec) -> None:
    job_id = jobs.submit(search)
    with engines.serving(engines.ignore_pause):
        until(lambda: engines.has_reported(job_id))
        jobs.request_pause(job_id)
        process = psutil.Process(int((jobs.get(job_id).directory / "alive.lock").read_text()))
        for child in process.children():
            os.kill(child.pid, signal.SIGKILL)
        until(lambda: jobs.get(job_id).status == "paused")
    jobs.resume(job_id)
    engines.drain(nas=engines.search)
    assert (jobs.get(job_id).status, jobs.get(job_id).attempt) == ("succeeded", 2)


@pytest.mark.slow
def test_a_pause_that_a_job_ignores_is_a_warning_and_the_job_succeeds(
    search: NASSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "LATE_PAUSE_S", 0.5)
    job_id = jobs.submit(search)
    with engines.serving(engines.ignore_pause):
        until(lambda: engines.has_reported(job_id))
        jobs.request_pause(job_id)
        until(lambda: jobs.get(job_id).status == "succeeded")
    texts = [text for text in log.messages(job_id).text if "has not paused within 0.5 s" in text]
    assert len(texts) == 1
    assert len(_steps(job_id)) == 200


@pytest.mark.slow
def test_a_job_that_continues_another_finds_its_checkpoint(search: NASSpec) -> None:
    old = jobs.submit(search)
    engines.drain(nas=engines.search)
    new = jobs.extend(old, more_candidates=5)
    engines.drain(nas=engines.search)
    assert jobs.get(new).status == "succeeded"
    assert _steps(new) == [61, 62, 63, 64, 65]
    assert len(_steps(old)) == 60
