from __future__ import annotations

import time
from pathlib import Path

import pytest

from core import datasets, results, specs
from core.errors import InputError
from core.events import Metric
from core.queue import jobs, runners
from core.specs import AutoMLSpec, NASSpec
from core.store import database


def test_jobs_are_claimed_by_priority_and_then_in_their_order(spec: AutoMLSpec) -> None:
    first, second = jobs.submit(spec), jobs.submit(spec)
    urgent = jobs.submit(spec, priority=5)
    claimed = [jobs.claim("w") for _ in range(4)]
    assert [job and job.id for job in claimed] == [urgent, first, second, None]


def test_a_claimed_job_carries_what_was_asked(spec: AutoMLSpec) -> None:
    asked = spec.model_copy(update={"note": "a note", "cpus": 1})
    job_id = jobs.submit(asked, priority=3, user="ada")
    job = jobs.claim("w")
    assert job is not None
    assert (job.id, job.spec, job.owner, job.note, job.priority, job.attempt) == (job_id, asked, "ada", "a note", 3, 1)
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


def test_a_zombie_attempt_cannot_speak_for_its_successor(spec: AutoMLSpec) -> None:
    jobs.submit(spec)
    zombie = jobs.claim("w1")
    assert zombie is not None
    assert jobs.requeue(zombie, "lost") == "queued"
    successor = jobs.claim("w2")
    assert successor is not None
    assert successor.attempt == 2
    assert not jobs.heartbeat(zombie)
    assert not jobs.finish(zombie, "succeeded")
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


def test_a_zombie_cannot_raise_its_successors_number_of_attempts(spec: AutoMLSpec) -> None:
    jobs.submit(spec)
    zombie = jobs.claim("w")
    assert zombie is not None
    jobs.requeue(zombie, "lost")
    jobs.claim("w")
    for _ in range(3):
        jobs.requeue(zombie, "again", counts=False)
    with database.transaction() as connection:
        assert connection.execute("SELECT max_attempts FROM jobs").fetchall() == [(jobs.MAX_ATTEMPTS,)]


