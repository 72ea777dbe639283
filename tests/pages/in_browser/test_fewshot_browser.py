"""The few-shot pages as a person uses them: in Chromium, with the mouse."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from core import datasets, specs
from core.datasets.images import examples
from core.queue import jobs
from core.results import initialisations
from tests.pages import browser, fewshot_filled

pytestmark = [pytest.mark.slow, pytest.mark.browser]


def draw(page: Page, canvas: Locator, points: list[tuple[float, float]]) -> None:
    """A stroke through points, in parts of the canvas's side."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=5)
    page.mouse.up()


def test_drawings_are_shelved_by_class_deleted_and_submitted(page: Page, home: Path) -> None:
    filled = fewshot_filled.fill(home)
    with browser.dashboard() as (_, address):
        page.goto(f"{address}/playground?initialisation={filled.maml}")
        page.get_by_text("Draw", exact=True).click()
        canvas = page.get_by_label("Canvas: draw with the mouse or a finger")
        add = page.get_by_role("button", name=re.compile("^Add to class"))
        expect(add).to_be_disabled()
        draw(page, canvas, [(0.2, 0.2), (0.5, 0.8), (0.8, 0.2)])
        add.click()
        deletes = page.locator("[class*=st-key-delete_]:not([class*=st-key-delete_drawings])")
        expect(deletes).to_have_count(1)
        expect(add).to_be_disabled()  # the canvas is clear again
        draw(page, canvas, [(0.3, 0.2), (0.5, 0.7), (0.7, 0.3)])
        page.get_by_role("button", name="Clear").click()
        expect(add).to_be_disabled()
        draw(page, canvas, [(0.5, 0.1), (0.5, 0.9)])
        add.click()
        expect(deletes).to_have_count(2)
        deletes.first.locator("button:visible").first.click()
        expect(deletes).to_have_count(1)

        choice = page.get_by_role("combobox", name="Class to draw")
        choice.click()
        page.keyboard.type("my *own*")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Add to class my *own*")).to_be_visible()
        draw(page, canvas, [(0.1, 0.5), (0.9, 0.5)])
        page.get_by_role("button", name="Add to class my *own*").click()
        expect(deletes).to_have_count(2)
        expect(page.get_by_text("my *own*", exact=True).last).to_be_visible()
        page.get_by_role("button", name="Adapt", exact=True).click()
        page.wait_for_url("**job=*")
        expect(page.get_by_text("No runner is running")).to_be_visible()
    spec = jobs.get(int(page.url.partition("job=")[2])).spec
    assert isinstance(spec, specs.FineTuneSpec)
    kept = examples.load(spec.examples or "")
    assert kept.labels == ("A", "my *own*")
    upright, level = kept.images[..., 0]
    assert upright[4:24, 13:15].mean() > 100  # bright ink where the stroke went, and dark paper elsewhere
    assert upright[:, :8].max() == 0
    assert level[13:15, 4:24].mean() > 100
    assert level[:8].max() == 0


def test_the_leaderboard_s_link_keeps_its_filters(page: Page, home: Path) -> None:
    fewshot_filled.fill(home)
    with browser.dashboard() as (_, address):
        page.goto(f"{address}/few_shot?dataset=glyphs")
        expect(page.get_by_text("Test classes: top 3")).to_be_visible()
        page.get_by_role("combobox", name="Batch norm").click()
        page.get_by_role("option", name="Transductive").click()
        expect(page.get_by_text("Test classes: top 1")).to_be_visible()
        page.wait_for_url("**protocol=Transductive**")
        link = page.url
        page.goto("about:blank")
        page.goto(link)
        expect(page.get_by_text("Test classes: top 1")).to_be_visible()


def test_from_a_meta_training_to_an_answer_in_the_playground(page: Page, site: str) -> None:
    datasets.add_sample("digits_images")
    page.goto(f"{site}/new_job?dataset=digits_images&engine=fewshot")
    for label, value in (("Ways", "3"), ("Shots", "5"), ("Time budget (seconds)", "15"), ("Width", "16")):
        field = page.get_by_label(label, exact=True)
        field.fill(value)
        field.press("Tab")
    page.get_by_role("button", name="Submit job").click()
    page.get_by_role("link", name="Open job 1").click()
    expect(page.get_by_role("button", name="Try it in the playground")).to_be_visible(timeout=180_000)
    expect(page.get_by_role("main").get_by_text("Succeeded").first).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Try it in the playground").click()
    chosen = page.get_by_role("combobox", name="Initialisation")
    expect(chosen).to_have_value("Job 1: ProtoNet on digits_images, 3-way 5-shot")
    page.get_by_role("button", name="Adapt", exact=True).click()
    page.wait_for_url("**job=2*")
    expect(page.get_by_text("Adapted in")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("heading", name="Predictions")).to_be_visible()
    body = initialisations.adaptation(2)
    assert body is not None
    assert body["initialisation"] == 1
    assert page.locator("figure img[alt*=predicted]").count() == min(60, len(body["predictions"]))
    with page.expect_download(timeout=120_000) as download:
        page.get_by_role("button", name="Download the adapted model").click(timeout=120_000)
    assert download.value.suggested_filename == "adapted_2.zip"
