"""The list of jobs: its filters, and the actions of its rows."""

from __future__ import annotations

from core.queue import jobs
from core.store import database
from pages import actions
from tests.pages.apptest import fine, opened, table
from tests.pages.filled import Filled


def test_the_jobs_page_keeps_its_filters_in_the_link(filled: Filled) -> None:
    assert table(fine(opened("job_list")))["id"].iloc[0] == filled.running
    at = fine(opened("job_list", state="Failed"))
    assert list(table(at)["id"]) == [filled.failed]
    at = fine(opened("job_list", jobs_dataset="diabetes"))
    assert set(table(at)["dataset"]) == {"diabetes"}
    at = opened("job_list", jobs_dataset=str(filled.regression), state="Failed")
    assert "No job matches" in at.info[0].value


def test_a_job_of_automl_offers_no_pause(filled: Filled) -> None:
    assert "pause" not in [button.key for button in opened("job", job=str(filled.running)).button]
    frame = fine(opened("job_list", jobs_dataset="breast_cancer")).dataframe[0].value
    assert not [text for offered in frame["actions"] for text in offered if "Pause" in text or "More time" in text]


def test_the_jobs_page_offers_what_fits_the_state(filled: Filled) -> None:
    at = fine(opened("job_list", state="Paused"))
    [offered] = at.dataframe[0].value["actions"]
    assert [text.partition(": ")[2].partition(" job")[0] for text in offered] == [
        "Resume", "More time for", "Cancel", "Clone and edit"
    ]  # fmt: skip
    assert {metric.label: metric.value for metric in opened("home").metric}["Paused jobs"] == "1"


def test_a_job_of_a_kind_that_only_a_newer_version_knows_is_listed_and_opens(filled: Filled) -> None:
    with database.transaction(write=True) as connection:
        body = '{"kind": "future", "budget_s": 60, "note": ""}'
        connection.execute("UPDATE jobs SET kind = 'future', spec = ? WHERE id = ?", [body, filled.queued])
    row = table(fine(opened("job_list"))).set_index("id").loc[filled.queued]
    assert row["kind"] == "future"
    assert [actions.of_row_label(label)[0] for label in row["actions"]] == ["Raise", "Lower", "Cancel"]
    for tab in ("Trials", "Progress", "Log", "Spec", "History"):
        at = fine(opened("job", job=str(filled.queued), tab=tab))
        assert [button.key for button in at.button] == ["cancel"]
    at.button(key="cancel").click().run()
    fine(at)
    assert jobs.get(filled.queued).status == "cancelled"
    assert fine(opened("home")).title
