"""The pages of a network search: its form, its candidates, a finalist with its files, and two trials compared."""

from __future__ import annotations

import io
import json
import math
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from PIL import Image
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from core import datasets, kinds, results, specs
from core.events import Message, Metric, PolicyPoint
from core.queue import jobs, runners
from core.results import downloads
from core.store import database
from pages.parts import network_drawing
from pages.parts.forms import nas_form
from pages.parts.results import policy_charts, search_candidates
from tests import browser
from tests.filled import ARCHITECTURE, ODD, OPTIONS, Filled
from tests.test_browser import page, site
from tests.test_pages import filled, fine, fresh, opened, prepared, shown

__all__ = ["filled", "fresh", "page", "prepared", "site"]  # fixtures
AUTOML, NAS, PORTFOLIO = (kinds.label(kind) for kind in ("automl", "nas", "portfolio"))


@pytest.fixture
def running(dataset: datasets.Dataset) -> jobs.Job:
    """A search that has just begun."""
    jobs.submit(specs.NASSpec(dataset_id=dataset.id))
    job = jobs.claim("a runner")
    assert job is not None
    return job


def engine(at: AppTest) -> Any:
    """The engine that the page shows as chosen."""
    return at.get_by_key("engine").value


def figure(at: AppTest, key: str) -> dict[str, Any]:
    """The chart of that key."""
    [found] = [item for item in at.get("plotly_chart") if key in item.proto.id]
    return json.loads(found.proto.spec)


# The form


def test_the_search_form_submits_what_was_given(filled: Filled) -> None:
    at = fine(opened("new_job", dataset="digits_images"))
    at.number_input(key="budget_s_nas").set_value(300)
    at.number_input(key="max_candidates_nas").set_value(200)
    at.selectbox(key="strategy_nas").set_value("evolution")
    at.number_input(key="finalists_nas").set_value(2)
    at.number_input(key="epochs_nas").set_value(12)
    at.number_input(key="max_parameters_nas").set_value(50_000)
    at.number_input(key="max_latency_ms_nas").set_value(2.5)
    at.number_input(key="max_candidate_epochs_nas").set_value(900)
    at.selectbox(key=f"continues_nas_{filled.images}").set_value(filled.searched)
    at.selectbox(key=f"metric_nas_{filled.images}").set_value("accuracy")
    at.number_input(key="cpus_nas").set_value(1)
    at.number_input(key="seed_nas").set_value(42)
    at.number_input(key="priority_nas").set_value(-3)
    at.text_input(key="note_nas").set_value(ODD)
    at.button(key="submit").click().run()
    fine(at)
    row = jobs.overview(limit=1, dataset_id=filled.images, statuses=("queued",)).iloc[0]
    assert f"Job {row['id']} is queued" in at.success[0].value
    assert (row["kind"], row["priority"]) == ("nas", -3)
    assert jobs.get(int(row["id"])).spec == specs.NASSpec(
        dataset_id=filled.images, budget_s=300, max_candidates=200, strategy="evolution", finalists=2, epochs=12,
        max_parameters=50_000, max_latency_s=0.0025, max_candidate_epochs=900, continues=filled.searched,
        metric="accuracy", cpus=1, seed=42, note=ODD,
    )  # fmt: skip


def test_fields_left_empty_leave_it_to_the_search(filled: Filled) -> None:
    at = fine(opened("new_job", dataset="breast_cancer", engine="nas"))
    assert engine(at) == NAS
    at.button(key="submit").click().run()
    fine(at)
    spec = jobs.get(int(jobs.overview(limit=1, statuses=("queued",)).iloc[-1]["id"]) + 1).spec
    assert spec == specs.NASSpec(dataset_id=filled.binary, metric="auc")


