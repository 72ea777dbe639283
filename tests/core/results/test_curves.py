"""The candidates, layers and policy of a search."""

from __future__ import annotations

import numpy as np

from core import results
from core.events import Architecture, Metric, PolicyPoint
from core.queue import jobs
from core.queue.jobs import Job
from tests.engines import trial


def test_the_layers_of_a_candidate_outlive_its_attempt(job: Job) -> None:
    layers = [{"name": "Head", "detail": "linear", "out": "2"}]
    results.record(job, [Architecture("a", layers), Architecture("b", [])])
    assert results.architecture(job.id, "a") == layers
    assert results.architecture(job.id, "c") == []
    jobs.requeue(job, "killed")
    again = jobs.claim("w")
    assert again is not None
    results.record(again, [Architecture("a", [*layers, {"name": "New"}])])
    assert results.architecture(job.id, "a")[-1] == {"name": "New"}
    assert results.architecture(job.id, "b") == []


def test_a_policy_is_read_in_the_order_of_its_events(job: Job) -> None:
    points = [("width", "16", 0.25), ("width", "8", 0.75), ("a = b", "c", 1.0)]
    results.record(job, [PolicyPoint(name, option, value, 8) for name, option, value in points])
    results.record(job, [PolicyPoint("width", "16", 0.5, 16), PolicyPoint("width", "8", 0.1, 9, "supernet")])
    frame = results.policy(job.id)
    assert list(frame.itertuples(index=False, name=None)) == [
        ("width", "16", 8, 0.25), ("width", "8", 8, 0.75), ("a = b", "c", 8, 1.0), ("width", "16", 16, 0.5)
    ]  # fmt: skip
    assert results.candidates(job.id).empty


def test_a_candidate_knows_its_trial(job: Job) -> None:
    results.record(
        job, [Metric("valid_error", n / 10, 1, name) for n, name in enumerate(("a", "a b", "long, and more", "none"))]
    )
    results.record(job, [trial("a"), trial("a b"), trial("long, and more")])
    ids = dict(zip(results.trials_of(job.id).candidate, results.trials_of(job.id).trial_id, strict=True))
    frame = results.candidates(job.id).set_index("candidate").trial_id
    assert (frame["a"], frame["a b"], frame["long, and more"]) == (ids["a"], ids["a b"], ids["long, and more"])
    assert np.isnan(frame["none"])
