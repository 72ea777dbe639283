"""The page of a job: its sections, its buttons, and what they say."""

from __future__ import annotations

import pytest
import streamlit as st

from core import datasets, results, specs
from core.events import Message, Metric
from core.queue import jobs
from tests.pages.apptest import figure, fine, opened, shown
from tests.pages.filled import ODD, Filled


def test_the_sections_of_a_job_draw_what_it_left(filled: Filled) -> None:
    for tab in ("Trials", "Progress", "Log", "Spec", "Environment", "History"):
        at = fine(opened("job", job=str(filled.succeeded), tab=tab))
        drawn = at.dataframe or at.code or at.get("plotly_chart")
        assert drawn, tab


def test_a_queued_job_can_be_cancelled_from_its_page(filled: Filled) -> None:
    at = opened("job", job=str(filled.queued))
    at.button(key="cancel").click().run()
    fine(at)
    assert jobs.get(filled.queued).status == "cancelled"
    assert "is cancelled" in at.toast[0].value
    assert at.button(key="retry")


def test_a_running_job_is_asked_to_stop_and_says_so(filled: Filled) -> None:
    at = opened("job", job=str(filled.running))
    at.button(key="cancel").click().run()
    fine(at)
    assert jobs.cancel_requests() == {filled.running}
    assert at.button(key="cancel").disabled


def test_retry_queues_the_spec_again_and_opens_the_new_job(filled: Filled) -> None:
    at = opened("job", job=str(filled.failed))
    assert "ran out of memory (4 GB)" in shown(at.error[0].value)
    at.button(key="retry").click().run()
    fine(at)
    assert at.title[0].value == f"Job {filled.queued + 1}"
    assert jobs.get(filled.queued + 1).spec == jobs.get(filled.failed).spec


def test_the_priority_of_a_queued_job_can_be_changed(filled: Filled) -> None:
    at = opened("job", job=str(filled.queued))
    at.number_input(key=f"priority_of_{filled.queued}").set_value(9).run()
    fine(at)
    assert jobs.get(filled.queued).priority == 9


def test_an_action_that_came_too_late_is_told_as_a_sentence(filled: Filled) -> None:
    at = opened("job", job=str(filled.queued))
    jobs.request_cancel(filled.queued)
    at.button(key="cancel").click().run()
    assert not at.exception
    assert "nothing to cancel" in shown(at.error[0].value)


def test_who_is_signed_in_owns_the_job(filled: Filled) -> None:
    at = opened("job", job=str(filled.failed))
    at.user = {"is_logged_in": True, "email": "ada@example.com"}
    at.button(key="retry").click().run()
    fine(at)
    assert jobs.overview(job_id=filled.queued + 1)["owner"][0] == "ada@example.com"


@pytest.fixture
def running(dataset: datasets.Dataset) -> jobs.Job:
    """A search that has just begun."""
    jobs.submit(specs.NASSpec(dataset_id=dataset.id))
    job = jobs.claim("a runner")
    assert job is not None
    return job


def test_a_curve_of_one_point_has_a_scale_that_tells_its_value(running: jobs.Job) -> None:
    results.record(running, [Metric("best_valid", 0.9, 8)])
    body = figure(fine(opened("job", job=str(running.id), tab="Progress")), "curve")
    assert body["data"][0]["text"] == ["0.9000"]
    assert body["layout"]["xaxis"]["range"] == pytest.approx([0, 8.8])
    assert body["layout"]["yaxis"]["range"] == pytest.approx([0.81, 0.99])


def test_warnings_stand_at_the_top_of_a_job_once_it_has_ended(running: jobs.Job) -> None:
    told = [Message(f"{ODD} number {n}", "warning") for n in (1, 2, 3, 4, 5, 5)]
    results.record(running, [Message("not worth a warning"), *told])
    [dead] = fine(opened("job", job=str(running.id))).warning
    assert "No runner is running" in dead.value
    jobs.finish(running, "succeeded")
    [banner] = fine(opened("job", job=str(running.id))).warning
    lines = shown(banner.value).splitlines()
    assert [line.rpartition("number ")[2] for line in lines[:3]] == ["5", "4", "3"]
    assert lines[0].startswith(f"- {ODD}")
    assert lines[3:] == ["- 2 more in the log"]


def test_a_running_search_is_asked_to_pause_and_says_so(running: jobs.Job) -> None:
    at = fine(opened("job", job=str(running.id)))
    at.button(key="pause").click().run()
    fine(at)
    assert jobs.pause_requests() == {running.id}
    assert at.button(key="pause").disabled
    assert "will pause" in at.toast[0].value
    jobs.finish(running, "paused")
    st.cache_data.clear()
    at.run()
    fine(at)
    assert [button.key for button in at.button] == ["resume", "cancel", "clone"]


def test_a_paused_search_is_resumed(filled: Filled) -> None:
    at = fine(opened("job", job=str(filled.paused)))
    at.button(key="resume").click().run()
    fine(at)
    assert jobs.get(filled.paused).status == "queued"
    assert len(results.candidates(filled.paused)) == 48
    assert at.button(key="pause")


def test_a_paused_search_is_resumed_with_a_larger_budget(filled: Filled) -> None:
    at = fine(opened("job", job=str(filled.paused), more="1"))
    at.number_input(key=f"more_s_{filled.paused}").set_value(100_000)
    at.button(key="go_on").click().run()
    assert not at.exception
    assert "less than or equal to 86400 (given: 100120)" in shown(at.error[0].value)
    assert jobs.get(filled.paused).status == "paused"
    at.number_input(key=f"more_s_{filled.paused}").set_value(60)
    at.button(key="go_on").click().run()
    fine(at)
    spec = jobs.get(filled.paused).spec
    assert isinstance(spec, specs.NASSpec)
    assert (jobs.get(filled.paused).status, spec.budget_s, spec.max_candidates) == ("queued", 180, 64)


def test_more_time_for_an_ended_search_makes_a_job_and_both_link_to_each_other(filled: Filled) -> None:
    at = fine(opened("job", job=str(filled.searched), more="1"))
    at.number_input(key=f"more_candidates_{filled.searched}").set_value(32)
    at.button(key="go_on").click().run()
    fine(at)
    new = filled.queued + 1
    assert at.title[0].value == f"Job {new}"
    spec = jobs.get(new).spec
    assert isinstance(spec, specs.NASSpec)
    assert (spec.continues, spec.max_candidates, spec.budget_s) == (filled.searched, 32, 120)
    assert f"Continues job {filled.searched}" in [link.proto.label for link in at.page_link]
    back = fine(opened("job", job=str(filled.searched)))
    assert f"Continued by job {new}" in [link.proto.label for link in back.page_link]


def test_the_spec_of_a_search_is_told_in_words(filled: Filled) -> None:
    at = fine(opened("job", job=str(filled.searched), tab="Spec"))
    rows = dict(at.dataframe[0].value.itertuples(index=False))
    assert rows["Time budget"] == "2 min 0 s"
    assert rows["Finalist epochs"] == "As the budget allows"
    assert rows["Maximum parameters"] == "No limit"
    assert "Memory" not in rows
