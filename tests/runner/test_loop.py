"""The runner's loop: jobs are claimed, followed, recorded, stopped and adopted."""

from __future__ import annotations

import pytest

from core import kinds, results
from core.queue import jobs, log, runners
from core.specs import AutoMLSpec
from core.store import artifacts
from runner import launch, loop
from tests import engines
from tests.waiting import until


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


def test_a_kind_that_this_version_does_not_have_fails_with_a_sentence(
    spec: AutoMLSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = jobs.submit(spec)
    monkeypatch.setattr(kinds, "KINDS", tuple(kind for kind in kinds.KINDS if kind.name != "automl"))
    loop.run_once("w")
    assert "There is no kind of job 'automl' in this version" in jobs.overview(job_id=job_id).error[0]


def test_a_job_that_needs_a_missing_gpu_fails_with_a_sentence(
    spec: AutoMLSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METASCOUT_GPU_SLOTS", "0")
    job_id = jobs.submit(spec.model_copy(update={"gpus": 1}))
    engines.drain(automl=engines.succeed)
    assert "asks for 1, but this machine has 0" in jobs.overview(job_id=job_id).error[0]


def test_a_job_that_ended_without_a_runner_is_recorded_before_its_files_are_swept(spec: AutoMLSpec) -> None:
    job = engines.claimed(spec)
    engines.run_here(job, automl=engines.succeed)
    loop.serve(drain=True)
    assert jobs.get(job.id).status == "succeeded"
    files = results.trial(results.trials_of(job.id).trial_id[0]).artifacts
    assert artifacts.locate(files.sha256[0]).exists()
    assert not (job.directory / "tmp").exists()


def test_each_end_of_a_job_is_recorded_with_its_sentence(spec: AutoMLSpec) -> None:
    refused, broken, full = (engines.claimed(spec) for _ in range(3))
    engines.run_here(refused, automl=engines.refuse)
    engines.run_here(broken, automl=engines.break_down)
    engines.run_here(full, automl=engines.fill_the_disk)
    loop.serve(drain=True)
    rows = jobs.overview().set_index("id")
    assert list(rows.status) == ["failed"] * 3
    assert rows.error[refused.id] == "column 'x' has the value 7; remove it"
    assert "ZeroDivisionError: a bug" in rows.error[broken.id]
    assert "is full. Free some space" in rows.error[full.id]
    assert (rows.n_trials[broken.id], rows.n_trials[full.id]) == (1, 1)


def test_a_missing_artifact_is_a_warning_and_the_job_succeeds(spec: AutoMLSpec) -> None:
    job = engines.claimed(spec)
    engines.run_here(job, automl=engines.report_a_missing_file)
    loop.serve(drain=True)
    assert jobs.get(job.id).status == "succeeded"
    assert "The job reported the file gone.zip, which does not exist" in " ".join(log.messages(job.id).text)
    assert len(results.trials_of(job.id)) == 1


def test_a_cancel_stops_a_job_that_listens_and_keeps_its_curve(spec: AutoMLSpec) -> None:
    job_id = jobs.submit(spec)
    with engines.serving(engines.wait_for_cancel):
        until(lambda: engines.has_reported(job_id))
        jobs.request_cancel(job_id)
        until(lambda: jobs.get(job_id).status == "cancelled")
    assert log.messages(job_id).text[0] == "winding down"


def test_a_stopped_runner_ends_its_jobs_and_queues_them_again(spec: AutoMLSpec) -> None:
    job_id = jobs.submit(spec)
    with engines.serving(engines.wait_for_cancel):
        until(lambda: engines.has_reported(job_id))
        assert len(runners.alive()) == 1
    job = jobs.get(job_id)
    assert (job.status, job.attempt) == ("queued", 2)
    assert not launch.is_alive(job.directory.with_name(f"{job_id}-1"))
    assert runners.alive() == []


def test_a_runner_that_crashes_leaves_its_jobs_running_and_the_next_one_adopts_them(
    spec: AutoMLSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = jobs.submit(spec)
    with monkeypatch.context() as patch:
        loads = iter([{"cpu_frac": 0.5}])
        patch.setattr("core.machine.usage", lambda: next(loads))
        patch.setattr(loop, "HEARTBEAT_S", 0.5)
        patch.setattr("core.advice.fits.is_due", bool)
        engines.use(automl=engines.wait_for_cancel)
        with pytest.raises(StopIteration):
            loop.serve()
    job = jobs.get(job_id)
    assert job.status == "running"
    assert launch.is_alive(job.directory)
    with engines.serving(engines.wait_for_cancel):
        until(lambda: len(results.curve(job_id, "best_valid")) > 20)
        jobs.request_cancel(job_id)
        until(lambda: jobs.get(job_id).status == "cancelled")
    assert jobs.get(job_id).attempt == 1
    steps = list(results.curve(job_id, "best_valid").step)
    assert steps == list(range(len(steps)))  # none missing, none twice


@pytest.mark.slow
def test_bad_input_ends_in_its_sentence_and_the_next_job_runs(spec: AutoMLSpec) -> None:
    first, second = jobs.submit(spec), jobs.submit(spec)
    engines.run_once(automl=engines.refuse)
    engines.run_once(automl=engines.succeed)
    assert jobs.overview(job_id=first).error[0] == "column 'x' has the value 7; remove it"
    assert jobs.get(second).status == "succeeded"


@pytest.mark.slow
def test_a_bug_keeps_earlier_trials_and_leaves_its_traceback_in_the_log(spec: AutoMLSpec) -> None:
    job_id = jobs.submit(spec)
    engines.run_once(automl=engines.break_down)
    row = jobs.overview(job_id=job_id).iloc[0]
    assert (row.status, row.n_trials) == ("failed", 1)
    assert "ZeroDivisionError: a bug" in row.error
    assert "Traceback" in (jobs.get(job_id).directory / "log.txt").read_text()


@pytest.mark.slow
def test_a_full_disk_ends_the_job_with_a_sentence_and_keeps_what_was_recorded(spec: AutoMLSpec) -> None:
    job_id = jobs.submit(spec)
    engines.run_once(automl=engines.fill_the_disk)
    row = jobs.overview(job_id=job_id).iloc[0]
    assert (row.status, row.n_trials) == ("failed", 1)
    assert "is full. Free some space" in row.error


@pytest.mark.slow
def test_a_killed_job_is_tried_again(spec: AutoMLSpec) -> None:
    job_id = jobs.submit(spec)
    engines.run_once(automl=engines.die_once)
    assert jobs.get(job_id).status == "queued"
    engines.run_once(automl=engines.die_once)
    job = jobs.get(job_id)
    assert (job.status, job.attempt) == ("succeeded", 2)
    assert list(results.trials_of(job_id).candidate) == ["attempt 2"]
    assert "SIGKILL" in " ".join(jobs.history(job_id).reason.dropna())


@pytest.mark.slow
def test_two_jobs_share_the_slots_and_a_third_waits(spec: AutoMLSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METASCOUT_CPU_SLOTS", "2")
    ids = [jobs.submit(spec.model_copy(update={"cpus": 1})) for _ in range(3)]
    with engines.serving(engines.wait_for_cancel):
        until(lambda: engines.has_reported(ids[0]) and engines.has_reported(ids[1]))
        assert jobs.get(ids[2]).status == "queued"
        jobs.request_cancel(ids[0])
        until(lambda: engines.has_reported(ids[2]))


@pytest.mark.slow
def test_drain_runs_all_queued_jobs_and_returns(spec: AutoMLSpec) -> None:
    ids = [jobs.submit(spec) for _ in range(2)]
    engines.drain(automl=engines.succeed)
    assert [jobs.get(job_id).status for job_id in ids] == ["succeeded", "succeeded"]


@pytest.mark.slow
def test_a_job_that_was_claimed_but_never_started_is_run_by_the_next_runner(spec: AutoMLSpec) -> None:
    job_id = engines.claimed(spec).id
    engines.drain(automl=engines.succeed)
    job = jobs.get(job_id)
    assert (job.status, job.attempt) == ("succeeded", 2)


@pytest.mark.slow
def test_a_missing_artifact_does_not_delay_other_jobs(spec: AutoMLSpec) -> None:
    first, second = jobs.submit(spec), jobs.submit(spec)
    engines.drain(automl=engines.report_a_missing_file)
    assert [jobs.get(job_id).status for job_id in (first, second)] == ["succeeded", "succeeded"]
    assert len(results.trials_of(first)) == 1


@pytest.mark.slow
def test_a_temporary_failure_of_the_start_queues_the_job_again(
    spec: AutoMLSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = jobs.submit(spec)
    start, full = launch.start, iter([OSError(28, "No space left on device")])

    def start_on_a_disk_that_is_full_once(*values: object) -> None:
        for error in full:
            raise error
        start(*values)

    monkeypatch.setattr(launch, "start", start_on_a_disk_that_is_full_once)
    engines.drain(automl=engines.succeed)
    assert jobs.get(job_id).status == "succeeded"
    assert "is full" in " ".join(jobs.history(job_id).reason.dropna())
