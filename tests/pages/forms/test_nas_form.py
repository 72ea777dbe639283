"""The form of a network search."""

from __future__ import annotations

import pytest

from core import kinds, specs
from core.queue import jobs, runners
from pages.parts.forms import nas_form
from tests.pages.apptest import engine, fine, opened, shown
from tests.pages.filled import ODD, Filled

AUTOML, NAS, PORTFOLIO = (kinds.label(kind) for kind in ("automl", "nas", "portfolio"))


def test_the_search_form_submits_what_was_given(filled: Filled) -> None:
    at = fine(opened("new_job", dataset="digits_images"))
    at.number_input(key="budget_s_nas").set_value(300)
    at.number_input(key="max_candidates_nas").set_value(200)
    at.selectbox(key="strategy_nas").set_value("evolution")
    at.number_input(key="finalists_nas").set_value(2)
    at.number_input(key="epochs_nas").set_value(12)
    at.number_input(key="max_parameters_nas").set_value(50_000)
    at.number_input(key="max_latency_ms_nas").set_value(2.5)
    at.number_input(key="max_candidate_epochs_nas").set_value(900)
    at.selectbox(key=f"continues_nas_{filled.images}").set_value(filled.searched)
    at.selectbox(key=f"metric_nas_{filled.images}").set_value("accuracy")
    at.number_input(key="cpus_nas").set_value(1)
    at.number_input(key="seed_nas").set_value(42)
    at.number_input(key="priority_nas").set_value(-3)
    at.text_input(key="note_nas").set_value(ODD)
    at.button(key="submit").click().run()
    fine(at)
    row = jobs.overview(limit=1, dataset_id=filled.images, statuses=("queued",)).iloc[0]
    assert f"Job {row['id']} is queued" in at.success[0].value
    assert (row["kind"], row["priority"]) == ("nas", -3)
    assert jobs.get(int(row["id"])).spec == specs.NASSpec(
        dataset_id=filled.images, budget_s=300, max_candidates=200, strategy="evolution", finalists=2, epochs=12,
        max_parameters=50_000, max_latency_s=0.0025, max_candidate_epochs=900, continues=filled.searched,
        metric="accuracy", cpus=1, seed=42, note=ODD,
    )  # fmt: skip


def test_fields_left_empty_leave_it_to_the_search(filled: Filled) -> None:
    at = fine(opened("new_job", dataset="breast_cancer", engine="nas"))
    assert engine(at) == NAS
    at.button(key="submit").click().run()
    fine(at)
    spec = jobs.get(int(jobs.overview(limit=1, statuses=("queued",)).iloc[-1]["id"]) + 1).spec
    assert spec == specs.NASSpec(dataset_id=filled.binary, metric="auc")


def test_a_wish_that_cannot_be_is_told_and_not_queued(filled: Filled) -> None:
    before = sum(jobs.counts().values())
    at = fine(opened("new_job", dataset="digits_images"))
    at.number_input(key="max_candidates_nas").set_value(4)
    at.number_input(key="finalists_nas").set_value(9)
    at.button(key="submit").click().run()
    assert not at.exception
    assert "9 finalists are more than the 4 candidates" in shown(at.error[0].value)
    assert sum(jobs.counts().values()) == before


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("budget_s_nas", 5, "Time budget (seconds): Input should be greater than or equal to 10 (given: 5)"),
        ("max_latency_ms_nas", -1.0, "Maximum latency: Input should be greater than 0"),
        ("max_candidate_epochs_nas", 0, "Maximum candidate-epochs: Input should be greater than or equal to 1"),
        ("cpus_nas", 1_000, "CPU threads: Input should be less than or equal to 256 (given: 1000)"),
        ("seed_nas", -1, "Seed: Input should be greater than or equal to 0"),
        ("priority_nas", 500, "Priority: 500 is out of range"),
    ],
)
def test_a_number_out_of_range_is_told_with_its_name_and_not_queued(
    filled: Filled, key: str, value: float, said: str
) -> None:
    before = sum(jobs.counts().values())
    at = fine(opened("new_job", dataset="digits_images"))
    at.number_input(key=key).set_value(value)
    at.button(key="submit").click().run()
    assert not at.exception
    assert said in shown(at.error[0].value)
    assert sum(jobs.counts().values()) == before


def test_every_strategy_has_a_name_in_the_form(filled: Filled) -> None:
    assert set(nas_form.STRATEGIES) == set(specs.NAS_STRATEGIES)


@pytest.mark.parametrize(("slots", "offered"), [("0", ["CPU"]), ("1", ["CPU", "GPU"])])
def test_a_gpu_is_offered_where_there_is_one(
    filled: Filled, monkeypatch: pytest.MonkeyPatch, slots: str, offered: list[str]
) -> None:
    monkeypatch.setenv("METASCOUT_GPU_SLOTS", slots)
    at = fine(opened("new_job", dataset="digits_images"))
    assert at.selectbox(key="gpus_nas").options == offered
    assert at.selectbox(key="gpus_nas").value == 0


def test_the_runner_s_word_on_gpus_counts_more_than_this_machine_s(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METASCOUT_GPU_SLOTS", "1")
    runners.heartbeat("a runner", {"cpu_slots": 4, "gpu_slots": 0})
    at = fine(opened("new_job", dataset="digits_images"))
    assert at.selectbox(key="gpus_nas").options == ["CPU"]
    assert at.number_input(key="cpus_nas").help == "The job waits until this many are free. The runner has 4."


def test_a_cloned_search_keeps_its_gpu_on_a_machine_without_one(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METASCOUT_GPU_SLOTS", "0")
    spec = specs.NASSpec(dataset_id=filled.binary, gpus=1, strategy="local", epochs=7)
    job_id = jobs.submit(spec, priority=2)
    at = opened("job", job=str(job_id))
    at.button(key="clone").click().run()
    fine(at)
    assert (at.selectbox(key="dataset").value, engine(at)) == ("breast_cancer", NAS)
    mark = f"_nas_{job_id}"
    assert at.selectbox(key=f"gpus{mark}").value == 1
    assert at.selectbox(key=f"strategy{mark}").value == "local"
    assert at.number_input(key=f"epochs{mark}").value == 7
    assert at.number_input(key=f"max_parameters{mark}").value is None
    assert at.number_input(key=f"priority{mark}").value == 2
