"""The results of a network search: its candidates, their networks, and its policy."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from core import datasets, results, specs
from core.events import Metric, PolicyPoint
from core.queue import jobs
from core.store import database
from pages.parts.results import policy_charts, search_candidates
from tests.pages.apptest import figure, fine, opened, shown
from tests.pages.filled import OPTIONS, Filled


@pytest.fixture
def running(dataset: datasets.Dataset) -> jobs.Job:
    """A search that has just begun."""
    jobs.submit(specs.NASSpec(dataset_id=dataset.id))
    job = jobs.claim("a runner")
    assert job is not None
    return job


def test_candidates_are_read_with_their_last_rung(running: jobs.Job) -> None:
    reported = [
        *(Metric("n_parameters", size, 0, name) for name, size in (("a", 10.0), ("b", 20.0), ("c", 5.0), ("d", 7.0))),
        *(Metric("flops", 100.0, 0, name) for name in "ab"),
        *(Metric("valid_error", error, 2, name) for name, error in (("a", 0.1), ("b", 0.4), ("c", math.nan))),
        Metric("valid_error", 0.3, 6, "b"),
        Metric("best_valid", 0.9, 3),
        Metric("loss", 0.0, 99, "a"),
    ]
    results.record(running, reported)
    frame = results.candidates(running.id)
    assert list(frame["candidate"]) == ["b", "a", "c", "d"]
    assert list(frame["epochs"]) == [6, 2, 2, 0]
    assert list(frame["valid_error"])[:2] == [0.3, 0.1]
    assert frame["valid_error"].isna().tolist() == [False, False, True, True]
    assert list(frame["n_parameters"]) == [20, 10, 5, 7]
    assert frame["flops"].isna().tolist() == [False, False, True, True]


def test_an_attempt_is_shown_until_the_next_one_reports(running: jobs.Job) -> None:
    results.record(running, [Metric("valid_error", 0.1, 2, "lost")])
    jobs.requeue(running, "the runner was gone")
    job = jobs.claim("another runner")
    assert job is not None
    assert list(results.candidates(job.id)["candidate"]) == ["lost"]
    results.record(job, [Metric("valid_error", 0.2, 1, "found")])
    assert list(results.candidates(job.id)["candidate"]) == ["found"]


def test_candidates_are_found_among_a_million_metrics(running: jobs.Job) -> None:
    results.record(running, [Metric("valid_error", 0.25, 4, "mine")])
    with database.transaction(write=True) as connection:
        connection.execute(
            "INSERT INTO metrics SELECT ? + i % 2, 1, 'candidate ' || (i // 200), 'valid_error', i % 100,"
            " i % 100 / 100, 0 FROM range(1000000) r(i)",
            [running.id],
        )
    frame = results.candidates(running.id)
    assert len(frame) == 5_001
    assert set(frame["epochs"]) == {98, 4}
    assert frame["valid_error"].iloc[0] == 0.98


def test_survivors_are_those_trained_for_so_long_or_longer(filled: Filled) -> None:
    reached = search_candidates.survivors(results.candidates(filled.searched))
    assert reached.to_dict() == {1: 48, 3: 16, 9: 5}


def test_the_candidates_of_a_search_are_listed_and_drawn(filled: Filled) -> None:
    at = fine(opened("job", job=str(filled.searched), tab="Candidates"))
    assert any("48 networks proposed, 48 trained" in caption.value for caption in at.caption)
    frame = at.dataframe[0].value
    assert len(frame) == 48
    assert list(frame["epochs"]) == sorted(frame["epochs"], reverse=True)
    body = figure(at, "candidates_by_size")
    assert [trace["name"] for trace in body["data"]] == ["Candidates", "Pareto front"]
    assert body["layout"]["xaxis"]["type"] == "log"
    assert figure(at, "survivors")["data"][0]["text"] == ["48", "16", "5"]


@pytest.mark.parametrize(
    "reported",
    [[Metric("n_parameters", 100.0, 0, "a")], [Metric("valid_error", math.nan, 1, "a")],
     [Metric("valid_error", 0.5, 1, "a")]],
)  # fmt: skip
def test_a_search_that_has_hardly_begun_is_drawn_as_far_as_it_is(running: jobs.Job, reported: list[Metric]) -> None:
    told = fine(opened("job", job=str(running.id), tab="Candidates")).info[0].value
    assert told == "The first candidates appear here once they have been trained for a while."
    results.record(running, reported)
    at = fine(opened("job", job=str(running.id), tab="Candidates"))
    assert len(at.dataframe[0].value) == 1


def test_the_error_of_candidates_is_named_and_one_network_is_no_networks(home: Path) -> None:
    dataset = datasets.add_sample("diabetes")
    job_id = jobs.submit(specs.NASSpec(dataset_id=dataset.id))
    job = jobs.claim("a runner")
    assert job is not None
    results.record(job, [Metric("valid_error", 54.321, 1, "a"), Metric("n_parameters", 100.0, 0, "a")])
    at = fine(opened("job", job=str(job_id), tab="Candidates"))
    said = "1 network proposed, 1 trained. Lowest validation RMSE: 54.32."
    assert said in [caption.value for caption in at.caption]
    assert figure(at, "candidates_by_size")["layout"]["yaxis"]["title"]["text"] == "Validation RMSE"


def test_a_candidate_leads_to_its_trial(filled: Filled) -> None:
    at = fine(opened("job", job=str(filled.searched), tab="Candidates"))
    frame = at.dataframe[0].value.set_index("candidate")
    trials = results.trials_of(filled.searched).set_index("candidate")["trial_id"]
    assert dict(frame["trial"].dropna()) == {name: f"Trial {trial_id}" for name, trial_id in trials.items()}
    assert frame["latency"].iloc[0] == pytest.approx(frame["n_parameters"].iloc[0] * 2e-4)
    assert any("Lowest validation error rate: 0.0" in caption.value for caption in at.caption)


def test_any_two_candidates_are_drawn_side_by_side_and_the_link_keeps_them(filled: Filled) -> None:
    names = results.candidates(filled.searched)["candidate"]
    at = fine(opened("job", job=str(filled.searched), tab="Networks"))
    assert at.selectbox(key="network").value == names[0]
    assert len(at.get("plotly_chart")) == 1
    at.selectbox(key="beside").set_value(names[47]).run()
    fine(at)
    assert len(at.get("plotly_chart")) == 2
    facts = at.dataframe[0].value.set_index("")
    assert list(facts.columns) == ["Candidate", "Compared with"]
    assert list(facts.loc["Epochs"]) == ["9", "1"]
    texts = [note.get("text", "") for note in figure(at, "network_1")["layout"]["annotations"]]
    assert sum("<b>" in text for text in texts) == len(results.architecture(filled.searched, names[47]))
    finalist = results.trials_of(filled.searched)["candidate"][0]
    pair = fine(opened("job", job=str(filled.searched), tab="Networks", network=names[47], beside=finalist))
    links = {link.proto.label: link.proto.disabled for link in pair.page_link if "trial" in link.proto.label.lower()}
    assert list(links.values()) == [True, False], "both drawings have a line above them"
    linked = fine(opened("job", job=str(filled.searched), tab="Networks", network=names[5], beside=names[7]))
    assert [box.value for box in linked.selectbox] == [names[5], names[7]]
    wrong = opened("job", job=str(filled.searched), tab="Networks", network="*no*")
    assert not wrong.exception
    assert "asks for network *no*" in shown(wrong.warning[0].value)


def test_the_policy_of_a_strategy_that_has_one_is_drawn_by_decision(filled: Filled) -> None:
    at = fine(opened("job", job=str(filled.paused), tab="Policy"))
    assert len(at.get("plotly_chart")) == len(OPTIONS)
    body = figure(at, "policy_width")["data"][0]
    assert body["y"] == list(OPTIONS["width"])
    assert body["x"] == ["8", "16", "24", "32", "40", "48"]
    assert "Policy" not in [tab.label for tab in opened("job", job=str(filled.searched)).tabs]


def test_the_policy_of_a_gradient_search_is_drawn_by_the_steps_of_its_supernet(dataset: datasets.Dataset) -> None:
    job_id = jobs.submit(specs.NASSpec(dataset_id=dataset.id, strategy="gradient"))
    job = jobs.claim("a runner")
    assert job is not None
    told = [PolicyPoint("residual", o, (n + 1) / 4, 50 * n, "supernet") for n in (0, 1, 2) for o in ("no", "yes")]
    results.record(job, [*told, PolicyPoint("residual", "no", 0.9, 8)])
    at = fine(opened("job", job=str(job_id), tab="Policy"))
    assert figure(at, "policy_residual")["data"][0]["x"] == ["0", "50", "100"]
    assert figure(at, "policy_residual")["layout"]["xaxis"]["title"]["text"] == "Steps of the supernet"


def test_a_long_policy_keeps_its_first_and_its_last_step() -> None:
    frame = pd.DataFrame({"decision": "d", "option": "o", "step": range(500), "probability": 0.5})
    steps = list(policy_charts.grid(frame).columns)
    assert len(steps) == policy_charts.STEPS
    assert (steps[0], steps[-1]) == (0, 499)


def test_only_a_search_has_candidates(filled: Filled) -> None:
    assert "Candidates" in [tab.label for tab in opened("job", job=str(filled.searched)).tabs]
    assert "Candidates" not in [tab.label for tab in opened("job", job=str(filled.succeeded)).tabs]