def test_a_wish_that_cannot_be_is_told_and_not_queued(filled: Filled) -> None:
    before = sum(jobs.counts().values())
    at = fine(opened("new_job", dataset="digits_images"))
    at.number_input(key="max_candidates_nas").set_value(4)
    at.number_input(key="finalists_nas").set_value(9)
    at.button(key="submit").click().run()
    assert not at.exception
    assert "9 finalists are more than the 4 candidates" in shown(at.error[0].value)
    assert sum(jobs.counts().values()) == before


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("budget_s_nas", 5, "Time budget, seconds: Input should be greater than or equal to 10 (given: 5)"),
        ("max_latency_ms_nas", -1.0, "Maximum latency: Input should be greater than 0"),
        ("max_candidate_epochs_nas", 0, "Maximum candidate-epochs: Input should be greater than or equal to 1"),
        ("cpus_nas", 1_000, "CPU threads: Input should be less than or equal to 256 (given: 1000)"),
        ("seed_nas", -1, "Seed: Input should be greater than or equal to 0"),
        ("priority_nas", 500, "Priority: 500 is out of range"),
    ],
)
def test_a_number_out_of_range_is_told_with_its_name_and_not_queued(
    filled: Filled, key: str, value: float, said: str
) -> None:
    before = sum(jobs.counts().values())
    at = fine(opened("new_job", dataset="digits_images"))
    at.number_input(key=key).set_value(value)
    at.button(key="submit").click().run()
    assert not at.exception
    assert said in shown(at.error[0].value)
    assert sum(jobs.counts().values()) == before


def test_every_strategy_has_a_name_in_the_form(filled: Filled) -> None:
    assert set(nas_form.STRATEGIES) == set(specs.NAS_STRATEGIES)


def test_the_dataset_preselects_the_engine(filled: Filled) -> None:
    at = fine(opened("new_job", dataset="breast_cancer"))
    assert engine(at) == AUTOML
    assert at.number_input(key="max_models")
    at.selectbox(key="dataset").set_value("digits_images").run()
    assert engine(fine(at)) == NAS
    assert any("1,797 images" in caption.value for caption in at.caption)
    at.selectbox(key="dataset").set_value("diabetes").run()
    assert engine(fine(at)) == NAS


@pytest.mark.parametrize("way", ["link", "click"])
def test_automl_on_images_is_refused_with_a_sentence(filled: Filled, way: str) -> None:
    if way == "link":
        at = fine(opened("new_job", dataset="digits_images", engine="automl"))
    else:
        at = fine(opened("new_job", dataset="digits_images"))
        at.get_by_key("engine").set_value(AUTOML).run()
    told = (
        "H2O AutoML does not take this data: digits_images holds images. Choose Neural architecture search, "
        "Portfolio or Few-shot meta-training."
    )
    assert shown(fine(at).warning[0].value) == told
    assert not at.button
    at.get_by_key("engine").set_value(NAS).run()
    assert fine(at).button(key="submit")


def test_texts_are_for_the_search_alone(home: Path, tmp_path: Path) -> None:
    words = ["red", "green", "blue", "large", "small", "old", "new", "fast", "slow", "warm", "cold"]
    lines = [f"the {words[i % 11]} thing number {i} is {words[i * 7 % 11]},{'ab'[i % 2]}" for i in range(200)]
    path = tmp_path / "texts.csv"
    path.write_text("\n".join(["said,kind", *lines]))
    dataset = datasets.register(path, name="texts", target="kind", types={"said": "text"})
    assert dataset.modality == "text"
    at = fine(opened("new_job", dataset="texts"))
    assert engine(at) == NAS
    assert any("200 texts" in caption.value for caption in at.caption)
    at.get_by_key("engine").set_value(AUTOML).run()
    assert "texts holds only texts" in shown(fine(at).warning[0].value)


@pytest.mark.parametrize(("slots", "offered"), [("0", ["CPU"]), ("1", ["CPU", "GPU"])])
def test_a_gpu_is_offered_where_there_is_one(
    filled: Filled, monkeypatch: pytest.MonkeyPatch, slots: str, offered: list[str]
) -> None:
    monkeypatch.setenv("METASCOUT_GPU_SLOTS", slots)
    at = fine(opened("new_job", dataset="digits_images"))
    assert at.selectbox(key="gpus_nas").options == offered
    assert at.selectbox(key="gpus_nas").value == 0


