"""Pausing, resuming and continuing a job in the queue."""

from __future__ import annotations

import time

import pytest

from core import results
from core.errors import InputError
from core.events import Metric
from core.queue import jobs
from core.specs import AutoMLSpec, NASSpec
from tests import engines


def test_a_running_search_pauses_and_resumes_as_its_next_attempt(search: NASSpec) -> None:
    job = engines.claimed(search)
    assert jobs.request_pause(job.id) == "running"
    assert jobs.pause_requests() == {job.id}
    assert jobs.finish(job, "paused")
    assert jobs.pause_requests() == set()
    assert jobs.claim("w") is None
    assert jobs.requeue_stale(60, now=time.time() + 9_999) == []
    jobs.resume(job.id)
    again = jobs.claim("w")
    assert again is not None
    assert (again.id, again.attempt, again.spec) == (job.id, 2, search)
    assert not jobs.finish(job, "paused")
    assert list(jobs.history(job.id).status) == ["queued", "running", "paused", "queued", "running"]
    assert jobs.history(job.id).reason.iloc[3] == "resumed"


def test_pauses_do_not_count_towards_the_last_attempt(search: NASSpec) -> None:
    jobs.submit(search)
    for attempt in range(1, 7):
        job = jobs.claim("w")
        assert job is not None
        assert job.attempt == attempt
        jobs.finish(job, "paused")
        jobs.resume(job.id)
    job = jobs.claim("w")
    assert job is not None
    assert jobs.requeue(job, "killed") == "queued"


def test_a_resumed_search_may_have_a_larger_budget(search: NASSpec) -> None:
    job = engines.claimed(search.model_copy(update={"max_candidate_epochs": 100}))
    jobs.finish(job, "paused")
    jobs.resume(job.id, more_s=30, more_candidates=8, more_candidate_epochs=50)
    spec = jobs.get(job.id).spec
    assert isinstance(spec, NASSpec)
    assert (spec.budget_s, spec.max_candidates, spec.max_candidate_epochs) == (90, 24, 150)
    assert "budget_s +30, max_candidates +8" in jobs.history(job.id).reason.iloc[-1]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"more_s": 90_000}, "budget_s: .* less than or equal to 86400 .given: 90060"),
        ({"more_s": -5}, "budget_s: -5 cannot be added"),
        ({"more_candidate_epochs": 5}, "max_candidate_epochs: The job has no such limit"),
    ],
)
def test_an_impossible_budget_is_refused_and_the_job_stays_paused(
    search: NASSpec, more: dict[str, int], text: str
) -> None:
    job = engines.claimed(search)
    jobs.finish(job, "paused")
    with pytest.raises(InputError, match=text):
        jobs.resume(job.id, **more)
    assert (jobs.get(job.id).status, jobs.get(job.id).spec) == ("paused", search)


def test_a_queued_search_is_paused_at_once_and_keeps_its_first_attempt(search: NASSpec) -> None:
    job_id = jobs.submit(search)
    assert jobs.request_pause(job_id) == "paused"
    assert jobs.claim("w") is None
    jobs.resume(job_id)
    job = jobs.claim("w")
    assert job is not None
    assert job.attempt == 1


def test_only_a_queued_or_running_job_with_checkpoints_can_pause(spec: AutoMLSpec, search: NASSpec) -> None:
    with pytest.raises(InputError, match="of kind 'automl', which cannot pause"):
        jobs.request_pause(jobs.submit(spec, priority=-5))
    job = engines.claimed(search)
    with pytest.raises(InputError, match=f"Job {job.id} is running; only a paused job can be resumed"):
        jobs.resume(job.id)
    jobs.finish(job, "succeeded")
    with pytest.raises(InputError, match=f"Job {job.id} is succeeded; only a queued or running job can be paused"):
        jobs.request_pause(job.id)


def test_a_paused_job_can_be_cancelled_and_so_can_one_that_is_about_to_pause(search: NASSpec) -> None:
    paused = engines.claimed(search)
    jobs.finish(paused, "paused")
    assert jobs.request_cancel(paused.id) == "cancelled"
    pausing = engines.claimed(search)
    jobs.request_pause(pausing.id)
    jobs.request_cancel(pausing.id)
    assert jobs.finish(pausing, "paused")
    assert jobs.get(pausing.id).status == "cancelled"
    assert jobs.history(pausing.id).status.iloc[-1] == "cancelled"


def test_a_search_that_is_killed_while_it_pauses_is_paused_and_one_that_ends_has_succeeded(search: NASSpec) -> None:
    dies, ends = engines.claimed(search), engines.claimed(search)
    jobs.request_pause(dies.id)
    jobs.request_pause(ends.id)
    assert jobs.requeue(dies, "killed") == "paused"
    jobs.resume(dies.id)
    assert jobs.get(dies.id).attempt == 2
    jobs.finish(ends, "succeeded")
    assert jobs.get(ends.id).status == "succeeded"


def test_more_time_for_an_ended_search_is_a_new_job_that_continues_it(search: NASSpec) -> None:
    old = engines.claimed(search)
    results.record(old, [Metric("valid_error", 0.5, 1, "a")])
    jobs.finish(old, "cancelled")
    new = jobs.extend(old.id, more_s=30, user="ada")
    assert jobs.get(new).spec == search.model_copy(update={"budget_s": 30, "continues": old.id})
    assert jobs.overview(job_id=new).continues[0] == old.id
    assert jobs.continuations(old.id) == [new]
    assert jobs.continuations(new) == []
    assert jobs.get(old.id).status == "cancelled"
    assert jobs.history(new).reason[0] == f"continues job {old.id}"


def test_the_overview_has_paused_jobs_between_the_queue_and_ended_jobs(search: NASSpec) -> None:
    ended, paused = engines.claimed(search), engines.claimed(search)
    queued = jobs.submit(search)
    jobs.finish(ended, "succeeded")
    jobs.finish(paused, "paused")
    assert list(jobs.overview().id) == [queued, paused.id, ended.id]
    assert list(jobs.overview(statuses=["paused"]).id) == [paused.id]
    assert jobs.counts() == {"queued": 1, "paused": 1, "succeeded": 1}
