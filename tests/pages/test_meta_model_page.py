"""The Meta-model page: on a fitted selector, on few datasets, on none; its filters, its request, its track record."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from core import advice, datasets, knowledge, metafeatures, results
from core.advice import fits, learning_curve
from core.advice.selector import Selector
from core.queue import jobs, runners
from core.specs import PortfolioSpec
from pages import words
from pages.parts import csv_export
from pages.parts.advice import error_map, selector_view
from tests.engines import trial
from tests.pages.apptest import figure, fine, opened, shown, values
from tests.pages.filled import ODD

CANDIDATES = ("Linear", "RandomForest", "SVM", "Baseline")
GAP = ("made 3", "SVM")


def ship(path: Path, n_classification: int, n_regression: int) -> Path:
    """Shipped knowledge: on small datasets the linear model wins, on large ones the forest."""
    random, rows = np.random.default_rng(0), []
    for number in range(n_classification + n_regression):
        regression = number >= n_classification
        large = random.uniform(2, 5)
        name = ODD if number == 0 else f"made {number}"
        errors = {"Linear": 0.04 * large, "RandomForest": 0.2 - 0.03 * large, "SVM": 0.15, "Baseline": 0.5}
        for candidate, error in errors.items():
            if (name, candidate) != GAP:
                rows.append({
                    "task": name, "origin": "generated", "family": name, "fingerprint": f"print {number}",
                    "kind": "regression" if regression else "binary", "candidate": candidate, "fit_s": 1.0,
                    "error": error + random.uniform(0, 0.01), "metric": "r2" if regression else "auc",
                    "feature:log_n_rows": large, "feature:log_n_features": random.uniform(0, 2),
                    "feature:is_regression": float(regression),
                })  # fmt: skip
    pd.DataFrame(rows).to_parquet(path)
    return path


@pytest.fixture(autouse=True, scope="module")
def few_trees() -> Iterator[None]:
    """Small forests, which are fitted in a moment: the page is tested, not the advice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Selector.__init__, "__kwdefaults__", {"trees": 100, "plan_trees": 50, "seed": 0})
        patch.setattr(learning_curve, "_TREES", 20)
        yield


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory, few_trees: None) -> tuple[Path, Path]:
    """A data directory with a selector of each kind, and what shipped with it."""
    home = tmp_path_factory.mktemp("learnt") / "home"
    shipped = ship(home.with_name("knowledge.parquet"), 24, 10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METASCOUT_HOME", str(home))
        patch.delenv("METASCOUT_STORE", raising=False)
        patch.setattr("core.knowledge.table.SHIPPED", shipped)
        assert all(fits.refit(kind) for kind in knowledge.TASK_TYPES)
    return home, shipped


@pytest.fixture
def fitted(home: Path, learnt: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> fits.Fit:
    """A copy of it for one test; the selector for classes."""
    shutil.copytree(learnt[0], home, dirs_exist_ok=True)
    monkeypatch.setattr("core.knowledge.table.SHIPPED", learnt[1])
    refit = fits.last_fit("classification")
    assert refit is not None
    return refit


@pytest.fixture
def small(fitted: fits.Fit, small_home: Path) -> datasets.Dataset:
    """A dataset of one's own without results, beside the fitted selectors."""
    return datasets.register(small_home.parent / "small.csv", name="small", target="target")


def page(**params: str) -> AppTest:
    return fine(opened("meta_model", **params))


def metrics(at: AppTest) -> dict[str, str]:
    """The page's numbers by what they are."""
    return {item.label: item.value for item in at.metric}


def told(at: AppTest) -> str:
    """Everything that the page says in words."""
    return " ".join(
        shown(item.value) for item in (*at.markdown, *at.caption, *at.info, *at.warning) if isinstance(item.value, str)
    )


def test_before_the_first_fit_the_page_says_what_to_do_and_how_to_start_a_runner(home: Path) -> None:
    at = page()
    assert "There is no selector for classification yet" in told(at)
    assert any("-m runner" in code.value for code in at.code)
    runners.heartbeat("a runner", {})
    at = page(kind="regression")
    assert "There is no selector for regression yet" in told(at)
    assert "The runner starts it within a minute" in told(at)
    assert not at.code


def test_the_head_tells_what_is_known_and_how_good_the_advice_was(fitted: fits.Fit) -> None:
    at = page()
    assert "24 datasets" in told(at)
    assert "0 yours, 24 shipped, 0 imported" in told(at)
    assert fits.load_selector(fitted).reason in told(at)
    numbers = metrics(at)
    assert float(numbers["Advice"]) == pytest.approx(fitted.figures["advice"]["regret"], abs=1e-4)
    assert float(numbers["Safe default"]) == pytest.approx(fitted.figures["sbs"]["regret"], abs=1e-4)
    past = fits.load_selector(fitted).trust.past.mean()
    closed = (past["sbs"] - past["advice"]) / (past["sbs"] - past["best"])
    assert numbers["Closed gap"] == f"{closed:.0%}"
    assert "10 datasets" in told(page(kind="regression"))


def test_a_refit_is_asked_for_and_the_page_says_who_does_it(fitted: fits.Fit) -> None:
    runners.heartbeat("a runner", {})
    at = page()
    assert not fits.is_due()
    assert "The runner starts it" not in told(at)
    at.button(key="refit").click().run()
    fine(at)
    assert fits.is_due()
    assert "Refit requested" in at.toast[0].value
    assert "The runner starts it within a minute" in told(page())


def test_without_a_runner_a_due_fit_comes_with_the_command_that_starts_one(fitted: fits.Fit) -> None:
    assert not page().code
    fits.request()
    at = page()
    assert any("no runner is running" in (item.proto.title or "") for item in at.warning)
    assert "-m runner" in at.code[0].value


def test_a_fit_that_failed_later_is_told_and_the_last_good_one_is_kept(
    fitted: fits.Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.knowledge.table.SHIPPED", tmp_path / "gone.parquet")
    assert fits.refit("classification") is None
    at = page()
    assert "failed: There is no result yet" in told(at)
    assert "24 datasets" in told(at)
    assert len(at.dataframe[0].value) == 24


def test_each_known_dataset_is_listed_with_what_the_advice_and_the_defaults_got(fitted: fits.Fit) -> None:
    at = page()
    table = at.dataframe[0].value.set_index("dataset")
    past = fits.load_selector(fitted).trust.past
    assert set(table.index) == set(past.index)
    assert list(table["regret"]) == sorted(table["regret"], reverse=True)
    errors = fits.load_selector(fitted).model.errors
    for name, row in table.iterrows():
        assert row["advice"] == past.loc[name, "advice"] == errors.loc[name, row["recommended"]]
        assert row["regret"] == pytest.approx(row["advice"] - errors.loc[name].min())
        assert row["saved"] == pytest.approx(past.loc[name, "sbs"] - past.loc[name, "advice"])
    assert set(table["metric"]) == {"1 - AUC"}
    curves = {line["name"]: line for line in figure(at, "curves")["data"]}
    assert set(curves) == {"Advice", "Safe default", "Plan of 3", "Fixed portfolio of 3"}


def test_predictions_for_known_datasets_cover_as_the_fit_says(fitted: fits.Fit) -> None:
    said = fits.held_out_predictions(fitted)
    assert np.isnan(said.loc[GAP, "actual"])
    known_ones = said.dropna(subset=["actual"])
    inside = known_ones["actual"].between(known_ones["lower"], known_ones["upper"]).mean()
    assert inside == pytest.approx(fits.load_selector(fitted).trust.coverage)
    numbers = metrics(page())
    assert (numbers["Nominal coverage"], numbers["Actual coverage"]) == ("90%", f"{inside:.0%}")


def test_the_heat_map_holds_every_error_and_leaves_a_gap_where_nothing_ran(fitted: fits.Fit) -> None:
    map_ = figure(page(tab="Errors"), "errors")["data"][0]
    names = [row[0][0] for row in map_["customdata"]]
    assert len(names) == 24
    errors = fits.load_selector(fitted).model.errors
    place = next(i for i, name in enumerate(names) if name.startswith("made 3<"))
    drawn = dict(zip(map_["x"], (cell[2] for cell in map_["customdata"][place]), strict=True))
    assert drawn["Linear"] == errors.loc["made 3", "Linear"]
    row = dict(zip(map_["x"], np.array(values(map_["z"]), float)[place], strict=True))
    assert np.isnan(row["SVM"])
    assert min(value for value in row.values() if value == value) == 0
    assert "<script" not in json.dumps(map_)


def test_the_heat_map_keeps_its_filters_in_the_link_and_draws_only_so_many_rows(
    fitted: fits.Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = page(tab="Errors", name="MADE 1")
    assert len(figure(at, "errors")["data"][0]["customdata"]) == 11  # 1, 10 to 19
    assert "No dataset matches" in told(page(tab="Errors", name="nothing like it"))
    at = page(tab="Errors", origin="Shipped")
    assert at.selectbox(key="origin").value == "Shipped"
    monkeypatch.setattr(error_map, "ROWS", 10)
    at = page(tab="Errors", rows="21 to 24")
    assert len(figure(at, "errors")["data"][0]["customdata"]) == 4


def test_all_errors_are_exported_with_where_they_come_from(fitted: fits.Fit) -> None:
    frame = pd.read_csv(io.StringIO(csv_export.csv_safe(error_map.table(selector_view.of(fitted))))).set_index(
        "dataset"
    )
    errors = fits.load_selector(fitted).model.errors
    assert len(frame) == 24
    assert set(frame["origin"]) == {"Shipped"}
    assert set(frame["error by"]) == {"1 - AUC"}
    pd.testing.assert_frame_equal(frame[list(errors.columns)].loc[errors.index], errors, check_names=False)


def test_the_map_shows_known_datasets_and_own_ones_that_have_not_run(fitted: fits.Fit, small: datasets.Dataset) -> None:
    at = page(tab="Map")
    groups = {trace["name"]: trace for trace in figure(at, "map")["data"]}
    assert set(groups) == {"Shipped"}
    assert len(groups["Shipped"]["text"]) == 24
    names = [row[1] for row in figure(at, "importance")["data"][0]["customdata"]]
    assert names == list(fits.load_selector(fitted).importance.index[: len(names)])
    metafeatures.get(small.id)
    groups = {trace["name"]: trace for trace in figure(page(tab="Map"), "map")["data"]}
    assert groups["Yours, no results yet"]["text"] == ["small"]
    assert groups["Yours, no results yet"]["marker"]["symbol"] == "circle-open"
    assert "Yours, no results yet" not in {
        trace["name"] for trace in figure(page(tab="Map", kind="regression"), "map")["data"]
    }


def test_the_learning_curve_is_drawn_where_there_is_one_and_fits_once_there_are_two(fitted: fits.Fit) -> None:
    at = page(tab="Learning")
    line = figure(at, "simulated")["data"][0]
    assert list(values(line["x"])) == list(fits.learning_curve("classification").index)
    assert "There has been one fit so far" in told(at)
    assert "This curve needs results on at least 15 datasets" in told(page(tab="Learning", kind="regression"))
    assert fits.refit("regression")
    line = figure(page(tab="Learning", kind="regression"), "as_it_was")["data"][0]
    assert len(line["x"]) == 2


@pytest.mark.slow
def test_fewer_than_ten_datasets_are_said_to_be_too_few_to_judge(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.knowledge.table.SHIPPED", ship(tmp_path / "knowledge.parquet", 5, 1))
    assert all(fits.refit(kind) for kind in knowledge.TASK_TYPES)
    at = page()
    assert "The advice can be evaluated on 10" in told(at)
    assert "Intervals appear once nine datasets" in told(at)
    for tab in ("Unseen datasets", "Errors", "Map", "Learning", "Track record"):
        at = page(kind="regression", tab=tab)
        assert metrics(at)["Advice"] == words.NONE, tab
        assert metrics(at)["Closed gap"] == words.NONE, tab
    assert "once a second dataset has results" in told(page(kind="regression"))


def test_the_track_record_tells_what_came_of_advice(fitted: fits.Fit, small: datasets.Dataset) -> None:
    assert "No dataset had advice before its first result yet" in told(page(tab="Track record"))
    given = advice.advise(small.id)
    at = page(tab="Track record")
    assert metrics(at)["Advice with outcome"] == "0"
    assert at.dataframe[0].value["hit"].tolist() == [words.NONE]
    jobs.submit(PortfolioSpec(dataset_id=small.id))
    job = jobs.claim("a runner")
    assert job is not None
    results.record(job, [trial(name, algorithm=name) for name in CANDIDATES])
    at = page(tab="Track record")
    row = at.dataframe[0].value.iloc[0]
    assert (row["dataset"], row["candidate"]) == ("small", given.ranking[0].candidate)
    assert row["regret"] == pytest.approx(row["actual"] - row["best"])
    numbers = metrics(at)
    assert numbers["Advice with outcome"] == "1"
    inside = given.ranking[0].lower <= row["actual"] <= given.ranking[0].upper
    assert row["hit"] == ("inside" if inside else "outside")
    assert numbers["Inside the interval"] == f"{int(inside)} of 1"
