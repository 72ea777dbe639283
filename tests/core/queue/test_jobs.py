"""The queue: submitting, claiming, heartbeats, attempts, cancelling, retrying."""

from __future__ import annotations

import time

import pytest

from core import specs
from core.errors import InputError
from core.queue import jobs
from core.specs import AutoMLSpec
from core.store import database


def test_jobs_are_claimed_by_priority_and_then_in_their_order(spec: AutoMLSpec) -> None:
    first, second = jobs.submit(spec), jobs.submit(spec)
    urgent = jobs.submit(spec, priority=5)
    claimed = [jobs.claim("w") for _ in range(4)]
    assert [job and job.id for job in claimed] == [urgent, first, second, None]


def test_a_claimed_job_has_its_spec_and_owner(spec: AutoMLSpec) -> None:
    submitted = spec.model_copy(update={"note": "a note", "cpus": 1})
    job_id = jobs.submit(submitted, priority=3, user="ada")
    job = jobs.claim("w")
    assert job is not None
    assert (job.id, job.spec, job.attempt) == (job_id, submitted, 1)
    assert (job.owner, job.note, job.priority) == ("ada", "a note", 3)
    assert job.status == "running"


def test_a_large_job_holds_back_the_small_ones_behind_it(spec: AutoMLSpec) -> None:
    large = jobs.submit(spec.model_copy(update={"cpus": 4}))
    jobs.submit(spec.model_copy(update={"cpus": 1}))
    assert jobs.claim("w", cpus=2) is None
    claimed = jobs.claim("w", cpus=4)
    assert claimed is not None
    assert claimed.id == large


def test_a_gpu_job_waits_for_a_gpu_and_lets_others_pass(spec: AutoMLSpec) -> None:
    jobs.submit(spec.model_copy(update={"gpus": 1}))
    other = jobs.submit(spec)
    claimed = jobs.claim("w", gpus=0)
    assert claimed is not None
    assert claimed.id == other


def test_a_job_ends_once(spec: AutoMLSpec) -> None:
    jobs.submit(spec)
    job = jobs.claim("w")
    assert job is not None
    assert jobs.finish(job, "succeeded")
    assert not jobs.finish(job, "failed", "too late")
    assert jobs.get(job.id).status == "succeeded"


def test_an_attempt_that_was_given_up_cannot_change_its_successor(spec: AutoMLSpec) -> None:
    jobs.submit(spec)
    old_attempt = jobs.claim("w1")
    assert old_attempt is not None
    assert jobs.requeue(old_attempt, "lost") == "queued"
    successor = jobs.claim("w2")
    assert successor is not None
    assert successor.attempt == 2
    assert not jobs.heartbeat(old_attempt)
    assert not jobs.finish(old_attempt, "succeeded")
    assert jobs.heartbeat(successor)
    assert jobs.get(successor.id).status == "running"


def test_a_stale_job_is_requeued_and_after_three_attempts_it_fails(spec: AutoMLSpec) -> None:
    job_id = jobs.submit(spec)
    for attempt in (1, 2, 3):
        job = jobs.claim("w")
        assert job is not None
        assert job.attempt == attempt
        assert jobs.requeue_stale(60, now=time.time()) == []
        assert jobs.requeue_stale(60, now=time.time() + 61) == [job_id]
    row = jobs.overview(job_id=job_id).iloc[0]
    assert row.status == "failed"
    assert "no heartbeat for 60 s (attempt 3 of 3)" in row.error
    assert jobs.claim("w") is None


def test_an_attempt_that_its_runner_ended_does_not_count(spec: AutoMLSpec) -> None:
    jobs.submit(spec)
    for _ in range(5):
        job = jobs.claim("w")
        assert job is not None
        assert jobs.requeue(job, "the runner was stopped", counts=False) == "queued"


