"""The playground: what it starts from, what it submits, and the result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import datasets, specs
from core.datasets.images import examples
from core.queue import jobs, runners
from core.results import initialisations
from tests.pages.apptest import figure, fine, opened, shown, values
from tests.pages.fewshot_filled import Filled, glyph, name


def newest() -> jobs.Job:
    """The job that was submitted last."""
    return jobs.get(int(jobs.overview(limit=None)["id"].max()))


def test_the_playground_without_an_initialisation_leads_to_the_form(home: Path) -> None:
    at = fine(opened("playground"))
    [link] = [item for item in at.get("page_link") if item.proto.label == "Start a meta-training"]
    assert "engine=fewshot" in link.proto.query_string


def test_at_first_the_playground_takes_classes_that_meta_training_has_not_seen(fewshot: Filled) -> None:
    at = fine(opened("playground", initialisation=str(fewshot.maml)))
    held_out = initialisations.get(fewshot.maml).about["held_out"]
    assert at.multiselect(key=f"play_classes_{fewshot.images}").value == held_out[:5]
    at.number_input(key="play_shots").set_value(3)
    at.number_input(key="play_queries").set_value(8)
    at.number_input(key="play_steps").set_value(7)
    at.number_input(key="play_rate").set_value(0.05)
    at.button(key="adapt").click().run()
    fine(at)
    job = newest()
    assert job.spec == specs.FineTuneSpec(
        dataset_id=fewshot.images, classes=tuple(held_out[:5]), shots=3, queries=8, initialisation=fewshot.maml,
        inner_steps=7, inner_rate=0.05,
    )  # fmt: skip
    assert at.query_params["job"] in (str(job.id), [str(job.id)])
    assert any("No runner is running" in item.value for item in at.warning)


def test_the_job_chooses_the_initialisation_unless_one_is_chosen(fewshot: Filled) -> None:
    at = fine(opened("playground"))
    at.selectbox(key="play_dataset").set_value("glyphs").run()
    at.button(key="adapt").click().run()
    fine(at)
    spec = newest().spec
    assert isinstance(spec, specs.FineTuneSpec)
    assert (spec.initialisation, spec.inner_steps, spec.inner_rate) == (None, None, None)


def test_while_the_job_waits_for_a_living_runner_the_page_says_that_it_learns(fewshot: Filled) -> None:
    runners.heartbeat("a runner", {"cpu_slots": 4, "gpu_slots": 0})
    at = fine(opened("playground", job=str(fewshot.waiting)))
    assert not any("No runner is running" in item.value for item in at.warning)
    assert any("Learning" in (bar.text or "") for bar in at.progress)


def test_the_answer_is_drawn_from_its_link(fewshot: Filled) -> None:
    at = fine(opened("playground", job=str(fewshot.adapted)))
    told = {metric.label: metric.value for metric in at.metric}
    assert told["Accuracy"] == "90.0%"
    assert told["Adapted in"] == "34 ms"
    assert told["Initialisation"] == f"Job {fewshot.maml}"
    assert values(figure(at, "steps_accuracy")["data"][0]["y"]) == pytest.approx([0.6, 0.72, 0.8, 0.86, 0.88, 0.9])
    assert np.array(figure(at, "confusion")["data"][0]["customdata"]).size or True
    cards = (
        at.get("html")[-2].proto.body if hasattr(at.get("html")[-2].proto, "body") else str(at.get("html")[-2].proto)
    )
    assert cards.count("<figure") == 50
    assert cards.count("✖") == 5
    assert "<b>odd *class*" not in cards
    assert any("45 of 50 are right" in caption.value for caption in at.caption)
    assert any("Its training classes are the most similar" in shown(caption.value) for caption in at.caption)
    assert at.multiselect(key=f"play_classes_{fewshot.images}").value[0] == name(0)
    assert at.number_input(key="play_queries").value == 10


def test_the_curve_of_a_wave_is_drawn_after_each_step(fewshot: Filled) -> None:
    at = fine(opened("playground", job=str(fewshot.wave_adapted)))
    names = [trace["name"] for trace in figure(at, "waves")["data"]]
    assert names == ["True points", "Before", *(f"After step {step}" for step in range(1, 6)), "Examples"]
    assert at.selectbox(key=f"play_wave_{fewshot.waves}").value == "w29"
    at.button(key="adapt").click().run()
    fine(at)
    spec = newest().spec
    assert isinstance(spec, specs.FineTuneSpec)
    assert (spec.classes, spec.initialisation) == (("w29",), fewshot.wave_training)


@pytest.mark.parametrize("job", ["999", "abc", "1"])
def test_a_link_to_no_fine_tuning_says_so_and_leaves_the_page_usable(fewshot: Filled, job: str) -> None:
    at = opened("playground", job=job)
    assert not at.exception
    assert len(at.error) == 1
    assert at.button(key="adapt")


def test_a_failed_fine_tuning_tells_why(fewshot: Filled) -> None:
    runners.heartbeat("a runner", {"cpu_slots": 4, "gpu_slots": 0})
    job = jobs.claim("a runner")
    assert job is not None
    assert job.id == fewshot.waiting
    jobs.finish(job, "failed", "Classes: 'glyph 01' has 3 examples, and 5 are needed. Choose fewer shots.")
    at = opened("playground", job=str(job.id))
    assert "Classes: 'glyph 01' has 3 examples" in shown(at.error[0].value)


def test_one_class_alone_is_refused_with_the_remedy(fewshot: Filled) -> None:
    before = sum(jobs.counts().values())
    at = fine(opened("playground", initialisation=str(fewshot.maml)))
    at.multiselect(key=f"play_classes_{fewshot.images}").set_value([name(1)]).run()
    at.button(key="adapt").click().run()
    expected = "Classes: 'glyph 01' is the only class. Choose 2 or more classes."
    assert expected in shown(at.error[0].value)
    assert sum(jobs.counts().values()) == before


def test_a_link_to_a_job_of_examples_offers_them_again(fewshot: Filled) -> None:
    sha256 = examples.store(np.stack([glyph(i, 0) for i in range(2)]), [0, 1], ["p", "q"], ["1", "2"])
    job_id = jobs.submit(specs.FineTuneSpec(dataset_id=fewshot.images, examples=sha256, shots=1))
    at = fine(opened("playground", job=str(job_id)))
    assert at.get_by_key("play_source").value == "As in the link"
    at.button(key="adapt").click().run()
    fine(at)
    assert newest().id > job_id
    assert newest().spec == specs.FineTuneSpec(dataset_id=fewshot.images, examples=sha256, shots=1)


def test_rows_of_a_dataset_are_read_by_their_numbers(fewshot: Filled) -> None:
    dataset = datasets.get(fewshot.images)
    pd.testing.assert_frame_equal(datasets.rows(dataset, [7, 3, 10**6]), datasets.load(dataset).loc[[3, 7]])


def test_seconds_to_the_answer_count_from_the_submission(fewshot: Filled) -> None:
    assert 0 < (initialisations.response_time_s(fewshot.adapted) or 0) < 60
    assert initialisations.response_time_s(fewshot.waiting) is None


def test_the_store_of_the_session_is_not_touched_by_a_page_that_only_looks(fewshot: Filled) -> None:
    before = jobs.counts()
    for params in ({}, {"job": str(fewshot.adapted)}, {"initialisation": str(fewshot.protonet)}):
        fine(opened("playground", **params))
    assert jobs.counts() == before


def test_a_link_to_no_number_for_an_initialisation_leaves_the_playground_usable(fewshot: Filled) -> None:
    at = opened("playground", initialisation="abc")
    assert not at.exception
    assert any("not a number" in error.value for error in at.error)
    assert at.selectbox(key="play_initialisation").value == 0
