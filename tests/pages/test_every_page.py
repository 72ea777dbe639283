"""Every page, empty and full, as a session runs it; links that lead nowhere; what is typed is shown as it is."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import streamlit as st

from core import datasets, results, specs
from core.events import Progress
from core.queue import jobs
from tests.pages.apptest import fine, opened, shown
from tests.pages.filled import ODD, Filled, trial

MENU = [
    "home",
    "dataset_advice",
    "datasets",
    "add_dataset",
    "new_job",
    "job_list",
    "playground",
    "leaderboard",
    "fewshot_board",
]
MENU += ["fewshot_board", "meta_model", "import_runs"]

HIDDEN = ["dataset", "job", "trial", "compare"]


@pytest.mark.parametrize("page", MENU)
def test_every_page_of_the_menu_opens_on_an_empty_store_and_says_what_to_do(page: str) -> None:
    at = fine(opened(page))
    assert at.title
    assert at.page_link or at.button or at.file_uploader


@pytest.mark.parametrize(
    ("page", "params"),
    [
        ("compare", {}), ("compare", {"dataset": "nope"}),
        ("dataset", {}), ("dataset", {"dataset": "nope"}), ("job", {}), ("job", {"job": "abc"}), ("job", {"job": "99"}),
        ("job", {"job": "-1"}), ("trial", {}), ("trial", {"trial": "999999"}), ("trial", {"trial": "1; drop table"}),
    ],
)  # fmt: skip
def test_a_link_that_leads_nowhere_says_so_and_offers_the_list(page: str, params: dict[str, str]) -> None:
    at = opened(page, **params)
    assert not at.exception
    assert len(at.error) == 1
    assert shown(at.error[0].value).endswith(".")
    assert at.page_link


def test_every_page_opens_on_a_full_store(filled: Filled) -> None:
    params = {
        "dataset": {"dataset": str(filled.binary)},
        "job": {"job": str(filled.succeeded)},
        "leaderboard": {"dataset": "breast_cancer"},
        "trial": {"trial": str(filled.trial)},
        "new_job": {"dataset": "breast_cancer"},
        "compare": {"dataset": "breast_cancer"},
    }
    for page in MENU + HIDDEN:
        assert fine(opened(page, **params.get(page, {}))).title, page


def test_a_dataset_that_the_link_misnames_is_named(filled: Filled) -> None:
    at = opened("leaderboard", dataset="nope")
    assert not at.exception
    assert "nope" in at.warning[0].value


def test_what_people_type_is_shown_as_it_is(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    frame = pd.DataFrame(
        {ODD: [f"{ODD} {i % 3}" for i in range(90)], "x": range(90), "y": ["*a*", "=b", "[c](d)"] * 30}
    )
    frame.to_csv(path, index=False)
    dataset = datasets.register(path, name="odd_ones_", target="y", source=f"{ODD}.csv")
    job_id = jobs.submit(specs.AutoMLSpec(dataset_id=dataset.id, note=ODD), user=ODD)
    job = jobs.claim("a runner")
    assert job is not None
    results.record(job, [trial(2, dataset.task, dataset.labels, algorithm=ODD), Progress(0.5, ODD)])
    trial_id = int(results.leaderboard(dataset.id)["trial_id"].iloc[0])
    at = fine(opened("job", job=str(job_id)))
    assert at.text[0].value == ODD
    assert any(ODD in shown(caption.value) for caption in at.caption)
    assert shown(at.progress[0].text or "") == ODD
    at = fine(opened("trial", trial=str(trial_id)))
    assert shown(at.title[0].value) == ODD
    at = fine(opened("dataset", dataset="odd_ones_"))
    assert ODD in shown(at.caption[0].value)
    at = fine(opened("home"))
    assert any(ODD in shown(bar.text or "") for bar in at.progress)
    jobs.finish(job, "failed", f"It broke on {ODD}.")
    st.cache_data.clear()
    assert ODD in shown(opened("job", job=str(job_id)).error[0].value)
