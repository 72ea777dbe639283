"""Scores and their intervals, against scikit-learn's metrics and known answers."""

import math

import numpy as np
import pytest
from sklearn import metrics as sk

from core.errors import InputError
from core.scoring import METRICS, check_metric, confusion, metrics_for, resample, residuals, score, values


def _rows(n, k, seed=0, decimals=2):
    """Probabilities that are better than chance, rounded so that many tie."""
    random = np.random.default_rng(seed)
    actual = random.integers(0, k, n)
    raw = random.random((n, k)) + 0.5 * np.eye(k)[actual]
    raw = np.round(raw, decimals)
    return actual, raw / raw.sum(axis=1, keepdims=True)


def _sklearn(actual, predicted, k):
    auc = (
        sk.roc_auc_score(actual, predicted[:, 1])
        if k == 2
        else sk.roc_auc_score(actual, predicted, multi_class="ovr", labels=range(k))
    )
    return {
        "auc": auc,
        "accuracy": sk.accuracy_score(actual, predicted.argmax(axis=1)),
        "balanced_accuracy": sk.balanced_accuracy_score(actual, predicted.argmax(axis=1)),
        "log_loss": sk.log_loss(actual, predicted, labels=range(k)),
    }


def _by_name(scores):
    return {item.metric: item for item in scores}


@pytest.mark.parametrize(("task", "k"), [("binary", 2), ("multiclass", 5)])
def test_class_scores_equal_scikit_learn_on_the_same_rows(task, k):
    valid, test = _rows(300, k, seed=1), _rows(400, k, seed=2)
    scores = _by_name(score(task, [str(i) for i in range(k)], valid, test))
    assert tuple(scores) == metrics_for(task)
    for name, item in scores.items():
        assert item.valid == pytest.approx(_sklearn(*valid, k)[name], abs=1e-12)
        assert item.test == pytest.approx(_sklearn(*test, k)[name], abs=1e-12)
        assert item.test_error == pytest.approx(METRICS[name].error(item.test))
        assert item.lower < item.test < item.upper


def test_regression_scores_equal_scikit_learn_on_the_same_rows():
    random = np.random.default_rng(0)
    actual = 1e6 + random.normal(size=500)
    predicted = actual + random.normal(scale=0.3, size=500)
    scores = _by_name(score("regression", (), (actual, predicted), (actual, predicted)))
    assert scores["rmse"].test == pytest.approx(sk.root_mean_squared_error(actual, predicted))
    assert scores["mae"].test == pytest.approx(sk.mean_absolute_error(actual, predicted))
    assert scores["r2"].test == pytest.approx(sk.r2_score(actual, predicted), abs=1e-9)
    assert all(item.lower < item.test < item.upper for item in scores.values())


@pytest.mark.parametrize(("task", "k"), [("binary", 2), ("multiclass", 4)])
def test_a_bootstrap_replicate_equals_scikit_learn_on_the_rows_that_it_drew(task, k):
    actual, predicted = _rows(200, k, decimals=1)
    weights = resample(np.random.default_rng(3), 20, 200)
    assert (weights.sum(axis=1) == 200).all()
    result = values(task, k, (actual, predicted), weights)
    for number in range(20):
        sample = np.repeat(np.arange(200), weights[number])
        for name, value in _sklearn(actual[sample], predicted[sample], k).items():
            assert result[name][number] == pytest.approx(value, abs=1e-12)


def test_a_regression_replicate_equals_scikit_learn_on_the_rows_that_it_drew():
    random = np.random.default_rng(0)
    actual, predicted = random.normal(size=(2, 50))
    weights = resample(random, 10, 50)
    result = values("regression", 0, (actual, predicted), weights)
    for number in range(10):
        sample = np.repeat(np.arange(50), weights[number])
        assert result["r2"][number] == pytest.approx(sk.r2_score(actual[sample], predicted[sample]))
        assert result["rmse"][number] == pytest.approx(sk.root_mean_squared_error(actual[sample], predicted[sample]))


def test_blocks_of_replicates_make_no_difference(monkeypatch):
    rows = _rows(301, 3)
    whole = score("multiclass", "abc", rows, rows)
    monkeypatch.setattr("core.scoring._BLOCK_CELLS", 7 * 301)
    for one, other in zip(whole, score("multiclass", "abc", rows, rows), strict=True):
        assert (one.lower, one.upper) == pytest.approx((other.lower, other.upper), abs=1e-12)


@pytest.mark.parametrize(("cells", "size"), [(1, 50), (120 * 300 * 3 + 5, 120), (10**9, 200)])
def test_many_rows_and_classes_are_drawn_less_often_but_50_times_at_least(monkeypatch, cells, size):
    monkeypatch.setattr("core.scoring._BOOTSTRAP_CELLS", cells)
    rows = _rows(300, 3)
    replicates = values("multiclass", 3, rows, resample(np.random.default_rng(1), size, 300))
    for item in score("multiclass", "abc", rows, rows):
        assert (item.lower, item.upper) == pytest.approx(tuple(np.percentile(replicates[item.metric], [2.5, 97.5])))


