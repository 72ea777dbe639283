"""The menu, links between pages, and what a link carries in its query parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import streamlit as st

from core.datasets import Dataset
from core.errors import InputError
from pages import words

HOME, ADVICE = "pages/home.py", "pages/dataset_advice.py"
DATASETS, ADD_DATASET, DATASET = "pages/datasets.py", "pages/add_dataset.py", "pages/dataset.py"
NEW_JOB, JOBS, JOB = "pages/new_job.py", "pages/job_list.py", "pages/job.py"
LEADERBOARD, TRIAL, COMPARE = "pages/leaderboard.py", "pages/trial.py", "pages/compare.py"
FEWSHOT_BOARD, PLAYGROUND = "pages/fewshot_board.py", "pages/playground.py"
IMPORT_RUNS, META_MODEL = "pages/import_runs.py", "pages/meta_model.py"


@dataclass(frozen=True, slots=True)
class Entry:
    """A page of the menu: its script, title, icon and place in the address; a hidden one is reached by links only."""

    page: str
    title: str
    icon: str
    url_path: str | None = None
    hidden: bool = False


MENU = {
    "": (
        Entry(HOME, "Home", ":material/home:"),
        Entry(ADVICE, "Advice", ":material/lightbulb:", "advice"),
    ),
    "Data": (
        Entry(DATASETS, "Datasets", ":material/table:", "datasets"),
        Entry(ADD_DATASET, "Add dataset", ":material/upload_file:", "add_dataset"),
        Entry(DATASET, "Dataset", ":material/table:", "dataset", hidden=True),
    ),
    "Work": (
        Entry(NEW_JOB, "New job", ":material/add_circle:", "new_job"),
        Entry(JOBS, "Jobs", ":material/list_alt:", "jobs"),
        Entry(JOB, "Job", ":material/deployed_code:", "job", hidden=True),
        Entry(PLAYGROUND, "Playground", ":material/draw:", "playground"),
    ),
    "Results": (
        Entry(LEADERBOARD, "Leaderboard", ":material/leaderboard:", "leaderboard"),
        Entry(FEWSHOT_BOARD, "Few-shot", ":material/filter_5:", "few_shot"),
        Entry(TRIAL, "Trial", ":material/science:", "trial", hidden=True),
        Entry(COMPARE, "Compare", ":material/compare_arrows:", "compare", hidden=True),
    ),
    "Knowledge": (
        Entry(META_MODEL, "Meta-model", ":material/psychology:", "meta_model"),
        Entry(IMPORT_RUNS, "Import runs", ":material/database_upload:", "import_runs"),
    ),
}
ENTRIES = {entry.page: entry for entries in MENU.values() for entry in entries}


def menu() -> dict[str, list[Any]]:
    """Return the pages by section, as st.navigation takes them."""
    return {section: [_page(entry) for entry in entries] for section, entries in MENU.items()}


def _page(entry: Entry) -> Any:
    return st.Page(
        entry.page, title=entry.title, icon=entry.icon, url_path=entry.url_path, default=entry.url_path is None,
        visibility="hidden" if entry.hidden else "visible",
    )  # fmt: skip


def name_tab(*parts: str) -> None:
    """Name the browser's tab after what the page shows, such as "customers", "Advice"."""
    st.set_page_config(page_title=" · ".join((*parts, "Metascout")))


def link(page: str, label: str | None = None, *, icon: str | None = None, **params: Any) -> None:
    """Draw a link to a page with its query parameters, under the page's own title and icon unless others are given."""
    entry = ENTRIES[page]
    query = {key: str(value) for key, value in params.items()}
    st.page_link(page, label=label or entry.title, icon=icon or entry.icon, query_params=query)


def id_of(name: str) -> int | None:
    """Return the id that the link carries as ?name=, None where it carries none. Raises InputError for other text."""
    text = st.query_params.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise InputError(f"The link asks for {name} {text!r}, which is not a number. Open it from the menu instead.")
    return int(text)


def preselect(key: str, options: Sequence[str], aliases: dict[str, str] | None = None) -> None:
    """Let ?key= preselect a bound choice by an option's other name, such as an id; warn where there is no such one."""
    text = st.query_params.get(key)
    if text is None or text in options or key in st.session_state:
        return
    if (option := (aliases or {}).get(text)) in options:
        st.session_state[key] = option
    else:
        st.warning(f"The link asks for {key} {words.plain(text)}, which does not exist. Choose one below.")


def choose_dataset(
    datasets: Sequence[Dataset],
    *,
    key: str = "dataset",
    width: int | Literal["stretch"] = "stretch",
    **options: Any,
) -> Dataset | None:
    """Draw a choice of dataset that the link keeps by name (it may also carry the id); None: none is chosen."""
    names = [dataset.name for dataset in datasets]
    preselect(key, names, {str(dataset.id): dataset.name for dataset in datasets})
    name = st.selectbox("Dataset", names, index=None, key=key, bind="query-params", width=width, **options)
    return next((dataset for dataset in datasets if dataset.name == name), None)
