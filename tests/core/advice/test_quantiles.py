"""Meta-features as quantiles: scale, distance, the map."""

import numpy as np
import pandas as pd
import pytest

from core.advice.quantiles import fit_scale, numbers
from core.advice.selector import Selector
from tests.core.advice.error_tables import FEW, planted, random_table


def test_a_dataset_unlike_any_known_one_is_an_outlier(selector):
    features, _ = planted()
    assert not selector.outliers(features[:20]).any()
    far = pd.DataFrame({f"f{place}": [99.0 if place % 2 else -99.0] for place in range(6)})
    assert selector.outliers(far).all()


def test_the_nearest_datasets_come_with_what_worked_there(selector):
    features, errors = planted()
    near = selector.similar_datasets(features.loc[["d4"]], 3)["d4"]
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


def test_the_map_puts_similar_datasets_together():
    random = np.random.default_rng(0)
    centre = np.repeat([0.0, 10.0], 20)[:, None]
    features = pd.DataFrame(centre + random.normal(size=(40, 5)), columns=list("abcde"))
    _, errors = random_table(40)
    points = Selector(**FEW).fit(features, errors.set_axis(features.index)).map()
    assert list(points.columns) == ["x", "y"]
    assert (np.sign(points["x"][:20]) == np.sign(points["x"][0])).all()
    assert (np.sign(points["x"][20:]) == -np.sign(points["x"][0])).all()
