from __future__ import annotations

import math

from core import events
from core.events import Artifact, Environment, Message, Metric, Progress, Score, TrialDone


def test_every_kind_of_event_survives_the_way_through_a_line_of_json() -> None:
    score = Score("auc", 0.9, 0.8, 0.7, 0.85, 0.1, 0.2)
    for event in (
        Progress(0.25, "fitting", 12.5),
        Message("a line\nbreak and ünicode 🎈", "warning"),
        Metric("loss", 0.5, 3, "m1"),
        TrialDone("m1", "GBM", "auc", (score,), 1.0, 1e-6, 123, None, True, {"depth": 3}, {"curve": {"x": [1]}}),
        Artifact("model.zip", "/tmp/model.zip", "mojo", "m1"),
        Environment({"packages": {"h2o": "3"}}),
    ):
        line = events.to_json(event, 12.5)
        assert "\n" not in line
        assert events.from_json(line) == (event, 12.5)


def test_a_number_that_json_has_no_word_for_comes_back_as_nan() -> None:
    trial = TrialDone("m", "GLM", "auc", (Score("auc", 0.5, math.nan, 0, 1, 0.5, math.inf),), 1.0, math.nan)
    back, _ = events.from_json(events.to_json(trial, 0.0))
    assert isinstance(back, TrialDone)
    assert math.isnan(back.scores[0].test)
    assert math.isnan(back.scores[0].test_error)
    assert math.isnan(back.predict_row_s)
    assert back.scores[0].valid == 0.5


def test_an_absent_optional_number_stays_none() -> None:
    back, _ = events.from_json(events.to_json(Progress(0.1, "x"), 0.0))
    assert back == Progress(0.1, "x", None)
