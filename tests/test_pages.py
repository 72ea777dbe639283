"""Every page, empty and full, as a session runs it; the queue's buttons; what is typed is shown as it is."""

from __future__ import annotations

import csv
import io
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import streamlit as st
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest

from core import datasets, results, specs
from core.events import Progress
from core.queue import jobs, runners
from pages import words
from pages.parts import csv_export, trial_table
from tests.filled import ODD, Filled, fill, trial

APP = Path(__file__).parents[1] / "app.py"
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
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Filled]:
    """A data directory with something on every page, made once."""
    home = tmp_path_factory.mktemp("prepared") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METASCOUT_HOME", str(home))
        patch.delenv("METASCOUT_STORE", raising=False)
        return home, fill(home)


@pytest.fixture
def filled(home: Path, prepared: tuple[Path, Filled]) -> Filled:
    """A copy of it for one test."""
    shutil.copytree(prepared[0], home, dirs_exist_ok=True)
    return prepared[1]


def opened(page: str, **params: str) -> AppTest:
    """A session that a link to a page has opened."""
    at = AppTest.from_file(str(APP), default_timeout=30).run()
    at.query_params.clear()
    for key, value in params.items():
        at.query_params[key] = value
    return at.switch_page(f"pages/{page}.py").run()


def fine(at: AppTest) -> AppTest:
    """The session, which shows neither an exception nor an error."""
    assert [item.value for item in at.exception] == []
    assert [item.value for item in at.error] == []
    return at


def shown(text: str) -> str:
    """What a reader sees of escaped text."""
    return re.sub(r"\\(.)", r"\1", text).replace("\u2060", "")


def table(at: AppTest) -> pd.DataFrame:
    """The data of the page's table."""
    return at.dataframe[0].value


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


def test_the_sections_of_a_job_draw_what_it_left(filled: Filled) -> None:
    for tab in ("Trials", "Progress", "Log", "Spec", "Environment", "History"):
        at = fine(opened("job", job=str(filled.succeeded), tab=tab))
        drawn = at.dataframe or at.code or at.get("plotly_chart")
        assert drawn, tab


def test_a_dataset_that_the_link_misnames_is_named(filled: Filled) -> None:
    at = opened("leaderboard", dataset="nope")
    assert not at.exception
    assert "nope" in at.warning[0].value


def test_home_tells_how_to_start_a_runner_until_one_is_alive(filled: Filled) -> None:
    at = fine(opened("home"))
    assert "python -m runner" in at.code[0].value
    runners.heartbeat("a runner", {"cpu_frac": 0.25, "memory_used_bytes": 2**30, "memory_bytes": 2**32, "gpus": []})
    at = fine(opened("home"))
    assert not at.warning
    assert at.metric[0].value == "1"
    assert any("25%" in (bar.text or "") for bar in at.progress)


def test_the_sample_of_the_first_steps_leads_to_its_advice(home: Path) -> None:
    at = opened("home")
    at.button[0].click().run()
    fine(at)
    assert at.title[0].value == "Advice"
    assert at.selectbox(key="dataset").value == "breast_cancer"


def test_the_form_submits_what_was_given(filled: Filled) -> None:
    at = fine(opened("new_job", dataset="breast_cancer"))
    at.number_input(key="budget_s").set_value(90)
    at.number_input(key="max_models").set_value(7)
    at.get_by_key("algorithms").set_value(["GBM", "GLM"])
    at.selectbox(key=f"metric_{filled.binary}").set_value("log_loss")
    at.number_input(key=f"folds_{filled.binary}").set_value(3)
    at.toggle(key=f"balance_classes_{filled.binary}").set_value(True)
    at.number_input(key="cpus").set_value(1)
    at.number_input(key="memory_gib").set_value(1.5)
    at.number_input(key="seed").set_value(42)
    at.number_input(key="priority").set_value(5)
    at.text_input(key="note").set_value(ODD)
    at.button(key="submit").click().run()
    fine(at)
    row = jobs.overview(limit=1, statuses=("queued",)).iloc[0]
    assert f"Job {row['id']} is queued" in at.success[0].value
    assert (row["priority"], row["owner"]) == (5, "local")
    assert jobs.get(int(row["id"])).spec == specs.AutoMLSpec(
        dataset_id=filled.binary, budget_s=90, max_models=7, algorithms=("GBM", "GLM"), metric="log_loss", folds=3,
        balance_classes=True, cpus=1, memory_bytes=3 * 2**29, seed=42, note=ODD,
    )  # fmt: skip


def test_what_a_form_gives_is_checked_again_on_the_server(filled: Filled) -> None:
    before = sum(jobs.counts().values())
    at = opened("new_job", dataset="breast_cancer")
    at.get_by_key("algorithms").set_value(["StackedEnsemble"])
    at.number_input(key=f"folds_{filled.binary}").set_value(1)
    at.button(key="submit").click().run()
    assert not at.exception
    assert "StackedEnsemble combines other models" in shown(at.error[0].value)
    assert sum(jobs.counts().values()) == before


