"""The rows of the kinds of job."""

from core import kinds


def test_candidates_are_named_by_their_engine() -> None:
    assert kinds.of_candidate("H2O GBM") == (kinds.of("automl"), "GBM")
    assert kinds.of_candidate("NAS ResidualMLP") == (kinds.of("nas"), "ResidualMLP")
    assert kinds.of_candidate("RandomForest") == (kinds.of("portfolio"), "RandomForest")
    assert kinds.of_candidate("weka.J48") is None
