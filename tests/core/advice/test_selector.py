"""What a selector predicts, plans and says of new datasets."""

import numpy as np
import pandas as pd
import pytest

from core import knowledge
from core.advice.selector import Selector
from core.errors import InputError
from tests.core.advice.error_tables import FEW, planted


def test_it_learns_what_decides_and_says_so(selector):
    new = pd.DataFrame(0.0, ["low", "high"], [f"f{place}" for place in range(6)]).assign(f2=[-1.5, 1.5])
    predictions = selector.predict(new)
    assert list(predictions.columns) == ["error", "lower", "upper", "rank"]
    assert predictions.index.get_level_values("candidate")[[0, 3]].tolist() == ["left", "right"]
    assert predictions.loc["low", "rank"].tolist() == [1, 2, 3]
    assert predictions.loc[("low", "left"), "error"] == pytest.approx(0.15, abs=0.08)
    assert (predictions["lower"] < predictions["error"]).all()
    assert (predictions["error"] < predictions["upper"]).all()
    assert (predictions["lower"] >= 0).all()
    assert selector.importance.index[0] == "f2"
    assert selector.importance.sum() == pytest.approx(1)
    drivers = selector.drivers(new)["low"]
    assert drivers.index[0] == "f2"
    assert drivers.iloc[0] < 0
    assert not selector.falls_back
    assert selector.sbs == "safe"
    assert "past datasets, each held out in turn: the advice came within 0.01 of the best" in selector.reason


def test_a_plan_takes_candidates_that_complement_each_other():
    random = np.random.default_rng(0)
    features = pd.DataFrame({"f": random.normal(size=60)})
    coin = random.random(60) < 0.5
    errors = pd.DataFrame({"heads": np.where(coin, 0.1, 0.6), "alike": np.where(coin, 0.12, 0.61)})
    errors = errors.assign(tails=np.where(coin, 0.7, 0.1), middle=0.5)
    selector = Selector(**FEW).fit(features, errors)
    assert set(selector.plan(features[:3], 2).iloc[0]) == {"heads", "tails"}
    assert set(selector.portfolio(2)) == {"heads", "tails"}
    assert selector.plan(features[:3], 9).shape == (3, 4)
    assert selector.plan(features[:3], 1)[0].tolist() == [
        selector.predict(features[:3]).loc[name].index[0] for name in range(3)
    ]


def test_a_held_out_dataset_never_reaches_the_advice_on_it():
    features, errors = planted(50)
    test, known = ["d7", "d9"], [name for name in errors.index if name not in ("d7", "d9")]
    corrupt = errors.copy()
    corrupt.loc[test] = [[0.0, 9.0, 9.0], [9.0, 9.0, 0.0]]
    clean, leaky = (Selector(**FEW).fit(features.loc[known], table.loc[known]) for table in (errors, corrupt))
    pd.testing.assert_frame_equal(clean.predict(features.loc[test]), leaky.predict(features.loc[test]))


@pytest.fixture(scope="module")
def known(sample_file):
    """The meta-features and errors of the sample knowledge, and a selector fitted on them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.knowledge.table.SHIPPED", sample_file)
        table = knowledge.from_shipped_file("classification")
    return table, Selector(trees=100, plan_trees=40).fit(table.features, table.errors)


def test_the_selector_answers_for_a_known_dataset_as_if_it_were_held_out(known):
    table, selector = known
    row = table.features.loc[["task 0"]]
    as_known = selector.predict(row)
    as_new = selector.predict(row.rename({"task 0": "new"}))
    assert as_known.loc["task 0", "error"].tolist() != as_new.loc["new", "error"].tolist()
    weights = selector._weights(row)
    assert weights[0, list(table.errors.index).index("task 0")] == 0
    assert weights.sum() == pytest.approx(1)


def test_the_ranking_and_the_plan_can_be_of_some_candidates_only(known):
    table, selector = known
    row = table.features.loc[["task 0"]].rename({"task 0": "new"})
    some = selector.predict(row, among=["SVM", "Baseline"])
    assert list(some.loc["new"].index) == ["SVM", "Baseline"]
    every = selector.predict(row)
    assert some.loc[("new", "SVM"), "error"] == every.loc[("new", "SVM"), "error"]
    assert set(selector.plan(row, 2, among=["SVM", "Baseline"]).loc["new"]) == {"SVM", "Baseline"}
    with pytest.raises(InputError, match="There is no result of magic"):
        selector.predict(row, among=["magic"])
