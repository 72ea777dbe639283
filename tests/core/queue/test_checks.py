"""Jobs that are refused when they are submitted, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import datasets
from core.errors import InputError
from core.queue import checks, jobs, runners
from core.specs import AutoMLSpec, NASSpec
from tests import engines


def test_invalid_requests_are_refused_with_their_value(spec: AutoMLSpec) -> None:
    with pytest.raises(InputError, match="99"):
        jobs.submit(spec.model_copy(update={"dataset_id": 99}))
    with pytest.raises(InputError, match=r"metric: 'rmse' is not defined for a binary target\. Use one of auc"):
        jobs.submit(spec.model_copy(update={"metric": "rmse"}))
    with pytest.raises(InputError, match="priority: 1000"):
        jobs.submit(spec, priority=1000)
    with pytest.raises(InputError, match="no job 12345"):
        jobs.get(12345)
    assert jobs.counts() == {}


def test_automl_on_a_table_of_texts_is_refused_at_submission(home: Path, tmp_path: Path) -> None:
    rows = [f"a sentence about subject {n} and number {n * 7 % 101},{'yes' if n % 3 else 'no'}" for n in range(90)]
    path = tmp_path / "texts.csv"
    path.write_text("words,label\n" + "\n".join(rows) + "\n")
    texts = datasets.register(path, name="texts", target="label")
    assert texts.modality == "text"
    with pytest.raises(InputError, match="H2O AutoML needs tables, but 'texts' holds texts"):
        jobs.submit(AutoMLSpec(dataset_id=texts.id))
    assert jobs.counts() == {}


def test_a_job_that_cannot_be_continued_is_refused_with_the_reason(spec: AutoMLSpec, search: NASSpec) -> None:
    job = engines.claimed(search)
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
    with pytest.raises(InputError, match=f"Job {job.id} searched another dataset"):
        checks.check_continued(jobs.get(job.id), search.dataset_id + 1)
    with pytest.raises(InputError, match="no job 99"):
        jobs.submit(search.model_copy(update={"continues": 99}))


def _alive(cpus: int, gpus: int) -> None:
    runners.heartbeat("a runner", {"cpu_slots": cpus, "gpu_slots": gpus})


def test_a_job_that_needs_more_than_the_machine_has_is_refused(dataset: datasets.Dataset) -> None:
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


def test_the_default_number_of_threads_is_accepted_on_a_machine_with_one_core(dataset: datasets.Dataset) -> None:
    _alive(1, 0)
    assert jobs.submit(NASSpec(dataset_id=dataset.id))
    with pytest.raises(InputError, match=r"has 1\. Ask for 2 or fewer"):
        jobs.submit(NASSpec(dataset_id=dataset.id, cpus=3))
