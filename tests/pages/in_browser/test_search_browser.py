"""A network search as a person starts, pauses and continues it: in Chromium, with a real runner."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from core import datasets, results, specs
from core.queue import jobs
from tests.pages import browser

pytestmark = [pytest.mark.slow, pytest.mark.browser]


def test_a_search_from_the_form_to_predictions_by_its_files(site: str, page: Page, tmp_path: Path) -> None:
    dataset = datasets.add_sample("digits_images")
    page.goto(f"{site}/new_job?dataset=digits_images")
    for label, value in {"Time budget (seconds)": "120", "Maximum candidates": "8", "Finalists": "1"}.items():
        page.get_by_label(label, exact=True).fill(value)
        page.keyboard.press("Tab")
    page.get_by_role("button", name="Submit job").click()
    page.get_by_role("link", name="Open job 1").click()
    page.get_by_role("tab", name="Candidates").click()
    expect(page.get_by_role("heading", name="Survivors by rung")).to_be_visible(timeout=120_000)
    expect(page.get_by_role("main").get_by_text("Succeeded").first).to_be_visible(timeout=180_000)
    trial_id = int(results.trials_of(1)["trial_id"].iloc[0])
    page.goto(f"{site}/trial?trial={trial_id}")
    expect(page.get_by_role("heading", name="Architecture")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the model").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        archive.extractall(tmp_path / "model")
    pictures = tmp_path / "model" / "images"
    pictures.mkdir()
    rows = datasets.load(dataset, "test").head(20)
    key, target = dataset.features[0].key, dataset.target_column.key
    for number, row in enumerate(rows.to_dict("records")):
        pixels = np.frombuffer(row[key], np.uint8).reshape(dataset.features[0].shape or ())
        Image.fromarray(pixels.squeeze()).save(pictures / f"{number:02}.png")
    command = [sys.executable, "predict.py", "images/", "predictions.csv"]
    subprocess.run(command, cwd=tmp_path / "model", check=True)
    found = pd.read_csv(tmp_path / "model" / "predictions.csv", dtype=str)
    assert (found[dataset.target].to_numpy() == rows[target].astype(str).to_numpy()).sum() >= 16


_RUNNER = """
import runner.__main__
from tests import engines
engines.use(nas=engines.search)
raise SystemExit(runner.__main__.main())
"""


def test_a_search_is_paused_resumed_with_more_and_continued_by_clicks(home: Path, page: Page) -> None:
    dataset = datasets.add_sample("digits_images")
    job_id = jobs.submit(specs.NASSpec(dataset_id=dataset.id, max_candidates=4_900, finalists=1))
    runner = subprocess.Popen([sys.executable, "-c", _RUNNER])
    try:
        with browser.dashboard() as (_, address):
            page.goto(f"{address}/job?job={job_id}&tab=Candidates")
            main = page.get_by_role("main")
            expect(page.get_by_role("heading", name="Survivors by rung")).to_be_visible(timeout=60_000)
            page.get_by_role("button", name="Pause").click()
            expect(main.get_by_text(re.compile("Paused$")).first).to_be_visible(timeout=60_000)
            reached = len(results.candidates(job_id))
            assert 0 < reached < 4_900
            page.get_by_role("button", name="Resume").click()
            expect(main.get_by_text(re.compile("Running$")).first).to_be_visible(timeout=60_000)
            page.get_by_role("button", name="Pause").click()
            expect(main.get_by_text(re.compile("Paused$")).first).to_be_visible(timeout=60_000)
            page.get_by_role("button", name="More time").click()
            page.get_by_label("Additional candidates").fill("5")
            page.keyboard.press("Tab")
            page.get_by_role("button", name="Continue").click()
            expect(main.get_by_text(re.compile("Running$")).first).to_be_visible(timeout=60_000)
            spec = jobs.get(job_id).spec
            assert isinstance(spec, specs.NASSpec)
            assert spec.max_candidates == 4_905
            page.get_by_role("button", name="Cancel").click()
            expect(main.get_by_text(re.compile("Cancelled$")).first).to_be_visible(timeout=60_000)
            page.get_by_role("button", name="More time").click()
            page.get_by_label("Additional candidates").fill("8")
            page.keyboard.press("Tab")
            page.get_by_role("button", name="Continue").click()
            expect(page.get_by_role("heading", name=f"Job {job_id + 1}")).to_be_visible()
            expect(main.get_by_text(re.compile("Succeeded$")).first).to_be_visible(timeout=60_000)
            page.get_by_role("link", name=f"Continues job {job_id}").click()
            expect(page.get_by_role("link", name=f"Continued by job {job_id + 1}")).to_be_visible()
    finally:
        runner.send_signal(signal.SIGINT)
        runner.wait(timeout=60)
    assert jobs.get(job_id).attempt == 3
    assert len(results.candidates(job_id + 1)) == 8