def test_a_regression_dataset_offers_its_own_metrics_and_no_class_balancing(filled: Filled) -> None:
    at = fine(opened("new_job", dataset=str(filled.regression)))
    assert at.selectbox(key="dataset").value == "diabetes"
    assert at.selectbox(key=f"metric_{filled.regression}").value == "rmse"
    assert not at.toggle


def test_clone_fills_the_form_from_the_job(filled: Filled) -> None:
    at = opened("job", job=str(filled.queued))
    at.button(key="clone").click().run()
    fine(at)
    assert at.title[0].value == "New job"
    mark = f"_{filled.queued}"
    assert at.selectbox(key="dataset").value == "breast_cancer"
    assert at.number_input(key=f"budget_s{mark}").value == 120
    assert at.number_input(key=f"priority{mark}").value == 3
    assert at.text_input(key=f"note{mark}").value == "a queued one"


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


def test_the_jobs_page_keeps_its_filters_in_the_link(filled: Filled) -> None:
    assert table(fine(opened("job_list")))["id"].iloc[0] == filled.running
    at = fine(opened("job_list", state="Failed"))
    assert list(table(at)["id"]) == [filled.failed]
    at = fine(opened("job_list", jobs_dataset="diabetes"))
    assert set(table(at)["dataset"]) == {"diabetes"}
    at = opened("job_list", jobs_dataset=str(filled.regression), state="Failed")
    assert "No job matches" in at.info[0].value


def test_the_leaderboard_restores_a_link_and_keeps_to_it(filled: Filled) -> None:
    job = str(filled.succeeded)
    at = fine(opened("leaderboard", dataset=str(filled.binary), metric="log_loss", algorithm="GBM", job=job))
    assert at.selectbox(key="metric").value == "Log loss"
    frame = table(at)
    assert set(frame["algorithm"]) == {"GBM"}
    assert set(frame["job_id"]) == {filled.succeeded}
    assert list(frame["valid"]) == sorted(frame["valid"])
    at = fine(opened("leaderboard", dataset="breast_cancer", yardsticks="false"))
    frame = table(at)
    assert not frame["yardstick"].any()
    assert list(frame["valid"]) == sorted(frame["valid"], reverse=True)


def test_the_leaderboard_says_when_it_shows_only_the_best(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_table, "BEST_N", 5)
    at = fine(opened("leaderboard", dataset="breast_cancer"))
    assert len(table(at)) == 5
    assert any("The best 5 of 39" in caption.value for caption in at.caption)


def test_a_trial_offers_its_model_with_a_command_that_fits_its_name(filled: Filled) -> None:
    at = fine(opened("trial", trial=str(filled.trial)))
    buttons = {button.key for button in at.get("download_button")}
    assert "bundle" in buttons
    assert f"unzip breast_cancer_trial_{filled.trial}.zip" in at.code[0].value
    at = fine(opened("trial", trial=str(filled.yardstick)))
    assert len(results.trial(filled.yardstick).artifacts)  # the scoring jar of the job
    assert not at.get("download_button")
    assert any("kept for comparison only" in info.value for info in at.info)


def test_a_regression_trial_draws_its_residuals(filled: Filled) -> None:
    frame = results.leaderboard(filled.regression)
    at = fine(opened("trial", trial=str(frame["trial_id"].iloc[0])))
    assert "Predicted against actual on test" in [item.value for item in at.subheader]


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


@pytest.mark.parametrize(
    "text", [ODD, "a_b*c", ":material/home: :red[x]", "<b>", "$1 and $2", "`x` ~~y~~ # z", "a -> b"]
)
def test_escaped_text_has_no_markup_left(text: str) -> None:
    escaped = words.plain(text)
    assert shown(escaped) == text
    assert not re.search(r"(?<!\\)[*_`$<>\[\]~#|]", escaped)
    assert not re.search(r":[a-z/_]+:", escaped)
    assert "->" not in escaped


def test_a_csv_export_starts_no_formula() -> None:
    frame = pd.DataFrame({"=name": ["=1+1", "+1", "-1", "@x", "\tx", "plain", None], "value": [-1.5, 0, 1, 2, 3, 4, 5]})
    lines = list(csv.reader(io.StringIO(csv_export.csv_safe(frame))))
    assert lines[0] == ["'=name", "value"]
    assert [line[0] for line in lines[1:]] == ["'=1+1", "'+1", "'-1", "'@x", "'\tx", "plain", ""]
    assert [float(line[1]) for line in lines[1:]] == [-1.5, 0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2e-6, "2 µs"), (0.0123, "12.3 ms"), (1.25, "1.2 s"), (59.4, "59 s"), (59.6, "1 min 0 s"),
     (3_700, "1 h 2 min"),
     (None, words.NONE), (math.nan, words.NONE)],
)  # fmt: skip
def test_durations_have_the_units_that_matter(seconds: float | None, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.84321, "0.8432"), (51_234.4, "51,234"), (3.14159, "3.142"), (0, "0"), (-0.5, "-0.5000"),
     (1.2e-7, "1.2e-07"), (2.5e9, "2.5e+09"), (math.inf, words.NONE)],
)  # fmt: skip
def test_numbers_have_the_digits_that_matter(value: float, text: str) -> None:
    assert words.number(value) == text


