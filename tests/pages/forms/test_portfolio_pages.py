"""The pages of a portfolio: its form, its job, and a trial whose model is taken away."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import datasets, kinds, results, specs
from core.events import Artifact, Progress
from core.queue import jobs
from core.specs import PORTFOLIO_CANDIDATES, PortfolioSpec
from tests.engines import trial
from tests.pages.apptest import engine, fine, opened, shown, table
from tests.pages.filled import ODD, Filled

PORTFOLIO = kinds.label("portfolio")


def newest() -> jobs.Job:
    """The job that was submitted last."""
    return jobs.get(int(jobs.overview()["id"].max()))


def test_the_form_submits_what_was_given(filled: Filled) -> None:
    at = fine(opened("new_job", dataset="breast_cancer", engine="portfolio"))
    assert engine(at) == PORTFOLIO
    at.get_by_key("candidates_portfolio").set_value(["Linear", "SVM"])
    at.number_input(key="budget_s_portfolio").set_value(120)
    at.number_input(key="candidate_s_portfolio").set_value(15)
    at.selectbox(key=f"metric_portfolio_{filled.binary}").set_value("accuracy")
    at.number_input(key="cpus_portfolio").set_value(3)
    at.number_input(key="seed_portfolio").set_value(42)
    at.number_input(key="priority_portfolio").set_value(-3)
    at.text_input(key="note_portfolio").set_value(ODD)
    at.button(key="submit").click().run()
    fine(at)
    job = newest()
    assert specs.parse(job.spec_text) == PortfolioSpec(
        dataset_id=filled.binary, candidates=("Linear", "SVM"), budget_s=120, candidate_s=15, metric="accuracy",
        cpus=3, seed=42, note=ODD,
    )  # fmt: skip
    assert job.kind == "portfolio"
    assert jobs.overview(job_id=job.id).priority[0] == -3


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("budget_s_portfolio", 3, "Time budget (seconds): Input should be greater than or equal to 10 (given: 3)"),
        ("candidate_s_portfolio", 0, "Limit per candidate (seconds): Input should be greater than or equal to 1"),
        ("candidates_portfolio", [], "Candidates: Nothing is selected. Choose at least one"),
        ("cpus_portfolio", 0, "CPU threads: Input should be greater than or equal to 1 (given: 0)"),
    ],
)
def test_a_wrong_wish_is_answered_with_a_sentence_and_no_job(
    filled: Filled, key: str, value: object, said: str
) -> None:
    before = sum(jobs.counts().values())
    at = fine(opened("new_job", dataset="breast_cancer", engine="portfolio"))
    at.get_by_key(key).set_value(value)
    at.button(key="submit").click().run()
    assert not at.exception
    assert said in shown(at.error[0].value)
    assert sum(jobs.counts().values()) == before


def test_images_and_numbers_have_a_portfolio_with_all_candidates_chosen(filled: Filled) -> None:
    for name in ("digits_images", "diabetes"):
        at = fine(opened("new_job", dataset=name, engine="portfolio"))
        assert engine(at) == PORTFOLIO
        assert list(at.get_by_key("candidates_portfolio").value) == list(PORTFOLIO_CANDIDATES)
        at.button(key="submit").click().run()
        fine(at)
        assert specs.parse(newest().spec_text).kind == "portfolio"


def test_a_cloned_portfolio_brings_its_fields_along(filled: Filled) -> None:
    job_id = jobs.submit(PortfolioSpec(dataset_id=filled.images, candidates=("LDA",), candidate_s=7), priority=2)
    at = opened("job", job=str(job_id))
    at.button(key="clone").click().run()
    fine(at)
    assert (at.selectbox(key="dataset").value, engine(at)) == ("digits_images", PORTFOLIO)
    mark = f"_portfolio_{job_id}"
    assert list(at.get_by_key(f"candidates{mark}").value) == ["LDA"]
    assert at.number_input(key=f"candidate_s{mark}").value == 7
    assert at.number_input(key=f"priority{mark}").value == 2


@pytest.fixture
def running(dataset: datasets.Dataset, tmp_path: Path) -> jobs.Job:
    """A portfolio half way, with one trial and its files."""
    jobs.submit(PortfolioSpec(dataset_id=dataset.id, candidates=("Linear", "SVM")))
    job = jobs.claim("a runner")
    assert job is not None
    files = []
    for name, kind, candidate in (
        ("Linear.skops", "skops", "Linear"),
        ("predict.py", "skops_script", None),
        ("README.txt", "skops_readme", None),
    ):
        (tmp_path / name).write_text(name)
        files.append(Artifact(name, str(tmp_path / name), kind, candidate))
    results.record(job, [*files, trial("Linear", algorithm="Linear"), Progress(0.5, "Fitting SVM", 3.0)])
    return job


def test_the_page_of_a_portfolio_shows_its_progress_its_trials_and_its_settings(running: jobs.Job) -> None:
    at = fine(opened("job", job=str(running.id)))
    text = " ".join(item.value for item in (*at.markdown, *at.caption, *at.text))
    assert PORTFOLIO in text
    assert "Linear" in set(table(at)["algorithm"])


def test_a_portfolios_model_is_downloaded_with_the_command_that_predicts(running: jobs.Job) -> None:
    trial_id = int(results.trials_of(running.id).trial_id[0])
    at = fine(opened("trial", trial=str(trial_id)))
    assert any("skops" in caption.value for caption in at.caption)
    assert any("python predict.py rows.csv predictions.csv" in code.value for code in at.code)
