"""The process of a job, run here: the events, results and exit codes that it leaves."""

from __future__ import annotations

import errno
import json
from typing import Any

from core.events import Environment, Event, Message, TrialDone
from core.queue.jobs import Job
from core.specs import AutoMLSpec, NASSpec
from runner import child, launch
from tests import engines


def _events(job: Job) -> list[Event]:
    return launch.read_events(job.directory, 0)[0]


def _result(job: Job) -> dict[str, Any]:
    return json.loads((job.directory / "result.json").read_text())


def test_a_job_reports_its_environment_first_and_succeeds(spec: AutoMLSpec) -> None:
    job = engines.claimed(spec)
    assert engines.work_here(job, automl=engines.succeed) == 0
    events = _events(job)
    assert isinstance(events[0], Environment)
    assert "scikit-learn" in events[0].facts["packages"]
    assert isinstance(events[-1], TrialDone)
    assert _result(job) == {"status": "succeeded", "error": None}


def test_bad_input_fails_with_its_sentence(spec: AutoMLSpec) -> None:
    job = engines.claimed(spec)
    assert engines.work_here(job, automl=engines.refuse) == 0
    assert _result(job) == {"status": "failed", "error": "column 'x' has the value 7; remove it"}


def test_a_bug_keeps_earlier_trials_and_adds_its_traceback_to_the_log(spec: AutoMLSpec) -> None:
    job = engines.claimed(spec)
    assert engines.work_here(job, automl=engines.break_down) == 0
    [trial, message] = _events(job)[1:]
    assert isinstance(trial, TrialDone)
    assert isinstance(message, Message)
    assert message.level == "error"
    assert "Traceback" in message.text
    assert _result(job)["error"] == "An unexpected error: ZeroDivisionError: a bug. The log has the details."


def test_a_full_disk_is_the_exit_code_because_no_result_can_be_written(spec: AutoMLSpec) -> None:
    job = engines.claimed(spec)
    assert engines.work_here(job, automl=engines.fill_the_disk) == errno.ENOSPC
    assert isinstance(_events(job)[-1], TrialDone)
    assert not (job.directory / "result.json").exists()


def test_a_cancelled_job_is_not_a_succeeded_one(spec: AutoMLSpec) -> None:
    job = engines.claimed(spec)
    launch.prepare(job)
    launch.request_cancel(job.directory)
    engines.use(automl=engines.wait_for_cancel)
    assert child.work(launch.prepare(job)) == 0
    assert _result(job) == {"status": "cancelled", "error": None}


def test_a_job_that_notices_its_pause_is_paused_and_one_that_does_not_has_succeeded(spec: AutoMLSpec) -> None:
    search = NASSpec(dataset_id=spec.dataset_id, max_candidates=4, finalists=1)
    status = {}
    for engine in (engines.search, engines.succeed):
        job = engines.claimed(search)
        engines.use(nas=engine)
        launch.request_pause(launch.prepare(job))
        assert child.work(job.directory) == 0
        status[engine] = _result(job)["status"]
    assert list(status.values()) == ["paused", "succeeded"]