def test_an_attempt_that_was_given_up_cannot_raise_the_maximum_of_attempts(spec: AutoMLSpec) -> None:
    jobs.submit(spec)
    old_attempt = jobs.claim("w")
    assert old_attempt is not None
    jobs.requeue(old_attempt, "lost")
    jobs.claim("w")
    for _ in range(3):
        jobs.requeue(old_attempt, "again", counts=False)
    with database.transaction() as connection:
        assert connection.execute("SELECT max_attempts FROM jobs").fetchall() == [(jobs.MAX_ATTEMPTS,)]


def test_an_outdated_spec_blocks_neither_the_queue_nor_its_cancel(
    spec: AutoMLSpec,
) -> None:
    old, older, new = (jobs.submit(spec) for _ in range(3))
    with database.transaction(write=True) as connection:
        connection.execute('UPDATE jobs SET spec=\'{"kind": "automl", "retired": 1}\' WHERE id < ?', [new])
    assert jobs.request_cancel(older) == "cancelled"
    claimed = [jobs.claim("w"), jobs.claim("w")]
    assert [job and job.id for job in claimed] == [old, new]
    with pytest.raises(InputError, match="retired"):
        jobs.retry(old)


def test_a_queued_job_is_cancelled_at_once_and_a_running_one_is_asked(spec: AutoMLSpec) -> None:
    queued, running = jobs.submit(spec), jobs.submit(spec, priority=1)
    job = jobs.claim("w")
    assert job is not None
    assert jobs.request_cancel(queued) == "cancelled"
    assert jobs.claim("w") is None
    assert jobs.request_cancel(running) == "running"
    assert jobs.cancel_requests() == {running}
    assert jobs.requeue(job, "died while stopping") == "cancelled"
    with pytest.raises(InputError, match=rf"Job {queued} has already ended \(cancelled\); there is nothing to cancel"):
        jobs.request_cancel(queued)


def test_a_retry_is_a_new_job_with_the_same_spec(spec: AutoMLSpec) -> None:
    old = jobs.submit(spec, priority=4)
    job = jobs.claim("w")
    assert job is not None
    jobs.finish(job, "failed", "no luck")
    new = jobs.retry(old, user="ada")
    assert new != old
    assert jobs.get(new).spec == spec
    assert jobs.get(new).priority == 4
    assert jobs.get(old).status == "failed"
    assert jobs.history(new).reason.iloc[0] == f"retry of job {old}"


def test_a_queued_jobs_priority_can_change_and_an_ended_ones_cannot(spec: AutoMLSpec) -> None:
    first, second = jobs.submit(spec), jobs.submit(spec)
    jobs.set_priority(second, 9)
    job = jobs.claim("w")
    assert job is not None
    assert job.id == second
    with pytest.raises(InputError, match=f"Job {second} is running"):
        jobs.set_priority(second, 1)
    with pytest.raises(InputError, match="priority: 101"):
        jobs.set_priority(first, 101)


def test_the_history_has_every_change_of_state(spec: AutoMLSpec) -> None:
    job_id = jobs.submit(spec)
    job = jobs.claim("w")
    assert job is not None
    jobs.requeue(job, "killed")
    again = jobs.claim("w")
    assert again is not None
    jobs.finish(again, "succeeded")
    moves = jobs.history(job_id)
    assert list(moves.status) == ["queued", "running", "queued", "running", "succeeded"]
    assert list(moves.attempt) == [1, 1, 2, 2, 2]


def test_the_overview_has_running_jobs_first_then_the_queue_then_ended_jobs(spec: AutoMLSpec) -> None:
    ids = [jobs.submit(spec) for _ in range(5)]
    ended, running = jobs.claim("w"), jobs.claim("w")
    assert ended is not None
    assert running is not None
    jobs.finish(ended, "failed", "x")
    jobs.set_priority(ids[4], 3)
    assert list(jobs.overview().id) == [ids[1], ids[4], ids[2], ids[3], ids[0]]
    assert list(jobs.overview(statuses=["queued"]).id) == [ids[4], ids[2], ids[3]]
    assert list(jobs.overview(dataset_id=99).id) == []
    assert specs.parse(jobs.overview(job_id=ids[0]).iloc[0].spec) == spec
