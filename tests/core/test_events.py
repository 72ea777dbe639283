"""Events as lines of JSON."""

from __future__ import annotations

import math
from typing import get_args

from core import events
from core.events import (
    Adapted,
    Architecture,
    Artifact,
    Environment,
    Evaluation,
    Event,
    Initialised,
    Landmarkers,
    Message,
    Metric,
    PolicyPoint,
    Progress,
    Score,
    TrialDone,
)


def test_every_kind_of_event_is_the_same_after_json() -> None:
    score = Score("auc", 0.9, 0.8, 0.7, 0.85, 0.1, 0.2)
    rows: list[Event] = [
        Progress(0.25, "fitting", 12.5),
        Message("a line\nbreak and ünicode 🎈", "warning"),
        Metric("loss", 0.5, 3, "m1"),
        TrialDone("m1", "GBM", "auc", (score,), 1.0, 1e-6, 123, None, True, {"depth": 3}, {"curve": {"x": [1]}}),
        Artifact("model.zip", "/tmp/model.zip", "mojo", "m1"),
        Environment({"packages": {"h2o": "3"}}),
        Architecture("cnn(1)", [{"name": "Head", "detail": "linear", "out": "10"}]),
        PolicyPoint("width", "16", 0.25, 8, "supernet"),
        Landmarkers({"landmark_tree": 0.75}),
        Initialised("/tmp/start.safetensors", "MAML", "conv4", 5, 1, 123, {"kind": "image", "classes": ["a"]}),
        Evaluation("MAML", "conv4", 5, 1, "inductive", "accuracy", 0.5, 0.4, 0.3, 0.5, 1000, 0.25),
        Adapted({"initialisation": 7, "steps": []}),
    ]
    assert {type(event) for event in rows} == set(get_args(Event))
    for event in rows:
        line = events.to_json(event, 12.5)
        assert "\n" not in line
        assert events.from_json(line) == (event, 12.5)


def test_a_number_that_json_cannot_hold_becomes_nan() -> None:
    trial = TrialDone("m", "GLM", "auc", (Score("auc", 0.5, math.nan, 0, 1, 0.5, math.inf),), 1.0, math.nan)
    back, _ = events.from_json(events.to_json(trial, 0.0))
    assert isinstance(back, TrialDone)
    assert math.isnan(back.scores[0].test)
    assert math.isnan(back.scores[0].test_error)
    assert math.isnan(back.predict_row_s)
    assert back.scores[0].valid == 0.5


def test_a_missing_optional_number_stays_none() -> None:
    back, _ = events.from_json(events.to_json(Progress(0.1, "x"), 0.0))
    assert back == Progress(0.1, "x", None)