def test_the_interval_covers_the_true_accuracy_of_about_19_in_20_samples():
    covered, runs = 0, 200
    for seed in range(runs):
        random = np.random.default_rng(seed)
        actual = random.integers(0, 2, 300)
        chosen = np.where(random.random(300) < 0.8, actual, 1 - actual)
        rows = (actual, np.eye(2)[chosen])
        item = _by_name(score("binary", "ab", rows, rows, seed=seed))["accuracy"]
        covered += item.lower <= 0.8 <= item.upper
    assert 0.89 <= covered / runs <= 0.99


def test_the_same_probabilities_for_all_rows_have_an_auc_of_one_half():
    actual = np.array([0, 0, 1, 0, 1])
    scores = _by_name(score("binary", "ab", (actual, np.full((5, 2), 0.5)), (actual, np.full((5, 2), 0.5))))
    assert scores["auc"].test == 0.5
    assert scores["accuracy"].test == 0.6
    assert scores["balanced_accuracy"].test == 0.5
    assert scores["log_loss"].test == pytest.approx(math.log(2))


def test_the_same_number_for_all_rows_has_an_r2_of_zero():
    actual = np.array([1.0, 2.0, 6.0])
    item = _by_name(score("regression", (), (actual, np.full(3, 3.0)), (actual, np.full(3, 3.0))))["r2"]
    assert item.test == pytest.approx(0.0)


def test_a_constant_actual_has_an_r2_of_one_if_right_and_zero_if_wrong():
    ones = np.ones(4)
    assert _by_name(score("regression", (), (ones, ones), (ones, ones + 1)))["r2"].valid == 1.0
    assert _by_name(score("regression", (), (ones, ones), (ones, ones + 1)))["r2"].test == 0.0


def test_a_class_that_the_test_rows_lack_is_left_out_of_the_means():
    actual, predicted = _rows(90, 3)
    kept = actual != 2
    scores = _by_name(score("multiclass", "abc", (actual, predicted), (actual[kept], predicted[kept])))
    each = [sk.roc_auc_score(actual[kept] == k, predicted[kept][:, k]) for k in (0, 1)]
    assert scores["auc"].test == pytest.approx(np.mean(each))
    right = predicted[kept].argmax(axis=1) == actual[kept]
    recalls = [right[actual[kept] == k].mean() for k in (0, 1)]
    assert scores["balanced_accuracy"].test == pytest.approx(np.mean(recalls))


def test_one_row_scores_what_it_defines_and_nan_for_the_rest():
    one = (np.array([1]), np.array([[0.25, 0.75]]))
    scores = _by_name(score("binary", "ab", one, one))
    assert math.isnan(scores["auc"].test)
    assert math.isnan(scores["auc"].lower)
    assert scores["accuracy"].test == scores["accuracy"].lower == 1.0
    assert scores["log_loss"].test == pytest.approx(-math.log(0.75))
    number = (np.array([2.0]), np.array([5.0]))
    scores = _by_name(score("regression", (), number, number))
    assert scores["rmse"].upper == 3.0
    assert math.isnan(scores["r2"].test)


def test_a_certain_and_wrong_probability_costs_the_clipped_log_loss():
    rows = (np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]]))
    expected = -(math.log(1e-15) + math.log(1 - 1e-15)) / 2
    assert _by_name(score("binary", "ab", rows, rows))["log_loss"].test == pytest.approx(expected)


def test_predictions_that_are_not_finite_are_refused():
    rows = (np.array([1.0, 2.0]), np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="finite"):
        score("regression", (), rows, rows)


def test_the_confusion_matrix_counts_actual_by_predicted():
    predicted = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
    assert confusion(("no", "yes"), np.array([0, 0, 1]), predicted) == {
        "labels": ["no", "yes"],
        "counts": [[1, 1], [0, 1]],
    }


def test_residuals_keep_pairs_together_and_are_limited():
    actual = np.arange(2000.0)
    result = residuals(actual, actual * 2, limit=100)
    assert len(result["actual"]) == 100
    assert result["predicted"] == [2 * value for value in result["actual"]]
    assert residuals(actual[:5], actual[:5])["actual"] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_a_metric_that_the_task_does_not_define_is_refused_with_its_name_and_the_allowed_ones():
    assert check_metric("regression", None) == "rmse"
    assert check_metric("binary", "accuracy") == "accuracy"
    text = r"metric: 'rmse' is not defined for a multiclass target\. Use one of log_loss"
    with pytest.raises(InputError, match=text):
        check_metric("multiclass", "rmse")
