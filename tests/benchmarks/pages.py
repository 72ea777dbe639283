"""The pages on a store with 1,000 jobs, 100,000 trials and 1,000,000 metric rows."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psutil
import streamlit as st
from playwright.sync_api import sync_playwright
from streamlit.testing.v1 import AppTest

from core import knowledge
from core.advice import fits
from core.store import database
from tests.benchmarks import own_home, summary, times_ms
from tests.benchmarks.fill import fill
from tests.pages.browser import ROOT, chromium, dashboard

_PAGES = {
    "home": {},
    "dataset_advice": {"dataset": "breast_cancer"},
    "datasets": {},
    "add_dataset": {},
    "dataset": {"dataset": "1"},
    "new_job": {},
    "job_list": {},
    "job": {"job": "6"},
    "leaderboard": {"dataset": "digits"},
    "trial": {"trial": "6"},
    "meta_model": {},
    "import_runs": {},
}


def figures() -> Iterator[tuple[str, str]]:
    """The figures of this part, as they are measured."""
    with own_home():
        fill()
        for kind in knowledge.TASK_TYPES:
            fits.refit(kind)
        yield "size of the store", f"{database.store_path().stat().st_size / 1e6:.0f} MB"
        for page, params in _PAGES.items():
            yield f"script run of {page}, nothing cached", summary(_run_times_ms(page, params, cached=False))
        for page, params in _PAGES.items():
            yield f"script run of {page}, store unchanged", summary(_run_times_ms(page, params, cached=True))
        yield from _process()


def _run_times_ms(page: str, params: dict[str, str], *, cached: bool) -> list[float]:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    app.run()
    app.switch_page(f"pages/{page}.py")
    for name, value in params.items():
        app.query_params[name] = value

    def run() -> None:
        if not cached:
            st.cache_data.clear()
        app.run()
        if app.exception or app.error:
            raise RuntimeError(f"{page}: {[*app.exception, *app.error]}")

    return times_ms(run, rounds=20)[0]


def _process() -> Iterator[tuple[str, str]]:
    """Start the real server, open every page in Chromium, and look at the process."""
    begin = time.monotonic()
    with dashboard() as (process, address):
        yield "start of the dashboard until it answers", f"{time.monotonic() - begin:.2f} s"
        with sync_playwright() as playwright:
            browser = chromium(playwright)
            tab = browser.new_page()
            for page, params in _PAGES.items():
                query = "&".join(f"{name}={value}" for name, value in params.items())
                tab.goto(f"{address}/{'' if page == 'home' else page}?{query}")
                tab.get_by_test_id("stAppViewContainer").get_by_role("heading").first.wait_for()
                tab.wait_for_timeout(500)
            browser.close()
        yield (
            "memory of the dashboard after every page",
            f"{psutil.Process(process.pid).memory_info().rss / 1e6:.0f} MB",
        )
