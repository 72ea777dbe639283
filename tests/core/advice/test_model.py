"""What a selector makes of tables with gaps, odd meta-features, few datasets, weights, and of bad ones."""

import numpy as np
import pandas as pd
import pytest

from core.advice import regret
from core.advice.learning_curve import evaluate
from core.advice.selector import Selector
from core.errors import InputError
from tests.core.advice.error_tables import FEW, planted


def test_nothing_known_is_said():
    with pytest.raises(InputError, match="no result yet"):
        Selector().fit(pd.DataFrame(), pd.DataFrame())
    with pytest.raises(InputError, match="no result yet"):
        Selector().fit(*(table * np.nan for table in planted(5)))
    with pytest.raises(InputError, match="Fit it on past results first"):
        Selector().predict(planted(5)[0])


def test_a_single_dataset_is_advice_without_trust_or_interval():
    features, errors = planted(1)
    selector = Selector(**FEW).fit(features, errors)
    predictions = selector.predict(planted(2, seed=1)[0])
    assert predictions["error"].to_numpy()[:3] == pytest.approx(np.sort(errors.iloc[0]))
    assert predictions[["lower", "upper"]].isna().all(axis=None)
    assert selector.falls_back
    assert selector.reason == "Only 0 datasets have comparable results. The advice can be evaluated on 10."
    assert selector.trust.coverage is None
    assert selector.plan(features).iloc[0].tolist() == selector.portfolio()
    assert np.isfinite(selector.map()).all(axis=None)
    assert not selector.outliers(features * 1e6).any()


def test_missing_runs_are_normal():
    features, errors = planted(120)
    gaps = errors.mask(np.random.default_rng(1).random(errors.shape) < 0.5)
    gaps["lucky"] = np.nan
    gaps.loc["d3", "lucky"] = 0.15
    gaps["never"] = np.nan
    gaps.loc["d4", "left"] = np.inf  # a failed run
    selector = Selector(**FEW).fit(features, gaps)
    new, actual = planted(40, seed=1)
    predictions = selector.predict(new)
    assert np.isfinite(predictions).all(axis=None)
    assert set(predictions.index.get_level_values("candidate")) == {"left", "right", "safe", "lucky"}
    past = evaluate(selector, new, actual)
    assert regret.closed_gap(*(past[name].mean() for name in ("advice", "sbs", "best"))) > 0.3


def test_missing_infinite_unknown_and_constant_meta_features_are_normal():
    features, errors = planted(60)
    features["empty"], features["constant"] = np.nan, 1.0
    features.loc["d1", "f2"], features.loc["d2", "f0"] = np.inf, np.nan
    selector = Selector(**FEW).fit(features.drop(index="d5"), errors)
    assert set(selector.importance.index) == {f"f{place}" for place in range(6)}
    new = pd.DataFrame({"f2": [-1.5, -np.inf], "other": 1.0}, ["few", "odd"])
    predictions = selector.predict(new)
    assert np.isfinite(predictions).all(axis=None)
    assert predictions.loc["few"].index[0] == "left"


def test_without_any_meta_feature_the_known_datasets_count_equally():
    _, errors = planted(30)
    selector = Selector(**FEW).fit(pd.DataFrame(index=errors.index), errors)
    new = pd.DataFrame(index=["new"])
    assert selector.predict(new)["error"].sort_index().tolist() == pytest.approx(errors.mean().tolist())
    assert selector.drivers(new)["new"].empty


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda features, errors: (features, pd.concat([errors, errors[:1]])), "dataset: 'd0' occurs twice"),
        (lambda features, errors: (features, errors.assign(x=1).rename(columns={"x": "safe"})), "candidate: 'safe'"),
        (lambda features, errors: (pd.concat([features, features[:1]]), errors), "dataset: 'd0' occurs twice"),
        (lambda features, errors: (features.assign(f0="many"), errors), "meta-feature 'f0': 'many' is not a number"),
    ],
)
def test_bad_tables_are_refused_with_the_value(change, message):
    with pytest.raises(InputError, match=message):
        Selector(**FEW).fit(*change(*planted(12)))


def test_two_fits_with_one_seed_are_equal():
    features, errors = planted(30)
    first, second = (Selector(**FEW, seed=4).fit(features, errors).predict(features) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)


def two_camps(n=40):
    """Nothing tells the datasets apart; `ours` is good on the last quarter of them, `theirs` on the others."""
    names = [f"d{place}" for place in range(n)]
    mine = pd.Series(np.arange(n) >= 3 * n // 4, names)
    errors = pd.DataFrame({"theirs": np.where(mine, 0.5, 0.1), "ours": np.where(mine, 0.1, 0.5), "other": 0.6}, names)
    return pd.DataFrame(index=names), errors, mine


def test_a_dataset_that_counts_more_decides_the_advice_and_the_defaults(tmp_path):
    features, errors, mine = two_camps()
    errors.loc[["d0", "d39"], "ours"] = np.nan
    plain = Selector(**FEW).fit(features, errors)
    heavy = Selector(**FEW).fit(features, errors, weights=mine.map({True: 20.0, False: 1.0}))
    new = pd.DataFrame(index=["new"])
    for selector, first in ((plain, "theirs"), (heavy, "ours")):
        assert selector.sbs == first
        assert selector.portfolio(1) == [first]
        assert selector.plan(new, 2).iloc[0, 0] == first
        assert selector.predict(new)["error"].idxmin() == ("new", first)
    assert heavy.model.table[0, 1] < plain.model.table[0, 1]
    heavy.save(tmp_path / "selector.npz")
    pd.testing.assert_frame_equal(Selector.load(tmp_path / "selector.npz").predict(new), heavy.predict(new))


def test_weights_of_1_change_nothing_and_a_dataset_without_a_weight_has_it():
    features, errors = planted(30, noise=0.2)
    errors = errors.mask(np.random.default_rng(0).random(errors.shape) < 0.2)
    new, _ = planted(10, seed=1)
    plain = Selector(**FEW).fit(features, errors)
    for weights in (pd.Series(1.0, errors.index), pd.Series({"d3": 1, "elsewhere": 7})):
        same = Selector(**FEW).fit(features, errors, weights=weights)
        pd.testing.assert_frame_equal(same.predict(new), plain.predict(new), check_exact=True)
        pd.testing.assert_frame_equal(same.plan(new), plain.plan(new))
        pd.testing.assert_frame_equal(same.trust.past, plain.trust.past, check_exact=True)
        pd.testing.assert_series_equal(same.drivers(new)["d0"], plain.drivers(new)["d0"], check_exact=True)
        assert (same.reason, same.sbs, same.portfolio()) == (plain.reason, plain.sbs, plain.portfolio())


@pytest.mark.parametrize("weight", [0.0, -2.0, np.inf])
def test_a_weight_that_is_not_above_0_is_refused(weight):
    features, errors = planted(12)
    with pytest.raises(InputError, match=rf"weight of dataset 'd3': {weight} is not allowed. Give a number above 0"):
        Selector(**FEW).fit(features, errors, weights=pd.Series({"d3": weight}))