def test_a_stored_spec_that_this_version_does_not_know_neither_blocks_the_queue_nor_its_cancel(
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


def test_bad_requests_are_refused_with_their_value(spec: AutoMLSpec) -> None:
    with pytest.raises(InputError, match="99"):
        jobs.submit(spec.model_copy(update={"dataset_id": 99}))
    with pytest.raises(InputError, match=r"metric: 'rmse' is not defined for a binary target\. Use one of auc"):
        jobs.submit(spec.model_copy(update={"metric": "rmse"}))
    with pytest.raises(InputError, match="priority: 1000"):
        jobs.submit(spec, priority=1000)
    with pytest.raises(InputError, match="no job 12345"):
        jobs.get(12345)
    assert jobs.counts() == {}


def test_the_history_tells_every_move(spec: AutoMLSpec) -> None:
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


def test_the_overview_has_running_first_then_the_queue_then_the_ended(spec: AutoMLSpec) -> None:
    ids = [jobs.submit(spec) for _ in range(5)]
    done, running = jobs.claim("w"), jobs.claim("w")
    assert done is not None
    assert running is not None
    jobs.finish(done, "failed", "x")
    jobs.set_priority(ids[4], 3)
    assert list(jobs.overview().id) == [ids[1], ids[4], ids[2], ids[3], ids[0]]
    assert list(jobs.overview(statuses=["queued"]).id) == [ids[4], ids[2], ids[3]]
    assert list(jobs.overview(dataset_id=99).id) == []
    assert specs.parse(jobs.overview(job_id=ids[0]).iloc[0].spec) == spec


def test_automl_on_a_table_of_texts_alone_is_refused_here_and_not_only_on_the_page(home: Path, tmp_path: Path) -> None:
    rows = [f"a sentence about subject {n} and number {n * 7 % 101},{'yes' if n % 3 else 'no'}" for n in range(90)]
    path = tmp_path / "texts.csv"
    path.write_text("words,label\n" + "\n".join(rows) + "\n")
    texts = datasets.register(path, name="texts", target="label")
    assert texts.modality == "text"
    with pytest.raises(InputError, match="H2O AutoML needs tables, but 'texts' holds texts"):
        jobs.submit(AutoMLSpec(dataset_id=texts.id))
    assert jobs.counts() == {}


@pytest.fixture
def search(dataset: datasets.Dataset) -> NASSpec:
    return NASSpec(dataset_id=dataset.id, budget_s=60, max_candidates=16)


def _running(spec: specs.Spec) -> jobs.Job:
    jobs.submit(spec)
    job = jobs.claim("w")
    assert job is not None
    return job


def test_a_running_search_is_asked_to_pause_and_goes_on_as_its_next_attempt(search: NASSpec) -> None:
    job = _running(search)
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
    job = _running(search.model_copy(update={"max_candidate_epochs": 100}))
    jobs.finish(job, "paused")
    jobs.resume(job.id, more_s=30, more_candidates=8, more_candidate_epochs=50)
    spec = jobs.get(job.id).spec
    assert isinstance(spec, NASSpec)
    assert (spec.budget_s, spec.max_candidates, spec.max_candidate_epochs) == (90, 24, 150)
    assert "budget_s +30, max_candidates +8" in jobs.history(job.id).reason.iloc[-1]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"more_s": 90_000}, "budget_s: .* less than or equal to 86400 .given: 90060"),
        ({"more_s": -5}, "budget_s: -5 more is not possible"),
        ({"more_candidate_epochs": 5}, "max_candidate_epochs: The job has no such limit"),
    ],
)
def test_a_budget_that_cannot_be_is_refused_and_the_job_stays_paused(
    search: NASSpec, more: dict[str, int], said: str
) -> None:
    job = _running(search)
    jobs.finish(job, "paused")
    with pytest.raises(InputError, match=said):
        jobs.resume(job.id, **more)
    assert (jobs.get(job.id).status, jobs.get(job.id).spec) == ("paused", search)


def test_a_queued_search_is_paused_at_once_and_its_first_attempt_is_still_to_come(search: NASSpec) -> None:
    job_id = jobs.submit(search)
    assert jobs.request_pause(job_id) == "paused"
    assert jobs.claim("w") is None
    jobs.resume(job_id)
    job = jobs.claim("w")
    assert job is not None
    assert job.attempt == 1


def test_only_what_keeps_a_checkpoint_and_moves_can_pause(spec: AutoMLSpec, search: NASSpec) -> None:
    with pytest.raises(InputError, match="of kind 'automl', which cannot pause"):
        jobs.request_pause(jobs.submit(spec, priority=-5))
    job = _running(search)
    with pytest.raises(InputError, match=f"Job {job.id} is running; only a paused job can be resumed"):
        jobs.resume(job.id)
    jobs.finish(job, "succeeded")
    with pytest.raises(InputError, match=f"Job {job.id} is succeeded; only a queued or running job can be paused"):
        jobs.request_pause(job.id)


def test_a_paused_job_can_be_cancelled_and_so_can_one_that_is_about_to_pause(search: NASSpec) -> None:
    paused = _running(search)
    jobs.finish(paused, "paused")
    assert jobs.request_cancel(paused.id) == "cancelled"
    pausing = _running(search)
    jobs.request_pause(pausing.id)
    jobs.request_cancel(pausing.id)
    assert jobs.finish(pausing, "paused")
    assert jobs.get(pausing.id).status == "cancelled"
    assert jobs.history(pausing.id).status.iloc[-1] == "cancelled"


def test_a_search_that_dies_while_it_pauses_is_paused_and_one_that_ends_has_succeeded(search: NASSpec) -> None:
    dies, ends = _running(search), _running(search)
    jobs.request_pause(dies.id)
    jobs.request_pause(ends.id)
    assert jobs.requeue(dies, "killed") == "paused"
    jobs.resume(dies.id)
    assert jobs.get(dies.id).attempt == 2
    jobs.finish(ends, "succeeded")
    assert jobs.get(ends.id).status == "succeeded"


