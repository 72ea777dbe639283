"""Two trials side by side."""

from __future__ import annotations

from core import datasets, results
from tests.pages.apptest import fine, opened, shown
from tests.pages.filled import Filled


def test_two_trials_stand_side_by_side_and_the_link_keeps_them(filled: Filled) -> None:
    other = filled.finalist - 1
    at = fine(opened("compare", dataset="digits_images", left=str(filled.finalist), right=str(other)))
    assert list(at.dataframe[0].value.columns) == ["Name", f"Trial {filled.finalist}", f"Trial {other}"]
    rows = at.dataframe[0].value.set_index("Name")
    assert list(rows.loc["Parameters"]) == ["5,211", "5,210"]
    assert len(at.get("plotly_chart")) == 2
    at.selectbox(key="right").set_value(str(filled.finalist)).run()
    assert "two different" in fine(at).info[0].value
    assert at.query_params["right"] in (str(filled.finalist), [str(filled.finalist)])


def test_a_link_to_one_trial_compares_it_with_the_best_other(filled: Filled) -> None:
    second = results.leaderboard(filled.binary)["trial_id"].iloc[1]
    at = fine(opened("compare", dataset=str(filled.binary), left=str(second)))
    assert at.selectbox(key="left").value == str(second)
    assert at.selectbox(key="right").value == str(results.leaderboard(filled.binary)["trial_id"].iloc[0])
    assert not at.get("plotly_chart")


def test_a_trial_that_the_link_misnames_is_named(filled: Filled) -> None:
    at = fine(opened("compare", dataset="digits_images", left="*x*"))
    assert "asks for trial *x*" in shown(at.warning[0].value)


def test_a_dataset_without_trials_offers_a_job(dataset: datasets.Dataset) -> None:
    at = fine(opened("compare", dataset=dataset.name))
    assert any("A comparison needs two trials" in item.value for item in at.markdown)
