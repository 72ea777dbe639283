"""The selector: what it learns, when it does not trust itself, and what it does with too little."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.advice import ranking, regret, trust
from core.advice.learning_curve import evaluate, regret_by_size
from core.advice.quantiles import fit_scale, numbers
from core.advice.selector import Selector
from core.errors import InputError

FEW = {"trees": 100, "plan_trees": 50}


def planted(n=80, seed=0, noise=0.02):
    """Three candidates, of which the sign of one meta-feature says which is good; the third is safe."""
    random = np.random.default_rng(seed)
    features = pd.DataFrame(random.normal(size=(n, 6)), columns=[f"f{place}" for place in range(6)])
    features.index = [f"d{place}" for place in range(n)]
    left = features["f2"] < 0
    errors = pd.DataFrame({"left": np.where(left, 0.1, 0.5), "right": np.where(left, 0.5, 0.1), "safe": 0.25})
    errors.index = features.index
    return features, errors + random.normal(scale=noise, size=errors.shape) + 0.05


def random_table(n=100, candidates=8, seed=0):
    """Errors that have nothing to do with the meta-features."""
    random = np.random.default_rng(seed)
    names = [f"d{place}" for place in range(n)]
    features = pd.DataFrame(random.normal(size=(n, 10)), names, [f"f{place}" for place in range(10)])
    return features, pd.DataFrame(random.random((n, candidates)), names, [f"c{place}" for place in range(candidates)])


@pytest.fixture(scope="module")
def fitted():
    features, errors = planted()
    return Selector(**FEW).fit(features, errors)


def test_it_learns_what_decides_and_says_so(fitted):
    new = pd.DataFrame(0.0, ["low", "high"], [f"f{place}" for place in range(6)]).assign(f2=[-1.5, 1.5])
    found = fitted.predict(new)
    assert list(found.columns) == ["error", "lower", "upper", "rank"]
    assert found.index.get_level_values("candidate")[[0, 3]].tolist() == ["left", "right"]
    assert found.loc["low", "rank"].tolist() == [1, 2, 3]
    assert found.loc[("low", "left"), "error"] == pytest.approx(0.15, abs=0.08)
    assert (found["lower"] < found["error"]).all()
    assert (found["error"] < found["upper"]).all()
    assert (found["lower"] >= 0).all()
    assert fitted.importance.index[0] == "f2"
    assert fitted.importance.sum() == pytest.approx(1)
    drivers = fitted.drivers(new)["low"]
    assert drivers.index[0] == "f2"
    assert drivers.iloc[0] < 0
    assert not fitted.falls_back
    assert fitted.sbs == "safe"
    assert "past datasets, each held out in turn, this advice was within 0.01 of the best" in fitted.reason


def test_trust_is_what_unseen_datasets_say(fitted):
    figures = fitted.trust.figures()
    assert figures.loc["advice", "regret"] < figures.loc["sbs", "regret"] / 2
    assert figures.loc["advice", "within"] > figures.loc["sbs", "within"]
    assert 0.8 <= fitted.trust.coverage <= 1
    past = fitted.trust.past
    assert (past.drop(columns="best").sub(past["best"], axis=0) >= 0).all(axis=None)


def test_advice_is_better_than_the_default_on_new_datasets(fitted):
    features, errors = planted(40, seed=1)
    found = evaluate(fitted, features, errors)
    gap = regret.closed_gap(found["advice"].mean(), found["sbs"].mean(), found["best"].mean())
    assert gap > 0.7
    assert list(found["sbs"]) == list(errors["safe"])


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


def test_the_trust_figures_are_of_selectors_that_had_not_seen_the_dataset():
    features, errors = random_table(40)
    held_out = []
    for best in ("c3", "c5"):
        errors.loc["d0"] = 0.5
        errors.loc["d0", best] = 0.0
        model = Selector(**FEW, seed=1).fit(features, errors).model
        held_out.append(model.choice.held_out_weights(model.scale.quantiles))
    assert held_out[0][0].tolist() == held_out[1][0].tolist()
    assert not np.allclose(held_out[0][1:], held_out[1][1:])


def test_versions_of_one_dataset_do_not_judge_one_another():
    features, errors = random_table(20, seed=3)
    twice = pd.concat([features, features.rename(index=lambda name: f"{name} again")])
    both = pd.concat([errors, errors.rename(index=lambda name: f"{name} again")])
    groups = pd.Series([*errors.index, *errors.index], both.index)
    alone, grouped = Selector(**FEW).fit(twice, both), Selector(**FEW).fit(twice, both, groups=groups)
    assert alone.trust.figures().loc["advice", "regret"] < 0.15  # each finds its twin
    assert grouped.trust.figures().loc["advice", "regret"] > 0.2


@pytest.mark.parametrize("seed", range(3))
def test_on_a_random_table_it_falls_back_or_does_no_harm(seed):
    features, errors = random_table(160, seed=seed)
    selector = Selector(trees=200, plan_trees=100).fit(features[:100], errors[:100])
    past = evaluate(selector, features[100:], errors[100:])
    gap = regret.closed_gap(past["advice"].mean(), past["sbs"].mean(), past["best"].mean())
    assert selector.falls_back
    assert gap == pytest.approx(0, abs=1e-9)
    assert selector.reason.endswith("no clear gain, so the default is recommended.")
    assert selector.predict(features[100:101]).index[0][1] == selector.sbs


def test_the_advice_is_cautious_unless_it_is_beyond_doubt(fitted):
    assert not fitted.model.cautious
    features, errors = planted(30, noise=0.4)
    selector = Selector(**FEW).fit(features, errors)
    assert selector.model.cautious
    assert not selector.trust.beyond_doubt


def test_a_cautious_ranking_bars_what_is_not_expected_to_beat_the_sbs_even_where_a_disaster_was_elsewhere():
    table = np.array([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3], [0.9, 0.2, 0.1]])  # the third dataset is unlike the new one
    alike, everyone, safe = np.array([[0.5, 0.5, 0.0]]), np.full(3, 1 / 3), np.array([1])
    assert ranking.bold(alike, table)[0].tolist() == [0, 1, 2]
    assert ranking.cautious(alike, everyone, table, safe)[0].tolist() == [0, 1, 2]
    table[2, 0] = 9.0
    assert ranking.bold(alike, table)[0].tolist() == [0, 1, 2]
    assert ranking.cautious(alike, everyone, table, safe)[0].tolist() == [1, 0, 2]


def test_save_load_predict_is_equal(fitted, tmp_path):
    features, _ = planted(5, seed=2)
    fitted.save(tmp_path / "selector.npz")
    loaded = Selector.load(tmp_path / "selector.npz")
    pd.testing.assert_frame_equal(loaded.predict(features), fitted.predict(features))
    pd.testing.assert_frame_equal(loaded.plan(features), fitted.plan(features))
    pd.testing.assert_frame_equal(loaded.trust.past, fitted.trust.past)
    assert (loaded.reason, loaded.sbs, loaded.trust.coverage) == (fitted.reason, fitted.sbs, fitted.trust.coverage)
    assert [path.name for path in tmp_path.iterdir()] == ["selector.npz"]


def test_a_file_that_is_no_selector_is_refused(fitted, tmp_path):
    fitted.save(tmp_path / "whole.npz")
    whole = (tmp_path / "whole.npz").read_bytes()
    np.savez(tmp_path / "pickle.npz", format=np.array([{}], dtype=object))
    np.savez(tmp_path / "old.npz", format=0)
    for name, content in (("half.npz", whole[: len(whole) // 2]), ("empty.npz", b""), ("text.npz", b"a,b")):
        (tmp_path / name).write_bytes(content)
    for name in ("half.npz", "empty.npz", "text.npz", "pickle.npz", "old.npz", "gone.npz"):
        with pytest.raises(InputError, match=rf"^{name} .* Refit it"):
            Selector.load(tmp_path / name)


def test_a_fitted_selector_predicts_without_scikit_learn(fitted, tmp_path):
    fitted.save(tmp_path / "selector.npz")
    planted(3)[0].to_parquet(tmp_path / "features.parquet")
    code = (
        "import sys\nfrom pathlib import Path\nimport pandas as pd\nfrom core.advice.selector import Selector\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "selector = Selector.load(folder / 'selector.npz')\nfeatures = pd.read_parquet(folder / 'features.parquet')\n"
        "assert len(selector.predict(features)) == 9 and selector.drivers(features)\n"
        "assert selector.similar_datasets(features)\n"
        "print(*sorted({'sklearn', 'scipy', 'torch', 'h2o'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[1]
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert (out.returncode, out.stdout.split()) == (0, []), out.stderr


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
    found = selector.predict(planted(2, seed=1)[0])
    assert found["error"].to_numpy()[:3] == pytest.approx(np.sort(errors.iloc[0]))
    assert found[["lower", "upper"]].isna().all(axis=None)
    assert selector.falls_back
    assert selector.reason == "Only 0 datasets have comparable results. The advice can be evaluated on 10."
    assert selector.trust.coverage is None
    assert selector.plan(features).iloc[0].tolist() == selector.portfolio()
    assert np.isfinite(selector.map()).all(axis=None)
    assert not selector.outliers(features * 1e6).any()


def test_few_datasets_fall_back_to_the_sbs():
    features, errors = planted(trust.MIN_DATASETS - 1)
    selector = Selector(**FEW).fit(features, errors)
    assert selector.falls_back
    assert selector.predict(features).index[0][1] == selector.sbs


def test_missing_runs_are_normal():
    features, errors = planted(120)
    gaps = errors.mask(np.random.default_rng(1).random(errors.shape) < 0.5)
    gaps["lucky"] = np.nan
    gaps.loc["d3", "lucky"] = 0.15
    gaps["never"] = np.nan
    gaps.loc["d4", "left"] = np.inf  # a failed run
    selector = Selector(**FEW).fit(features, gaps)
    new, actual = planted(40, seed=1)
    found = selector.predict(new)
    assert np.isfinite(found).all(axis=None)
    assert set(found.index.get_level_values("candidate")) == {"left", "right", "safe", "lucky"}
    past = evaluate(selector, new, actual)
    assert regret.closed_gap(*(past[name].mean() for name in ("advice", "sbs", "best"))) > 0.3


def test_equal_candidates_leave_no_gap_and_fall_back():
    features, _ = planted(30)
    errors = pd.DataFrame(0.3, features.index, ["a", "b"])
    selector = Selector(**FEW).fit(features, errors)
    past = evaluate(selector, features, errors)
    assert regret.closed_gap(*(past[name].mean() for name in ("advice", "sbs", "best"))) is None
    assert selector.falls_back
    assert selector.predict(features[:1])["error"].tolist() == pytest.approx([0.3, 0.3])


def test_missing_infinite_unknown_and_constant_meta_features_are_normal():
    features, errors = planted(60)
    features["empty"], features["constant"] = np.nan, 1.0
    features.loc["d1", "f2"], features.loc["d2", "f0"] = np.inf, np.nan
    selector = Selector(**FEW).fit(features.drop(index="d5"), errors)
    assert set(selector.importance.index) == {f"f{place}" for place in range(6)}
    new = pd.DataFrame({"f2": [-1.5, -np.inf], "other": 1.0}, ["few", "odd"])
    found = selector.predict(new)
    assert np.isfinite(found).all(axis=None)
    assert found.loc["few"].index[0] == "left"


def test_without_any_meta_feature_the_known_datasets_count_alike():
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


def test_a_dataset_unlike_any_seen_is_beyond_the_known_range(fitted):
    features, _ = planted()
    assert not fitted.outliers(features[:20]).any()
    far = pd.DataFrame({f"f{place}": [99.0 if place % 2 else -99.0] for place in range(6)})
    assert fitted.outliers(far).all()


def test_the_nearest_datasets_come_with_what_worked_there(fitted):
    features, errors = planted()
    near = fitted.similar_datasets(features.loc[["d4"]], 3)["d4"]
    assert near["dataset"].iloc[0] == "d4"
    assert near["distance"].tolist() == sorted(near["distance"])
    assert near["distance"].iloc[0] == 0
    assert near["candidate"].iloc[0] == errors.loc["d4"].idxmin()


def test_quantiles_do_not_mind_the_scale_of_a_meta_feature():
    features, _ = planted(20)
    plain, bent = (fit_scale(table, np.arange(20)) for table in (features, np.exp(3 * features)))
    assert bent.quantiles == pytest.approx(plain.quantiles)
    assert bent.transform(np.exp(3 * features)) == pytest.approx(plain.quantiles)
    assert plain.transform(features * 0 + 1e9) == pytest.approx(np.ones((20, 6)))
    assert numbers(features.assign(f0=["1.5"] * 20))["f0"].tolist() == [1.5] * 20


def test_the_map_puts_alike_datasets_together():
    random = np.random.default_rng(0)
    centre = np.repeat([0.0, 10.0], 20)[:, None]
    features = pd.DataFrame(centre + random.normal(size=(40, 5)), columns=list("abcde"))
    _, errors = random_table(40)
    points = Selector(**FEW).fit(features, errors.set_axis(features.index)).map()
    assert list(points.columns) == ["x", "y"]
    assert (np.sign(points["x"][:20]) == np.sign(points["x"][0])).all()
    assert (np.sign(points["x"][20:]) == -np.sign(points["x"][0])).all()


def test_the_learning_curve_falls_where_there_is_something_to_learn():
    features, errors = planted(60)
    curve = regret_by_size(features, errors, [0, 40], shipped=["d0", "d1", "d2"], repeats=1)
    assert list(curve.index) == [0, 40]
    assert curve.loc[40, "advice"] < curve.loc[0, "advice"] / 2
    assert curve.loc[40, "advice"] < curve.loc[40, "sbs"] / 2
    with pytest.raises(InputError, match="90 is more than the 40 datasets"):
        regret_by_size(features, errors, [90], shipped=["d0", "d1", "d2"], repeats=1)


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


def test_one_disaster_does_not_decide_whether_the_advice_is_followed():
    past = pd.DataFrame({"best": 0.0, "advice": [0.01, 0.02] * 20, "sbs": [0.03, 0.04] * 20, "advice_3": 0.0})
    past = past.assign(portfolio_3=0.0)
    past.loc[0, "advice"] = 0.9
    followed = trust.Trust(past, np.arange(40), 0.9)
    assert followed.gain("advice", "sbs")[0] < 0
    assert not followed.falls_back
    assert not followed.beyond_doubt
    assert followed.sentence("safe").endswith(": when the advice is wrong, it can cost much.")