def upload(at: AppTest, name: str, content: bytes) -> AppTest:
    """Choose a file on the page that adds datasets."""
    at.file_uploader(key="upload").upload(name, content)
    return at.run()


def test_a_csv_file_is_inspected_corrected_and_registered(home: Path) -> None:
    rows = "".join(f"{i},{i % 7},{'yes' if i % 3 else 'no'},{i * 37 % 11}\n" for i in range(300))
    at = fine(upload(opened("add_dataset"), "../../My churn [1].csv", f"id,plan,left,calls\n{rows}".encode()))
    file = next(iter(home.joinpath("uploads").iterdir())).name
    frame = at.data_editor[0].value
    assert dict(zip(frame["name"], frame["type"], strict=True))["id"] == "ignored"
    assert any("id" in shown(warning.value) for warning in at.warning)
    at.selectbox(key=f"target_{file}_utf-8").set_value("left").run()
    fine(at)
    assert "binary classification" in shown(at.selectbox(key=f"task_{file}_utf-8_left").options[0])
    at.session_state[f"columns_{file}_utf-8"] = {
        "edited_rows": {1: {"type": "categorical"}},
        "added_rows": [],
        "deleted_rows": [],
    }
    at.run()
    at.text_input(key=f"name_{file}_utf-8").set_value("churn").run()
    at.button(key="register").click().run()
    fine(at)
    dataset = datasets.get("churn")
    assert (dataset.target, dataset.task, dataset.source) == ("left", "binary", "../../My churn [1].csv")
    assert {column.name: column.type for column in dataset.columns}["plan"] == "categorical"
    assert at.title[0].value == "churn"


@pytest.mark.parametrize("content", [b"", b"a,b\n", b"\x89PNG\r\n\x1a\n00", b"a,b\n1,2\n1,2,3\n", b"a,b\n\xff\xfe,1\n"])
def test_a_file_that_is_no_table_ends_in_a_sentence_with_its_own_name(home: Path, content: bytes) -> None:
    at = upload(opened("add_dataset"), "bad *file*.csv", content)
    assert not at.exception
    told = shown(at.error[0].value)
    assert told.endswith(".")
    assert not re.search(r"[0-9a-f]{32}", told)


def test_a_target_that_cannot_be_learnt_blocks_the_button_with_the_reason(home: Path) -> None:
    rows = "".join(f"{i % 9},same\n" for i in range(100))
    at = upload(opened("add_dataset"), "constant.csv", f"x,c\n{rows}".encode())
    file = next(iter(home.joinpath("uploads").iterdir())).name
    at.selectbox(key=f"target_{file}_utf-8").set_value("c").run()
    assert not at.exception
    assert "same value in every row" in shown(at.error[0].value)
    assert at.button(key="register").disabled


def test_a_file_with_a_split_of_its_own_keeps_it_unless_told_otherwise(home: Path) -> None:
    rows = "".join(f"{i % 9},{'ab'[i % 2]},{'test' if i >= 80 else 'train'}\n" for i in range(100))
    at = fine(upload(opened("add_dataset"), "own.csv", f"x,c,part\n{rows}".encode()))
    file = next(iter(home.joinpath("uploads").iterdir())).name
    at.selectbox(key=f"target_{file}_utf-8").set_value("c").run()
    [split] = [box for box in at.selectbox if box.label == "Split"]
    assert split.options == ["As in column part", "Made here: 60% train, 20% valid, 20% test"]
    at.button(key="register").click().run()
    fine(at)
    assert len(datasets.load(datasets.get("own"), "test")) == 20


def test_rare_classes_can_be_left_out(home: Path) -> None:
    rows = "".join(f"{i % 9},{'rare' if i == 0 else 'ab'[i % 2]}\n" for i in range(100))
    at = upload(opened("add_dataset"), "rare.csv", f"x,c\n{rows}".encode())
    file = next(iter(home.joinpath("uploads").iterdir())).name
    assert "rare" in shown(at.error[0].value)
    at.toggle(key=f"drop_{file}_utf-8").set_value(True).run()
    fine(at)
    at.button(key="register").click().run()
    assert datasets.get("rare").labels == ("a", "b")


def test_a_sample_is_added_at_one_click(home: Path) -> None:
    at = opened("add_dataset", way="A built-in sample")
    at.radio(key="sample").set_value("iris").run()
    at.button(key="add_sample").click().run()
    fine(at)
    assert at.title[0].value == "iris"


def test_who_is_signed_in_owns_the_job(filled: Filled) -> None:
    at = opened("job", job=str(filled.failed))
    at.user = {"is_logged_in": True, "email": "ada@example.com"}
    at.button(key="retry").click().run()
    fine(at)
    assert jobs.overview(job_id=filled.queued + 1)["owner"][0] == "ada@example.com"
