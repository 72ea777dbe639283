"""What the tests of pages may ask for: filled stores, and a real dashboard in Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

from tests.pages import browser, fewshot_filled
from tests.pages.filled import Filled, fill

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(autouse=True)
def fresh(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An own store, empty caches, and the navigation of app.py, as the server sets it."""
    start = PagesManager.__init__

    def started(self: PagesManager, *args: Any, **kwargs: Any) -> None:
        PagesManager.uses_pages_directory = False  # AppTest asks again for each run
        start(self, *args, **kwargs)

    monkeypatch.setattr(PagesManager, "__init__", started)
    st.cache_data.clear()
    yield
    st.cache_data.clear()


@pytest.fixture(scope="session")
def filled_home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Filled]:
    """A data directory with something on every page, made once."""
    home = tmp_path_factory.mktemp("filled") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METASCOUT_HOME", str(home))
        patch.delenv("METASCOUT_STORE", raising=False)
        return home, fill(home)


@pytest.fixture
def filled(home: Path, filled_home: tuple[Path, Filled]) -> Filled:
    """A copy of it for one test."""
    shutil.copytree(filled_home[0], home, dirs_exist_ok=True)
    return filled_home[1]


@pytest.fixture(scope="session")
def fewshot_home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, fewshot_filled.Filled]:
    """A data directory with few-shot jobs, made once."""
    home = tmp_path_factory.mktemp("fewshot") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METASCOUT_HOME", str(home))
        patch.delenv("METASCOUT_STORE", raising=False)
        return home, fewshot_filled.fill(home)


@pytest.fixture
def fewshot(home: Path, fewshot_home: tuple[Path, fewshot_filled.Filled]) -> fewshot_filled.Filled:
    """A copy of it for one test."""
    shutil.copytree(fewshot_home[0], home, dirs_exist_ok=True)
    return fewshot_home[1]


@pytest.fixture
def site(home: Path) -> Iterator[str]:
    """The address of a dashboard with a runner beside it."""
    with browser.dashboard() as (_, address), browser.runner():
        yield address


@pytest.fixture
def page() -> Iterator[Page]:
    """A tab of Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = browser.chromium(playwright)
        tab = chromium.new_page(viewport={"width": 1440, "height": 900})
        tab.set_default_timeout(30_000)
        yield tab
        chromium.close()
