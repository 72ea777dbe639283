"""SBS, VBS, regret, closed gap, portfolio and coverage, against answers known by hand."""

import numpy as np
import pandas as pd
import pytest

from core.advice import regret
from core.errors import InputError


@pytest.fixture
def errors():
    return pd.DataFrame({"a": [0.1, 0.5, 0.3], "b": [0.2, 0.2, 0.4], "c": [0.4, 0.1, 0.1]}, ["x", "y", "z"])


def test_the_sbs_has_the_lowest_mean_and_the_vbs_each_dataset_s_lowest_error(errors):
    assert regret.sbs(errors) == "c"  # means 0.3, 0.267, 0.2
    assert list(regret.vbs(errors)) == [0.1, 0.1, 0.1]


def test_regret_is_the_error_above_the_vbs(errors):
    regrets = regret.regret(errors, pd.Series(["b", "c", "a"], errors.index))
    assert list(regrets) == pytest.approx([0.1, 0.0, 0.2])
    with pytest.raises(InputError, match="'d' is not in the table"):
        regret.regret(errors, pd.Series("d", errors.index))


def test_closed_gap_is_1_for_the_vbs_0_for_the_sbs_and_below_0_for_harm():
    assert regret.closed_gap(0.1, 0.2, 0.1) == 1
    assert regret.closed_gap(0.2, 0.2, 0.1) == 0
    assert regret.closed_gap(0.25, 0.2, 0.1) == pytest.approx(-0.5)


def test_the_closed_gap_is_undefined_where_all_candidates_are_equal():
    assert regret.closed_gap(0.2, 0.2, 0.2) is None
    assert regret.closed_gap(0.3, 0.1 + 0.2, 0.3) is None


def test_the_sbs_is_never_better_than_the_vbs():
    random = np.random.default_rng(0)
    for _ in range(50):
        errors = pd.DataFrame(random.random((7, 5))).mask(random.random((7, 5)) < 0.3)
        errors.columns = list("abcde")
        errors = errors.dropna(how="all")
        single = regret.regret(errors, pd.Series(regret.sbs(errors), errors.index))
        assert (single.dropna() >= 0).all()


def test_the_portfolio_takes_what_complements_the_first():
    errors = pd.DataFrame({"good": [0.2, 0.2, 0.2], "alike": [0.21, 0.2, 0.2], "other": [0.9, 0.9, 0.0]})
    assert regret.portfolio(errors, 1) == ["good"]
    assert regret.portfolio(errors, 2) == ["good", "other"]
    assert regret.portfolio(errors, 9) == ["good", "other", "alike"]


def test_a_candidate_with_one_lucky_result_does_not_lead():
    errors = pd.DataFrame({"steady": [0.1, 0.5, 0.6], "usual": [0.2, 0.6, 0.7], "lucky": [0.15, np.nan, np.nan]})
    assert regret.sbs(errors) == "steady"
    assert errors.mean().idxmin() == "lucky"


def test_a_missing_run_is_filled_by_its_dataset_and_its_candidate():
    table = np.array([[0.1, 0.3, 0.2], [0.5, 0.7, 0.6], [0.3, np.nan, 0.4]])
    full = regret.fill(table)
    assert full[2, 1] == pytest.approx(0.5, abs=0.02)
    assert full[~np.isnan(table)] == pytest.approx(table[~np.isnan(table)])


def test_a_missing_run_is_filled_by_what_like_datasets_say():
    table = np.array([[0.1, 0.5], [0.1, 0.5], [0.1, np.nan], [0.5, 0.1], [0.5, 0.1], [np.nan, 0.1]])
    alike = np.kron(np.eye(2), np.ones((3, 3))) - np.eye(6)
    full = regret.fill_locally(table, alike / alike.sum(axis=1, keepdims=True))
    assert full[2, 1] > 0.4
    assert full[5, 0] > 0.4
    assert regret.fill(table)[2, 1] < 0.2
    assert full[~np.isnan(table)] == pytest.approx(table[~np.isnan(table)])


def test_without_any_result_there_is_no_sbs():
    for empty in (pd.DataFrame({"a": [np.nan]}), pd.DataFrame(), pd.DataFrame({"a": []})):
        with pytest.raises(InputError, match="no result yet"):
            regret.sbs(empty)


def test_a_choice_without_a_result_is_passed_over(errors):
    errors.loc["x", "a"] = np.nan
    orders = pd.DataFrame([["a", "c", "b"]] * 3, errors.index)
    assert list(regret.best_of_first(errors, orders)) == [0.4, 0.5, 0.3]
    assert list(regret.best_of_first(errors, orders, 2)) == [0.2, 0.1, 0.1]
    assert np.isnan(regret.best_of_first(errors * np.nan, orders)).all()


def test_coverage_counts_the_known_values_within_their_interval():
    actual, low, high = np.array([1.0, 2.0, 3.0, np.nan]), np.zeros(4), np.array([1.0, 1.0, np.inf, 1.0])
    assert regret.coverage(actual, low, high) == pytest.approx(2 / 3)
    assert regret.coverage(actual[3:], low[3:], high[3:]) is None


def test_a_dataset_of_weight_3_counts_as_three_like_it():
    table = np.random.default_rng(0).random((5, 4))
    table[1, 2] = table[3, 0] = np.nan
    weights = np.array([1.0, 3.0, 1.0, 2.0, 1.0])
    few, many = pd.DataFrame(table), pd.DataFrame(np.repeat(table, weights.astype(int), axis=0))
    assert regret.deviations(table, weights)[1] == pytest.approx(regret.deviations(many.to_numpy())[1])
    assert regret.safe_order(few, weights).tolist() == regret.safe_order(many).tolist()
    assert regret.portfolio(few, 3, weights) == regret.portfolio(many, 3)
    assert regret.fill(table, weights)[3, 0] == pytest.approx(regret.fill(many.to_numpy())[5, 0])
    alike = np.full((5, 5), 0.25) - 0.25 * np.eye(5)
    assert not np.allclose(regret.fill_locally(table, alike, weights), regret.fill_locally(table, alike))