def test_the_runner_s_word_on_gpus_counts_more_than_this_machine_s(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METASCOUT_GPU_SLOTS", "1")
    runners.heartbeat("a runner", {"cpu_slots": 4, "gpu_slots": 0})
    at = fine(opened("new_job", dataset="digits_images"))
    assert at.selectbox(key="gpus_nas").options == ["CPU"]
    assert at.number_input(key="cpus_nas").help == "The job waits until this many are free. The runner has 4."


def test_a_cloned_search_keeps_its_gpu_on_a_machine_without_one(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METASCOUT_GPU_SLOTS", "0")
    spec = specs.NASSpec(dataset_id=filled.binary, gpus=1, strategy="local", epochs=7)
    job_id = jobs.submit(spec, priority=2)
    at = opened("job", job=str(job_id))
    at.button(key="clone").click().run()
    fine(at)
    assert (at.selectbox(key="dataset").value, engine(at)) == ("breast_cancer", NAS)
    mark = f"_nas_{job_id}"
    assert at.selectbox(key=f"gpus{mark}").value == 1
    assert at.selectbox(key=f"strategy{mark}").value == "local"
    assert at.number_input(key=f"epochs{mark}").value == 7
    assert at.number_input(key=f"max_parameters{mark}").value is None
    assert at.number_input(key=f"priority{mark}").value == 2


# Candidates


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
    said = "1 network proposed, 1 trained. The lowest RMSE on valid so far is 54.32."
    assert said in [caption.value for caption in at.caption]
    assert figure(at, "candidates_by_size")["layout"]["yaxis"]["title"]["text"] == "RMSE on valid"


def test_a_curve_of_one_point_has_a_scale_that_tells_its_value(running: jobs.Job) -> None:
    results.record(running, [Metric("best_valid", 0.9, 8)])
    body = figure(fine(opened("job", job=str(running.id), tab="Progress")), "curve")
    assert body["data"][0]["text"] == ["0.9000"]
    assert body["layout"]["xaxis"]["range"] == pytest.approx([0, 8.8])
    assert body["layout"]["yaxis"]["range"] == pytest.approx([0.81, 0.99])


def test_warnings_stand_at_the_top_of_a_job_once_it_has_ended(running: jobs.Job) -> None:
    told = [Message(f"{ODD} number {n}", "warning") for n in (1, 2, 3, 4, 5, 5)]
    results.record(running, [Message("not worth a warning"), *told])
    [dead] = fine(opened("job", job=str(running.id))).warning
    assert "No runner is alive" in dead.value
    jobs.finish(running, "succeeded")
    [banner] = fine(opened("job", job=str(running.id))).warning
    lines = shown(banner.value).splitlines()
    assert [line.rpartition("number ")[2] for line in lines[:3]] == ["5", "4", "3"]
    assert lines[0].startswith(f"- {ODD}")
    assert lines[3:] == ["- 2 more in the log"]


def test_a_candidate_leads_to_its_trial(filled: Filled) -> None:
    at = fine(opened("job", job=str(filled.searched), tab="Candidates"))
    frame = at.dataframe[0].value.set_index("candidate")
    trials = results.trials_of(filled.searched).set_index("candidate")["trial_id"]
    assert dict(frame["trial"].dropna()) == {name: f"Trial {trial_id}" for name, trial_id in trials.items()}
    assert frame["latency"].iloc[0] == pytest.approx(frame["n_parameters"].iloc[0] * 2e-4)
    assert any("The lowest error rate on valid so far is 0.0" in caption.value for caption in at.caption)


def test_any_two_candidates_are_drawn_side_by_side_and_the_link_keeps_them(filled: Filled) -> None:
    names = results.candidates(filled.searched)["candidate"]
    at = fine(opened("job", job=str(filled.searched), tab="Networks"))
    assert at.selectbox(key="network").value == names[0]
    assert len(at.get("plotly_chart")) == 1
    at.selectbox(key="beside").set_value(names[47]).run()
    fine(at)
    assert len(at.get("plotly_chart")) == 2
    facts = at.dataframe[0].value.set_index("")
    assert list(facts.columns) == ["Candidate", "Beside it"]
    assert list(facts.loc["Trained for, epochs"]) == ["9", "1"]
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


# Pause, resume, more time


def test_a_running_search_is_asked_to_pause_and_says_so(running: jobs.Job) -> None:
    at = fine(opened("job", job=str(running.id)))
    at.button(key="pause").click().run()
    fine(at)
    assert jobs.pause_requests() == {running.id}
    assert at.button(key="pause").disabled
    assert "will pause" in at.toast[0].value
    jobs.finish(running, "paused")
    st.cache_data.clear()
    at.run()
    fine(at)
    assert [button.key for button in at.button] == ["resume", "cancel", "clone"]


def test_a_paused_search_is_resumed(filled: Filled) -> None:
    at = fine(opened("job", job=str(filled.paused)))
    at.button(key="resume").click().run()
    fine(at)
    assert jobs.get(filled.paused).status == "queued"
    assert len(results.candidates(filled.paused)) == 48
    assert at.button(key="pause")


def test_a_paused_search_is_resumed_with_a_larger_budget(filled: Filled) -> None:
    at = fine(opened("job", job=str(filled.paused), more="1"))
    at.number_input(key=f"more_s_{filled.paused}").set_value(100_000)
    at.button(key="go_on").click().run()
    assert not at.exception
    assert "less than or equal to 86400 (given: 100120)" in shown(at.error[0].value)
    assert jobs.get(filled.paused).status == "paused"
    at.number_input(key=f"more_s_{filled.paused}").set_value(60)
    at.button(key="go_on").click().run()
    fine(at)
    spec = jobs.get(filled.paused).spec
    assert isinstance(spec, specs.NASSpec)
    assert (jobs.get(filled.paused).status, spec.budget_s, spec.max_candidates) == ("queued", 180, 64)


def test_more_time_for_an_ended_search_makes_a_job_and_both_link_to_each_other(filled: Filled) -> None:
    at = fine(opened("job", job=str(filled.searched), more="1"))
    at.number_input(key=f"more_candidates_{filled.searched}").set_value(32)
    at.button(key="go_on").click().run()
    fine(at)
    new = filled.queued + 1
    assert at.title[0].value == f"Job {new}"
    spec = jobs.get(new).spec
    assert isinstance(spec, specs.NASSpec)
    assert (spec.continues, spec.max_candidates, spec.budget_s) == (filled.searched, 32, 120)
    assert f"Continues job {filled.searched}" in [link.proto.label for link in at.page_link]
    back = fine(opened("job", job=str(filled.searched)))
    assert f"Continued by job {new}" in [link.proto.label for link in back.page_link]


def test_a_job_of_automl_offers_no_pause(filled: Filled) -> None:
    assert "pause" not in [button.key for button in opened("job", job=str(filled.running)).button]
    frame = fine(opened("job_list", jobs_dataset="breast_cancer")).dataframe[0].value
    assert not [text for offered in frame["actions"] for text in offered if "Pause" in text or "More time" in text]


def test_the_jobs_page_offers_what_fits_the_state(filled: Filled) -> None:
    at = fine(opened("job_list", state="Paused"))
    [offered] = at.dataframe[0].value["actions"]
    assert [text.partition(": ")[2].partition(" job")[0] for text in offered] == [
        "Resume", "More time for", "Cancel", "Clone and edit"
    ]  # fmt: skip
    assert {metric.label: metric.value for metric in opened("home").metric}["Paused jobs"] == "1"


def test_only_a_search_has_candidates(filled: Filled) -> None:
    assert "Candidates" in [tab.label for tab in opened("job", job=str(filled.searched)).tabs]
    assert "Candidates" not in [tab.label for tab in opened("job", job=str(filled.succeeded)).tabs]


def test_the_spec_of_a_search_is_told_in_words(filled: Filled) -> None:
    at = fine(opened("job", job=str(filled.searched), tab="Spec"))
    rows = dict(at.dataframe[0].value.itertuples(index=False))
    assert rows["Time budget"] == "2 min 0 s"
    assert rows["Finalist epochs"] == "As the budget allows"
    assert rows["Maximum parameters"] == "No limit"
    assert "Memory" not in rows


# A finalist


def test_a_finalist_shows_its_network_and_offers_its_files(filled: Filled) -> None:
    at = fine(opened("trial", trial=str(filled.finalist)))
    values = {metric.label: metric.value for metric in at.metric}
    assert values["Parameters"] == "5,211"
    assert values["FLOPs, a row"] == "512 k"
    body = figure(at, "architecture")
    texts = [note.get("text", "") for note in body["layout"]["annotations"]]
    assert sum("<b>" in text for text in texts) == len(ARCHITECTURE)
    assert "8x8x16" in texts
    assert not any("<script" in text for text in texts)
    assert "bundle" in {button.key for button in at.get("download_button")}
    assert f"unzip digits_images_trial_{filled.finalist}.zip" in at.code[0].value
    assert "python predict.py images/ predictions.csv" in at.code[0].value


def test_the_bundle_of_a_finalist_holds_its_own_model_and_the_script(filled: Filled) -> None:
    trial = results.trial(filled.finalist)
    path = downloads.bundle_trial(trial)
    assert path is not None
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        assert set(archive.namelist()) == {"model.onnx", "model.py", "weights.pt", "predict.py", "README.txt"}
        assert archive.read("weights.pt").startswith(f"weights.pt of {trial.candidate}".encode())


def test_a_trial_without_a_model_has_no_bundle(filled: Filled) -> None:
    trial = results.trial(filled.yardstick)
    assert len(trial.artifacts)
    assert downloads.bundle_trial(trial) is None


def test_a_deep_network_is_drawn_as_far_as_it_fits(filled: Filled) -> None:
    def deep() -> None:
        from pages.parts import network_drawing

        network_drawing.draw([{"name": f"Layer {i}"} for i in range(100)], key="deep")

    at = fine(AppTest.from_function(deep).run())
    assert at.caption[0].value == f"The first {network_drawing.LAYERS} of 100 layers"


# Two trials


def test_two_trials_stand_side_by_side_and_the_link_keeps_them(filled: Filled) -> None:
    other = filled.finalist - 1
    at = fine(opened("compare", dataset="digits_images", left=str(filled.finalist), right=str(other)))
    assert list(at.dataframe[0].value.columns) == ["Name", f"Trial {filled.finalist}", f"Trial {other}"]
    rows = at.dataframe[0].value.set_index("Name")
    assert list(rows.loc["Parameters"]) == ["5,211", "5,210"]
    assert len(at.get("plotly_chart")) == 2
    at.selectbox(key="right").set_value(str(filled.finalist)).run()
    assert "two different" in fine(at).info[0].value
    assert at.query_params["right"] in (str(filled.finalist), [str(filled.finalist)])


def test_a_link_to_one_trial_compares_it_with_the_best_other(filled: Filled) -> None:
    second = results.leaderboard(filled.binary)["trial_id"].iloc[1]
    at = fine(opened("compare", dataset=str(filled.binary), left=str(second)))
    assert at.selectbox(key="left").value == str(second)
    assert at.selectbox(key="right").value == str(results.leaderboard(filled.binary)["trial_id"].iloc[0])
    assert not at.get("plotly_chart")


def test_a_trial_that_the_link_misnames_is_named(filled: Filled) -> None:
    at = fine(opened("compare", dataset="digits_images", left="*x*"))
    assert "asks for trial *x*" in shown(at.warning[0].value)


def test_a_dataset_without_trials_offers_a_job(dataset: datasets.Dataset) -> None:
    at = fine(opened("compare", dataset=dataset.name))
    assert any("Two trials are needed" in item.value for item in at.markdown)


# In Chromium, with a real runner


@pytest.mark.slow
def test_a_search_from_the_form_to_predictions_by_its_files(site: str, page: Page, tmp_path: Path) -> None:
    dataset = datasets.add_sample("digits_images")
    page.goto(f"{site}/new_job?dataset=digits_images")
    for label, value in {"Time budget, seconds": "120", "Maximum candidates": "8", "Finalists": "1"}.items():
        page.get_by_label(label, exact=True).fill(value)
        page.keyboard.press("Tab")
    page.get_by_role("button", name="Submit job").click()
    page.get_by_role("link", name="Open job 1").click()
    page.get_by_role("tab", name="Candidates").click()
    expect(page.get_by_role("heading", name="Survivors of each rung")).to_be_visible(timeout=120_000)
    expect(page.get_by_role("main").get_by_text("Succeeded").first).to_be_visible(timeout=180_000)
    trial_id = int(results.trials_of(1)["trial_id"].iloc[0])
    page.goto(f"{site}/trial?trial={trial_id}")
    expect(page.get_by_role("heading", name="Architecture")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the model").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        archive.extractall(tmp_path / "model")
    pictures = tmp_path / "model" / "images"
    pictures.mkdir()
    rows = datasets.load(dataset, "test").head(20)
    key, target = dataset.features[0].key, dataset.target_column.key
    for number, row in enumerate(rows.to_dict("records")):
        pixels = np.frombuffer(row[key], np.uint8).reshape(dataset.features[0].shape or ())
        Image.fromarray(pixels.squeeze()).save(pictures / f"{number:02}.png")
    command = [sys.executable, "predict.py", "images/", "predictions.csv"]
    subprocess.run(command, cwd=tmp_path / "model", check=True)
    found = pd.read_csv(tmp_path / "model" / "predictions.csv", dtype=str)
    assert (found[dataset.target].to_numpy() == rows[target].astype(str).to_numpy()).sum() >= 16


_RUNNER = """
import runner.__main__
from tests import engines
engines.use(nas=engines.search)
raise SystemExit(runner.__main__.main())
"""


@pytest.mark.slow
def test_a_search_is_paused_resumed_with_more_and_continued_by_clicks(home: Path, page: Page) -> None:
    dataset = datasets.add_sample("digits_images")
    job_id = jobs.submit(specs.NASSpec(dataset_id=dataset.id, max_candidates=2_000, finalists=1))
    runner = subprocess.Popen([sys.executable, "-c", _RUNNER])
    try:
        with browser.dashboard() as (_, address):
            page.goto(f"{address}/job?job={job_id}&tab=Candidates")
            main = page.get_by_role("main")
            expect(page.get_by_role("heading", name="Survivors of each rung")).to_be_visible(timeout=60_000)
            page.get_by_role("button", name="Pause").click()
            expect(main.get_by_text(re.compile("Paused$")).first).to_be_visible(timeout=60_000)
            reached = len(results.candidates(job_id))
            assert 0 < reached < 2_000
            page.get_by_role("button", name="Resume").click()
            expect(main.get_by_text(re.compile("Running$")).first).to_be_visible(timeout=60_000)
            page.get_by_role("button", name="Pause").click()
            expect(main.get_by_text(re.compile("Paused$")).first).to_be_visible(timeout=60_000)
            page.get_by_role("button", name="More time").click()
            page.get_by_label("Additional candidates").fill("5")
            page.keyboard.press("Tab")
            page.get_by_role("button", name="Resume").click()
            expect(main.get_by_text(re.compile("Running$")).first).to_be_visible(timeout=60_000)
            spec = jobs.get(job_id).spec
            assert isinstance(spec, specs.NASSpec)
            assert spec.max_candidates == 2_005
            page.get_by_role("button", name="Cancel").click()
            expect(main.get_by_text(re.compile("Cancelled$")).first).to_be_visible(timeout=60_000)
            page.get_by_role("button", name="More time").click()
            page.get_by_label("Additional candidates").fill("8")
            page.keyboard.press("Tab")
            page.get_by_role("button", name="Continue").click()
            expect(page.get_by_role("heading", name=f"Job {job_id + 1}")).to_be_visible()
            expect(main.get_by_text(re.compile("Succeeded$")).first).to_be_visible(timeout=60_000)
            page.get_by_role("link", name=f"Continues job {job_id}").click()
            expect(page.get_by_role("link", name=f"Continued by job {job_id + 1}")).to_be_visible()
    finally:
        runner.send_signal(signal.SIGINT)
        runner.wait(timeout=60)
    assert jobs.get(job_id).attempt == 3
    assert len(results.candidates(job_id + 1)) == 8
