from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from core import kinds, results
from core.events import to_json
from core.queue import jobs, log, runners
from core.specs import AutoMLSpec, NASSpec
from core.store import artifacts, housekeeping
from runner import launch, loop
from runner.shared.context import Engine
from tests import engines


def _until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for a condition; fails where it does not come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.05)


@contextmanager
def _serving(engine: Engine) -> Iterator[None]:
    """A runner's loop in a thread."""
    stop = threading.Event()
    engines.use(automl=engine, nas=engine)
    thread = threading.Thread(target=loop.serve, kwargs={"stopped": stop.is_set})
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _started(job_id: int) -> bool:
    return len(results.curve(job_id, "best_valid")) > 0


def test_a_job_runs_to_its_end_and_leaves_what_it_reported(spec: AutoMLSpec) -> None:
    job_id = jobs.submit(spec)
    assert engines.run_once(automl=engines.succeed) == job_id
    row = jobs.overview(job_id=job_id).iloc[0]
    assert (row.status, row.fraction, row.n_trials, row.error) == ("succeeded", 1.0, 1, None)
    assert '"scikit-learn"' in row.environment
    trial = results.trial(results.trials_of(job_id).trial_id[0])
    assert trial.params == {"depth": 3}
    assert artifacts.locate(trial.artifacts.sha256[0]).read_text() == f"model of job {job_id}"
    directory = jobs.get(job_id).directory
    assert not (directory / "tmp").exists()
    assert not launch.is_alive(directory)
    assert engines.run_once(automl=engines.succeed) is None


def test_bad_input_ends_in_its_sentence_and_the_next_job_runs(spec: AutoMLSpec) -> None:
    first, second = jobs.submit(spec), jobs.submit(spec)
    engines.run_once(automl=engines.refuse)
    engines.run_once(automl=engines.succeed)
    assert jobs.overview(job_id=first).error[0] == "column 'x' has the value 7; remove it"
    assert jobs.get(second).status == "succeeded"


def test_a_bug_keeps_the_trials_before_it_and_leaves_its_trace_in_the_log(spec: AutoMLSpec) -> None:
    job_id = jobs.submit(spec)
    engines.run_once(automl=engines.break_down)
    row = jobs.overview(job_id=job_id).iloc[0]
    assert (row.status, row.n_trials) == ("failed", 1)
    assert "ZeroDivisionError: a bug" in row.error
    assert "Traceback" in (jobs.get(job_id).directory / "log.txt").read_text()


def test_a_full_disk_ends_the_job_with_a_sentence_and_keeps_what_was_recorded(spec: AutoMLSpec) -> None:
    job_id = jobs.submit(spec)
    engines.run_once(automl=engines.fill_the_disk)
    row = jobs.overview(job_id=job_id).iloc[0]
    assert (row.status, row.n_trials) == ("failed", 1)
    assert "is full. Free some space" in row.error