def test_more_time_for_an_ended_search_is_a_new_job_that_continues_it(search: NASSpec) -> None:
    old = _running(search)
    results.record(old, [Metric("valid_error", 0.5, 1, "a")])
    jobs.finish(old, "cancelled")
    new = jobs.extend(old.id, more_s=30, user="ada")
    assert jobs.get(new).spec == search.model_copy(update={"budget_s": 30, "continues": old.id})
    assert jobs.overview(job_id=new).continues[0] == old.id
    assert jobs.continuations(old.id) == [new]
    assert jobs.continuations(new) == []
    assert jobs.get(old.id).status == "cancelled"
    assert jobs.history(new).reason[0] == f"continues job {old.id}"


def test_what_cannot_be_continued_is_refused_with_the_reason(spec: AutoMLSpec, search: NASSpec) -> None:
    job = _running(search)
    with pytest.raises(InputError, match=rf"Job {job.id} is running\. Wait until it has ended"):
        jobs.extend(job.id)
    jobs.finish(job, "paused")
    with pytest.raises(InputError, match=rf"Job {job.id} is paused\. Resume it"):
        jobs.extend(job.id)
    jobs.request_cancel(job.id)
    with pytest.raises(InputError, match=f"Job {job.id} has no trained candidate to continue"):
        jobs.extend(job.id)
    with pytest.raises(InputError, match="of kind 'automl', which cannot be continued"):
        jobs.extend(jobs.submit(spec))
    other = datasets.add_sample("diabetes")
    with pytest.raises(InputError, match=f"Job {job.id} searched another dataset"):
        jobs.submit(NASSpec(dataset_id=other.id, continues=job.id))
    with pytest.raises(InputError, match="no job 99"):
        jobs.submit(search.model_copy(update={"continues": 99}))


def test_the_overview_has_the_paused_between_the_queue_and_the_ended(search: NASSpec) -> None:
    ended, paused = _running(search), _running(search)
    queued = jobs.submit(search)
    jobs.finish(ended, "succeeded")
    jobs.finish(paused, "paused")
    assert list(jobs.overview().id) == [queued, paused.id, ended.id]
    assert list(jobs.overview(statuses=["paused"]).id) == [paused.id]
    assert jobs.counts() == {"queued": 1, "paused": 1, "succeeded": 1}


def _alive(cpus: int, gpus: int) -> None:
    runners.beat("a runner", {"cpu_slots": cpus, "gpu_slots": gpus})


def test_what_the_runner_could_never_give_is_refused_at_submission(dataset: datasets.Dataset) -> None:
    on_gpu = NASSpec(dataset_id=dataset.id, gpus=1)
    wide = NASSpec(dataset_id=dataset.id, cpus=5)
    for spec in (on_gpu, wide):
        assert jobs.submit(spec), "nobody knows the machine yet"
    _alive(4, 0)
    with pytest.raises(InputError, match=r"gpus: The job asks for 1, but the runner's machine has none\. Ask for 0"):
        jobs.submit(on_gpu)
    with pytest.raises(
        InputError, match=r"cpus: The job asks for 5, but the runner's machine has 4\. Ask for 4 or fewer"
    ):
        jobs.submit(wide)
    assert jobs.submit(NASSpec(dataset_id=dataset.id, cpus=4))
    _alive(8, 1)
    for spec in (on_gpu, wide):
        assert jobs.submit(spec)


def test_the_default_number_of_threads_is_taken_on_a_machine_of_one(dataset: datasets.Dataset) -> None:
    _alive(1, 0)
    assert jobs.submit(NASSpec(dataset_id=dataset.id))
    with pytest.raises(InputError, match=r"has 1\. Ask for 2 or fewer"):
        jobs.submit(NASSpec(dataset_id=dataset.id, cpus=3))
