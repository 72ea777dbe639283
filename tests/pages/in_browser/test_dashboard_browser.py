"""The main job as a person does it: in Chromium, with a real runner and real H2O."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from core import advice, datasets, kinds, knowledge
from core.advice import fits
from core.queue import jobs
from tests.pages import browser
from tests.pages.filled import Filled

pytestmark = [pytest.mark.slow, pytest.mark.browser]
_MINUTE_MS = 60_000


@pytest.fixture(scope="module")
def still_site(
    filled_home: tuple[Path, Filled], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Filled]]:
    """The address of a dashboard without a runner, on a store with something on every page."""
    home = shutil.copytree(filled_home[0], tmp_path_factory.mktemp("still") / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METASCOUT_HOME", str(home))
        with browser.dashboard() as (_, address):
            yield address, filled_home[1]


def _type(page: Page, label: str, value: str) -> None:
    field = page.get_by_label(label, exact=True)
    field.fill(value)
    field.press("Tab")


def _expect_state(page: Page, state: str) -> None:
    expect(page.get_by_role("main").get_by_text(state).first).to_be_visible(timeout=3 * _MINUTE_MS)


def test_from_a_file_to_a_leaderboard_and_back_by_its_link(page: Page, site: str, data: Path, tmp_path: Path) -> None:
    page.goto(f"{site}/add_dataset")
    page.locator("input[type=file]").set_input_files(data / "tabular" / "telco_churn.csv")
    expect(page.get_by_role("heading", name="Target", exact=True)).to_be_visible()
    target = page.get_by_role("combobox", name="Target")
    target.click()
    page.keyboard.type("churn")
    page.get_by_role("option", name="churn").click()
    expect(page.get_by_role("combobox", name="Task")).to_have_value("Automatic: binary classification")
    page.get_by_role("button", name="Register").click()
    expect(page.get_by_role("heading", name="telco_churn")).to_be_visible()

    page.goto(f"{site}/new_job?dataset=telco_churn")
    _type(page, "Time budget (seconds)", "15")
    _type(page, "Maximum models", "2")
    _type(page, "Cross-validation folds", "0")
    page.get_by_role("button", name="Submit job").click()
    page.get_by_role("link", name="Open job 1").click()
    _expect_state(page, "Succeeded")

    page.goto(f"{site}/leaderboard?dataset=telco_churn&metric=Accuracy")
    rows = _export(page, tmp_path)
    assert {"HistGradientBoosting", "Linear"} < {row["algorithm"] for row in rows}
    assert all(row["metric"] == "accuracy" and 0.7 < float(row["test"]) < 0.9 for row in rows)

    page.locator("label").get_by_text("Baselines").click()
    page.wait_for_url("**yardsticks=false**")
    link = page.url
    page.goto("about:blank")
    page.goto(link)
    again = _export(page, tmp_path)
    assert [row["trial_id"] for row in again] == [row["trial_id"] for row in rows if row["yardstick"] == "False"]
    assert all(row["metric"] == "accuracy" for row in again)


def _export(page: Page, folder: Path) -> list[dict[str, str]]:
    with page.expect_download() as download:
        page.get_by_role("button", name="Export as CSV").click()
    path = folder / "export.csv"
    download.value.save_as(path)
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_running_job_is_cancelled_from_its_page_and_cloned(page: Page, site: str) -> None:
    page.goto(f"{site}/add_dataset")
    page.get_by_text("A built-in sample").click()
    page.get_by_role("button", name="Add sample").click()
    expect(page.get_by_role("heading", name="breast_cancer")).to_be_visible()
    page.goto(f"{site}/new_job?dataset=breast_cancer")
    _type(page, "Time budget (seconds)", "600")
    _type(page, "Note", "*cancel* me :smile:")
    page.get_by_role("button", name="Submit job").click()
    page.get_by_role("link", name="Open job 1").click()
    expect(page.get_by_text("*cancel* me :smile:")).to_be_visible()
    _expect_state(page, "Running")
    expect(page.get_by_text("Ranked by")).to_be_visible(timeout=2 * _MINUTE_MS)  # a trial has come in live
    page.get_by_role("button", name="Cancel").click()
    _expect_state(page, "Cancelled")
    assert len(jobs.overview(job_id=1)) == 1
    page.get_by_role("button", name="Clone and edit").click()
    expect(page.get_by_label("Time budget (seconds)", exact=True)).to_have_value("600")
    expect(page.get_by_label("Note", exact=True)).to_have_value("*cancel* me :smile:")


def test_a_file_that_is_no_table_is_refused_in_a_sentence_with_its_name(page: Page, site: str, tmp_path: Path) -> None:
    path = tmp_path / "holiday photo.csv"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00binary" * 50)
    page.goto(f"{site}/add_dataset")
    page.locator("input[type=file]").set_input_files(path)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("holiday photo.csv")
    expect(alert).not_to_contain_text("Traceback")


def test_the_dashboard_says_that_no_runner_lives_and_how_to_start_one(page: Page, home: Path) -> None:
    with browser.dashboard() as (_, address):
        page.goto(address)
        expect(page.get_by_text("python -m runner").first).to_be_visible()
        with browser.runner():
            expect(page.get_by_text("python -m runner").first).not_to_be_visible(timeout=_MINUTE_MS)


def test_advice_comes_before_any_run_becomes_a_plan_and_is_judged_by_its_outcome(page: Page, site: str) -> None:
    dataset = datasets.add_sample("breast_cancer")
    page.goto(f"{site}/dataset?dataset={dataset.name}")
    page.get_by_role("main").get_by_role("link", name="Advice").click()
    expect(page.get_by_role("heading", name="Advice", exact=True)).to_be_visible()
    again, plan = page.get_by_role("button", name="Reload"), page.get_by_role("button", name="Run the plan")
    expect(again.or_(plan).first).to_be_visible()
    while not fits.last_fit("classification"):  # the runner fits the first selector
        page.wait_for_timeout(500)
    page.reload()
    expect(page.get_by_text(re.compile(r"Tested on \d+ past datasets"))).to_be_visible()
    expect(page.get_by_text("none of them yours yet")).to_be_visible()
    expect(page.get_by_role("heading", name="Outcome")).to_have_count(0)

    plan.click()
    shown = advice.last_advice(dataset.id)
    assert shown is not None
    engines = [spec.kind for spec in advice.specs_of(shown)]
    if "automl" in engines:  # H2O has a test of its own
        page.get_by_text("Run", exact=True).nth(engines.index("automl")).click()
    page.get_by_role("button", name="Queue these jobs").click()
    page.get_by_role("link", name="Open job 1").click()
    _expect_state(page, "Succeeded")
    assert jobs.get(1).kind == "portfolio"
    assert advice.jobs_of(dataset.id) == [1]

    page.goto(f"{site}/advice?dataset={dataset.name}")
    expect(page.get_by_role("heading", name="Outcome")).to_be_visible()
    expect(page.get_by_role("heading", name="Predictions made before the first run")).to_be_visible()
    given = advice.last_advice(dataset.id, before_results=True)
    assert given is not None
    told = advice.outcome(given)
    assert {name for name in given.plan if name in kinds.of("portfolio").candidates["table"]} <= set(told["candidate"])
    expect(page.get_by_text(f"{int(told['inside'].sum())} of {len(told)}")).to_be_visible()


def test_past_runs_are_corrected_imported_and_removed(page: Page, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "our *past*.csv"
    rows = "".join(f"{d},{c},{value}\n" for d in ("<b>a</b>", "b") for c in ("=1+1", "y") for value in (0.25, 0.75))
    path.write_text(f"dataset,candidate,goodness\n{rows}")
    with browser.dashboard() as (_, address):
        page.goto(f"{address}/import_runs")
        page.locator("input[type=file]").set_input_files(path)
        expect(page.get_by_role("alert")).to_contain_text("Which column of our *past*.csv holds the error")
        _choose(page, "Metric", "goodness")
        expect(page.get_by_role("alert")).to_contain_text("Is a higher goodness better")
        _choose(page, "Direction", "Higher is better")
        expect(page.get_by_role("alert")).to_contain_text("contradicts itself: dataset '<b>a</b>', candidate '")
        page.locator("label").get_by_text("Average repeats").click()
        expect(page.get_by_text("4 pairs of a dataset and a candidate have several runs")).to_be_visible()
        _type(page, "Scenario name", "our_past_")
        page.get_by_role("button", name="Import", exact=True).click()
        expect(page.get_by_text("our_past_ is imported: 2 datasets, 2 candidates.")).to_be_visible()
        assert [(known.name, known.source, known.n_rows) for known in knowledge.all_scenarios()] == [
            ("our_past_", "our *past*.csv", 4)
        ]
        page.get_by_role("button", name="Remove a scenario").click()
        expect(page.get_by_text("This deletes its 4 results on 2 datasets.")).to_be_visible()
        page.get_by_role("button", name="Remove", exact=True).click()
        expect(page.get_by_text("No runs have been imported yet.")).to_be_visible()
        expect(page.get_by_role("dialog")).not_to_be_visible()
        assert knowledge.all_scenarios() == []


def _choose(page: Page, label: str, option: str) -> None:
    page.get_by_role("combobox", name=label).click()
    page.get_by_role("option", name=option).click()


@pytest.mark.parametrize(
    ("link", "title"),
    [
        ("", "Home · Metascout"),
        ("jobs", "Jobs · Metascout"),
        ("job?job={succeeded}", "Job {succeeded} · Metascout"),
        ("job?job=999", "Job · Metascout"),
        ("advice?dataset=breast_cancer", "breast_cancer · Advice · Metascout"),
        ("dataset?dataset={regression}", "diabetes · Dataset · Metascout"),
        ("leaderboard?dataset=breast_cancer", "breast_cancer · Leaderboard · Metascout"),
        ("trial?trial={trial}", "Trial {trial} · Metascout"),
    ],
)
def test_the_tab_is_named_after_what_the_page_shows(
    page: Page, still_site: tuple[str, Filled], link: str, title: str
) -> None:
    address, filled = still_site
    page.goto(f"{address}/{link.format(**asdict(filled))}")
    expect(page.get_by_test_id("stAppViewContainer").get_by_role("heading").first).to_be_visible()
    expect(page).to_have_title(title.format(**asdict(filled)))