def test_a_kind_that_this_version_does_not_know_fails_with_a_sentence(
    spec: AutoMLSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = jobs.submit(spec)
    monkeypatch.setattr(kinds, "KINDS", tuple(kind for kind in kinds.KINDS if kind.name != "automl"))
    loop.run_once("w")
    assert "There is no kind of job 'automl' in this version" in jobs.overview(job_id=job_id).error[0]


def test_a_killed_job_is_tried_again(spec: AutoMLSpec) -> None:
    job_id = jobs.submit(spec)
    engines.run_once(automl=engines.die_once)
    assert jobs.get(job_id).status == "queued"
    engines.run_once(automl=engines.die_once)
    job = jobs.get(job_id)
    assert (job.status, job.attempt) == ("succeeded", 2)
    assert list(results.trials_of(job_id).candidate) == ["attempt 2"]
    assert "SIGKILL" in " ".join(jobs.history(job_id).reason.dropna())


def test_a_killed_job_leaves_no_process_and_no_temporary_file(spec: AutoMLSpec) -> None:
    job_id = jobs.submit(spec)
    engines.run_once(automl=engines.leave_children)
    directory = jobs.get(job_id).directory.with_name(f"{job_id}-1")
    pid = int((directory / "child.pid").read_text())
    assert not psutil.pid_exists(pid)
    assert not (directory / "tmp").exists()


def test_cancel_stops_a_job_that_listens_and_keeps_its_curve(spec: AutoMLSpec) -> None:
    job_id = jobs.submit(spec)
    with _serving(engines.wait_for_cancel):
        _until(lambda: _started(job_id))
        jobs.request_cancel(job_id)
        _until(lambda: jobs.get(job_id).status == "cancelled")
    assert log.messages(job_id).text[0] == "winding down"


def test_cancel_ends_a_deaf_job_by_force(spec: AutoMLSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METASCOUT_CANCEL_GRACE_S", "0.5")
    job_id = jobs.submit(spec)
    with _serving(engines.ignore_cancel):
        _until(lambda: jobs.overview(job_id=job_id).stage[0] == "deaf")
        jobs.request_cancel(job_id)
        _until(lambda: jobs.get(job_id).status == "cancelled")
    assert "ended by force" in jobs.overview(job_id=job_id).error[0]


def test_a_silent_job_is_ended_at_its_limit_and_queued_again(spec: AutoMLSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METASCOUT_STALL_S", "0.5")
    job_id = jobs.submit(spec)
    engines.run_once(automl=engines.fall_silent)
    assert jobs.get(job_id).attempt == 2
    assert "no heartbeat for 0.5 s" in " ".join(jobs.history(job_id).reason.dropna())


def test_stopping_the_runner_ends_its_jobs_and_queues_them_again(spec: AutoMLSpec) -> None:
    job_id = jobs.submit(spec)
    with _serving(engines.wait_for_cancel):
        _until(lambda: _started(job_id))
        assert len(runners.alive()) == 1
    job = jobs.get(job_id)
    assert (job.status, job.attempt) == ("queued", 2)
    assert not launch.is_alive(job.directory.with_name(f"{job_id}-1"))
    assert runners.alive() == []


@pytest.mark.slow
def test_two_jobs_share_the_slots_and_a_third_waits(spec: AutoMLSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METASCOUT_CPU_SLOTS", "2")
    ids = [jobs.submit(spec.model_copy(update={"cpus": 1})) for _ in range(3)]
    with _serving(engines.wait_for_cancel):
        _until(lambda: _started(ids[0]) and _started(ids[1]))
        assert jobs.get(ids[2]).status == "queued"
        jobs.request_cancel(ids[0])
        _until(lambda: _started(ids[2]))


@pytest.mark.slow
def test_drain_runs_what_is_queued_and_returns(spec: AutoMLSpec) -> None:
    ids = [jobs.submit(spec) for _ in range(2)]
    engines.drain(automl=engines.succeed)
    assert [jobs.get(job_id).status for job_id in ids] == ["succeeded", "succeeded"]


_RUNNER = """
import runner.__main__
from tests import engines
engines.use(automl=engines.wait_for_cancel, nas=engines.search)
raise SystemExit(runner.__main__.main())
"""


def test_a_killed_runner_loses_nothing_and_the_next_one_adopts_its_job(home: Path, spec: AutoMLSpec) -> None:
    job_id = jobs.submit(spec)
    first = subprocess.Popen([sys.executable, "-c", _RUNNER])
    try:
        _until(lambda: _started(job_id))
    finally:
        first.kill()
        first.wait()
    directory = jobs.get(job_id).directory
    assert launch.is_alive(directory)
    second = subprocess.Popen([sys.executable, "-c", _RUNNER])
    try:
        seen = len(results.curve(job_id, "best_valid"))
        _until(lambda: len(results.curve(job_id, "best_valid")) > seen + 20)
        jobs.request_cancel(job_id)
        _until(lambda: jobs.get(job_id).status == "cancelled")
    finally:
        second.send_signal(signal.SIGTERM)
        assert second.wait(timeout=20) == 0
    job = jobs.get(job_id)
    assert job.attempt == 1
    steps = list(results.curve(job_id, "best_valid").step)
    assert steps == list(range(len(steps)))  # none missing, none twice
    assert not launch.is_alive(directory)


@pytest.mark.slow
def test_a_job_whose_supervisor_was_killed_too_is_queued_again(home: Path, spec: AutoMLSpec) -> None:
    job_id = jobs.submit(spec)
    with _serving(engines.wait_for_cancel):
        _until(lambda: _started(job_id))
        directory = jobs.get(job_id).directory
        supervisor = psutil.Process(int((directory / "alive.lock").read_text()))
        children = supervisor.children(recursive=True)
        os.kill(supervisor.pid, signal.SIGKILL)
        _until(lambda: jobs.get(job_id).attempt == 2)
        assert psutil.wait_procs(children, timeout=5)[1] == []
        assert not (directory / "tmp").exists()


@pytest.mark.slow
def test_a_second_runner_on_the_same_data_directory_says_who_serves_it(home: Path) -> None:
    first = subprocess.Popen([sys.executable, "-m", "runner"])
    try:
        _until(lambda: runners.alive())
        second = subprocess.run([sys.executable, "-m", "runner"], capture_output=True, text=True, timeout=30)
        assert second.returncode == 1
        assert f"A runner (process {first.pid}) already serves {home}" in second.stderr
    finally:
        first.send_signal(signal.SIGINT)
        assert first.wait(timeout=20) == 0


def test_a_runner_that_starts_removes_what_dead_attempts_left(home: Path) -> None:
    left = home / "jobs" / "7-1" / "tmp"
    left.mkdir(parents=True)
    (left / "library.so").write_text("unpacked")
    loop.serve(drain=True)
    assert not left.exists()


def test_a_torn_line_in_the_event_file_becomes_a_warning(spec: AutoMLSpec, tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(
        b'{"type":"Message","at":1.0,"text":"a","level":"info"}\n{"type":"Mess\n{"type":"Message","at":2'
    )
    events, times, offset = launch.read_events(tmp_path, 0)
    assert next(event.text for event in events if isinstance(event, engines.Message)) == "a"
    assert "unreadable event" in events[1].text  # type: ignore[union-attr]
    assert len(times) == 2
    assert launch.read_events(tmp_path, offset) == ([], [], offset)


def test_a_job_that_was_claimed_but_never_started_is_run_by_the_next_runner(spec: AutoMLSpec) -> None:
    job_id = jobs.submit(spec)
    assert jobs.claim("a runner that is killed now") is not None
    engines.drain(automl=engines.succeed)
    job = jobs.get(job_id)
    assert (job.status, job.attempt) == ("succeeded", 2)


def test_an_artifact_that_is_gone_is_a_warning_and_holds_nobody_up(spec: AutoMLSpec) -> None:
    first, second = jobs.submit(spec), jobs.submit(spec)
    engines.drain(automl=engines.report_a_missing_file)
    assert [jobs.get(job_id).status for job_id in (first, second)] == ["succeeded", "succeeded"]
    assert "reported the file gone.zip, which does not exist" in " ".join(log.messages(first).text)
    assert len(results.trials_of(first)) == 1


def test_files_of_a_job_that_ended_with_the_machine_are_kept_before_they_are_swept(spec: AutoMLSpec) -> None:
    job_id = jobs.submit(spec)
    job = jobs.claim("w")
    assert job is not None
    engines.use(automl=engines.succeed)
    launch.start(job)
    _until(lambda: not launch.is_alive(job.directory))  # it ended, and no runner has read a word of it
    engines.drain(automl=engines.succeed)
    assert jobs.get(job_id).status == "succeeded"
    kept = results.trial(results.trials_of(job_id).trial_id[0]).artifacts
    assert artifacts.locate(kept.sha256[0]).exists()


@pytest.mark.slow
def test_a_passing_trouble_with_the_start_queues_the_job_again(
    spec: AutoMLSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = jobs.submit(spec)
    start, full = launch.start, iter([OSError(28, "No space left on device")])

    def start_on_a_disk_that_is_full_once(*given: object) -> None:
        for error in full:
            raise error
        start(*given)

    monkeypatch.setattr(launch, "start", start_on_a_disk_that_is_full_once)
    engines.drain(automl=engines.succeed)
    assert jobs.get(job_id).status == "succeeded"
    assert "is full. Free some space" in " ".join(jobs.history(job_id).reason.dropna())


def test_a_job_that_asks_for_a_gpu_which_is_not_there_says_so(
    spec: AutoMLSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METASCOUT_GPU_SLOTS", "0")
    job_id = jobs.submit(spec.model_copy(update={"gpus": 1}))
    engines.drain(automl=engines.succeed)
    assert "asks for 1, but this machine has 0" in jobs.overview(job_id=job_id).error[0]


def test_a_runner_that_breaks_leaves_its_jobs_running(spec: AutoMLSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = jobs.submit(spec)
    beats = iter([{"cpu_frac": 0.5}])
    monkeypatch.setattr("core.machine.usage", lambda: next(beats))
    monkeypatch.setattr(loop, "HEARTBEAT_S", 0.5)
    engines.use(automl=engines.wait_for_cancel)
    with pytest.raises(StopIteration):
        loop.serve()
    job = jobs.get(job_id)
    assert job.status == "running"
    assert launch.is_alive(job.directory)
    launch.request_cancel(job.directory)
    _until(lambda: not launch.is_alive(job.directory))


def test_an_event_larger_than_a_batch_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_BATCH_BYTES", 64)
    long = engines.Message("x" * 1000)
    lines = [to_json(event, 1.0) + "\n" for event in (engines.Message("before"), long, engines.Message("after"))]
    (tmp_path / "events.jsonl").write_text("".join(lines))
    offset, found = 0, []
    while True:
        events, _, after = launch.read_events(tmp_path, offset)
        if after == offset:
            break
        offset, found = after, found + events
    assert [event.text[:6] for event in found] == ["before", "xxxxxx", "after"]  # type: ignore[union-attr]


def test_a_stop_that_comes_before_the_supervisor_listens_is_heard(spec: AutoMLSpec) -> None:
    jobs.submit(spec)
    job = jobs.claim("w")
    assert job is not None
    engines.use(automl=engines.wait_for_cancel)
    launch.start(job)
    launch.stop(job.directory)
    _until(lambda: not launch.is_alive(job.directory))
    assert launch.read_exit(job.directory).status == "stopped"


@pytest.fixture
def search(spec: AutoMLSpec) -> NASSpec:
    return NASSpec(dataset_id=spec.dataset_id, max_candidates=60)


def _steps(job_id: int) -> list[int]:
    return [int(step) for step in results.curve(job_id, "best_valid").step]


@pytest.mark.slow
def test_a_paused_job_keeps_its_checkpoint_and_goes_on_from_it(search: NASSpec) -> None:
    job_id = jobs.submit(search)
    with _serving(engines.search):
        _until(lambda: len(_steps(job_id)) > 3)
        jobs.request_pause(job_id)
        _until(lambda: jobs.get(job_id).status == "paused")
    paused = jobs.get(job_id)
    reached = int((paused.directory / "count.txt").read_text())
    assert 3 < reached < 60
    assert _steps(job_id) == list(range(1, reached + 1))
    housekeeping.sweep(now=time.time() + 10 * housekeeping.MAX_AGE_S)
    loop.serve(drain=True)  # another runner sweeps when it starts
    jobs.resume(job_id, more_candidates=4)
    assert _steps(job_id) == list(range(1, reached + 1))  # shown until the next attempt reports
    engines.drain(nas=engines.search)
    job = jobs.get(job_id)
    assert (job.status, job.attempt) == ("succeeded", 2)
    assert _steps(job_id) == list(range(reached + 1, 65))
    assert list(results.trials_of(job_id).candidate) == ["cnn(64)"]


@pytest.mark.slow
def test_a_runner_that_is_killed_while_its_job_pauses_loses_nothing(home: Path, search: NASSpec) -> None:
    job_id = jobs.submit(search.model_copy(update={"max_candidates": 5_000}))
    first = subprocess.Popen([sys.executable, "-c", _RUNNER])
    try:
        _until(lambda: _started(job_id))
    finally:
        first.kill()
        first.wait()
    directory = jobs.get(job_id).directory
    assert jobs.request_pause(job_id) == "running"
    launch.request_pause(directory)  # as the runner had, at its last breath
    _until(lambda: not launch.is_alive(directory))
    assert jobs.get(job_id).status == "running"
    second = subprocess.Popen([sys.executable, "-c", _RUNNER])
    try:
        _until(lambda: jobs.get(job_id).status == "paused")
        reached = int((directory / "count.txt").read_text())
        assert _steps(job_id) == list(range(1, reached + 1))  # none missing, none twice
        jobs.resume(job_id)
        _until(lambda: jobs.get(job_id).attempt == 2 and _steps(job_id)[:1] == [reached + 1])
        jobs.request_cancel(job_id)
        _until(lambda: jobs.get(job_id).status == "cancelled")
    finally:
        second.send_signal(signal.SIGTERM)
        assert second.wait(timeout=20) == 0


@pytest.mark.slow
def test_a_job_that_is_killed_while_it_should_pause_is_paused_and_goes_on(search: NASSpec) -> None:
    job_id = jobs.submit(search)
    with _serving(engines.ignore_pause):
        _until(lambda: _started(job_id))
        jobs.request_pause(job_id)
        supervisor = psutil.Process(int((jobs.get(job_id).directory / "alive.lock").read_text()))
        for process in supervisor.children():
            os.kill(process.pid, signal.SIGKILL)
        _until(lambda: jobs.get(job_id).status == "paused")
    jobs.resume(job_id)
    engines.drain(nas=engines.search)
    assert (jobs.get(job_id).status, jobs.get(job_id).attempt) == ("succeeded", 2)


@pytest.mark.slow
def test_a_pause_that_a_job_does_not_hear_is_a_warning_and_the_job_succeeds(
    search: NASSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "LATE_PAUSE_S", 0.5)
    job_id = jobs.submit(search)
    with _serving(engines.ignore_pause):
        _until(lambda: _started(job_id))
        jobs.request_pause(job_id)
        _until(lambda: jobs.get(job_id).status == "succeeded")
    told = [text for text in log.messages(job_id).text if "has not paused within 0.5 s" in text]
    assert len(told) == 1
    assert len(_steps(job_id)) == 200


def test_a_wish_for_an_attempt_that_never_started_does_not_break_the_runner(search: NASSpec) -> None:
    ids = [jobs.submit(search), jobs.submit(search)]
    for job_id, wish in zip(ids, (jobs.request_pause, jobs.request_cancel), strict=True):
        assert jobs.claim("a runner that is killed now") is not None
        wish(job_id)
    engines.drain(nas=engines.search)
    assert [jobs.get(job_id).status for job_id in ids] == ["paused", "cancelled"]


def test_a_job_that_continues_another_finds_what_that_left(search: NASSpec) -> None:
    old = jobs.submit(search)
    engines.drain(nas=engines.search)
    new = jobs.extend(old, more_candidates=5)
    engines.drain(nas=engines.search)
    assert jobs.get(new).status == "succeeded"
    assert _steps(new) == [61, 62, 63, 64, 65]
    assert len(_steps(old)) == 60
