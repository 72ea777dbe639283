"""How the regret falls as results accumulate."""

import pytest

from core.advice.learning_curve import regret_by_size
from core.errors import InputError
from tests.core.advice.error_tables import planted


def test_the_learning_curve_falls_where_there_is_something_to_learn():
    features, errors = planted(60)
    curve = regret_by_size(features, errors, [0, 40], shipped=["d0", "d1", "d2"], repeats=1)
    assert list(curve.index) == [0, 40]
    assert curve.loc[40, "advice"] < curve.loc[0, "advice"] / 2
    assert curve.loc[40, "advice"] < curve.loc[40, "sbs"] / 2
    with pytest.raises(InputError, match="90 is more than the 40 datasets"):
        regret_by_size(features, errors, [90], shipped=["d0", "d1", "d2"], repeats=1)
