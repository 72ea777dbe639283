"""The forest as weights: against scikit-learn's own trees, and what held-out means."""

import numpy as np
import pytest
from sklearn.tree import ExtraTreeRegressor

from core.advice import forest


@pytest.fixture(scope="module")
def known():
    random = np.random.default_rng(0)
    inputs = random.random((60, 5))
    return inputs, np.column_stack([inputs[:, 0] > 0.5, inputs[:, 1]]).astype(float)


def test_the_weighted_mean_of_the_targets_is_the_mean_of_scikit_learn_s_trees(known, monkeypatch):
    inputs, targets = known
    grown, targets_of_trees = [], []
    fit = ExtraTreeRegressor.fit

    def watched(tree, *data, **options):
        grown.append(fit(tree, *data, **options))
        targets_of_trees.append(data[1])
        return tree

    monkeypatch.setattr(ExtraTreeRegressor, "fit", watched)
    trees = forest.grow(inputs, [(targets, 2)], np.zeros(60, int), trees=7)
    new = np.random.default_rng(1).random((9, 5)).astype(np.float32)
    predicted = np.mean([tree.predict(new).reshape(9, -1) for tree in grown], axis=0)
    assert trees.weights(new) @ targets_of_trees[0] == pytest.approx(predicted)


def test_weights_sum_to_1_and_lie_on_alike_rows(known):
    inputs, targets = known
    weights = forest.grow(inputs, [(targets, 2)], np.arange(60), trees=100).weights(
        np.array([[0.9, 0.5, 0.5, 0.5, 0.5]])
    )
    assert weights.sum() == pytest.approx(1)
    assert weights[0, inputs[:, 0] > 0.5].sum() > 2 * weights[0, inputs[:, 0] <= 0.5].sum()


def test_a_held_out_row_and_its_group_have_no_weight_in_their_own_answer(known):
    inputs, targets = known
    groups = np.arange(60) // 3
    weights = forest.grow(inputs, [(targets, 1)], groups, trees=50).held_out_weights(inputs)
    assert weights.sum(axis=1) == pytest.approx(np.ones(60))
    assert weights[groups[:, None] == groups[None, :]].max() == 0


def test_contributions_sum_to_the_answer_and_name_the_feature_that_counts(known):
    inputs, targets = known
    grown = forest.grow(inputs, [(targets, 2), (targets[:, :1], 1)], np.zeros(60, int), trees=50)
    row = np.array([0.9, 0.5, 0.5, 0.5, 0.5])
    contributions = grown.contributions(row, targets[:, 0], np.ones(60))
    assert contributions.sum() == pytest.approx((grown.weights(row[None]) @ targets[:, 0])[0] - targets[:, 0].mean())
    assert np.abs(contributions).argmax() == 0
    counts = np.arange(1.0, 61.0)
    weights = grown.weights(row[None])[0] * counts
    answer, mean = np.average(targets[:, 0], weights=weights), np.average(targets[:, 0], weights=counts)
    assert grown.contributions(row, targets[:, 0], counts).sum() == pytest.approx(answer - mean)
    assert set(np.argsort(grown.importance)[-2:]) == {0, 1}


def test_one_row_and_no_feature_are_a_forest_too():
    lonely = forest.grow(np.zeros((1, 2)), [(np.ones((1, 3)), 1)], np.zeros(1, int), trees=3)
    assert lonely.weights(np.ones((2, 2))) == pytest.approx(np.ones((2, 1)))
    blind = forest.grow(np.zeros((4, 0)), [(np.arange(4.0)[:, None], 1)], np.arange(4), trees=3)
    assert blind.weights(np.zeros((1, 0))).sum() == pytest.approx(1)
