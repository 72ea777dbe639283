"""The pages of few-shot learning: the form, a job's results, the leaderboard and the playground."""

from __future__ import annotations

import base64
import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save
from streamlit.testing.v1 import AppTest

from core import datasets, results, specs
from core.datasets.images import examples
from core.errors import InputError
from core.queue import jobs, runners
from core.results import downloads, initialisations
from core.specs import LABELS
from core.store import artifacts, backbones
from pages import actions, words
from pages.parts import canvas, gallery, sample_episodes
from pages.parts.forms import fewshot_form
from pages.parts.results import adaptation
from tests.fewshot_filled import Filled, fill, glyph, name
from tests.filled import ODD
from tests.pictures import encoded
from tests.test_pages import fine, fresh, opened, shown

__all__ = ["fresh"]  # a fixture
SHAPE = (28, 28, 1)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Filled]:
    """A data directory with few-shot jobs, made once."""
    home = tmp_path_factory.mktemp("prepared") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METASCOUT_HOME", str(home))
        patch.delenv("METASCOUT_STORE", raising=False)
        return home, fill(home)


@pytest.fixture
def filled(home: Path, prepared: tuple[Path, Filled]) -> Filled:
    """A copy of it for one test."""
    shutil.copytree(prepared[0], home, dirs_exist_ok=True)
    return prepared[1]


def newest() -> jobs.Job:
    """The job that was submitted last."""
    return jobs.get(int(jobs.overview(limit=None)["id"].max()))


def figure(at: AppTest, key: str) -> dict[str, Any]:
    """The chart of that key."""
    [found] = [item for item in at.get("plotly_chart") if key in item.proto.id]
    return json.loads(found.proto.spec)


def values(axis: Any) -> list[float]:
    """The numbers of a chart's axis, which may come packed."""
    if isinstance(axis, dict):
        return np.frombuffer(base64.b64decode(axis["bdata"]), np.dtype(axis["dtype"])).tolist()
    return list(axis)


def png(number: int, drawer: int = 0, side: int = 28) -> bytes:
    return encoded(glyph(number, drawer, side)[..., 0])


# The form


def test_the_form_submits_what_was_given(filled: Filled) -> None:
    at = fine(opened("new_job", dataset="glyphs", engine="fewshot"))
    at.number_input(key="ways_fewshot").set_value(3)
    at.number_input(key="shots_fewshot").set_value(2)
    at.number_input(key="queries_fewshot").set_value(7)
    at.get_by_key(f"algorithm_fewshot_{filled.images}").set_value("MAML").run()
    at.selectbox(key=f"network_fewshot_{filled.images}").set_value("conv4").run()
    at.number_input(key="budget_s_fewshot").set_value(60)
    at.number_input(key="iterations_fewshot").set_value(500)
    at.number_input(key="outer_rate_fewshot").set_value(0.002)
    at.number_input(key="meta_batch_fewshot").set_value(8)
    at.number_input(key="inner_steps_fewshot").set_value(4)
    at.number_input(key="inner_rate_fewshot").set_value(0.3)
    at.number_input(key="width_fewshot").set_value(32)
    at.toggle(key="rotations_fewshot").set_value(True)
    at.toggle(key="distortions_fewshot").set_value(True)
    at.toggle(key="transductive_fewshot").set_value(True)
    at.toggle(key="learned_rates_fewshot").set_value(True)
    at.toggle(key="multi_step_loss_fewshot").set_value(True)
    at.slider(key="first_order_frac_fewshot").set_value(0.25)
    at.number_input(key="cpus_fewshot").set_value(1)
    at.number_input(key="seed_fewshot").set_value(42)
    at.number_input(key="priority_fewshot").set_value(-3)
    at.text_input(key="note_fewshot").set_value(ODD)
    at.button(key="submit").click().run()
    job = newest()
    assert f"Job {job.id} is queued" in fine(at).success[0].value
    assert job.priority == -3
    assert job.spec == specs.FewShotSpec(
        dataset_id=filled.images, algorithm="MAML", ways=3, shots=2, queries=7, network="conv4", budget_s=60,
        iterations=500, outer_rate=0.002, meta_batch=8, inner_steps=4, inner_rate=0.3, width=32, rotations=True,
        distortions=True, transductive=True, learned_rates=True, multi_step_loss=True, first_order_frac=0.25, cpus=1,
        seed=42, note=ODD,
    )  # fmt: skip


def test_fields_left_empty_leave_it_to_the_engine(filled: Filled) -> None:
    at = fine(opened("new_job", dataset="glyphs", engine="fewshot"))
    at.button(key="submit").click().run()
    fine(at)
    assert newest().spec == specs.FewShotSpec(dataset_id=filled.images)


def test_protonet_is_not_asked_for_inner_steps_and_reptile_not_for_maml_s_options(filled: Filled) -> None:
    at = fine(opened("new_job", dataset="glyphs", engine="fewshot"))
    asked = {item.label for item in at.number_input}
    assert "Outer rate" in asked
    assert not {"Inner steps", "Inner rate"} & asked
    at.get_by_key(f"algorithm_fewshot_{filled.images}").set_value("Reptile").run()
    assert {"Inner steps", "Inner rate"} <= {item.label for item in fine(at).number_input}
    assert "Learned rates" not in {item.label for item in at.toggle}
    at.get_by_key(f"algorithm_fewshot_{filled.images}").set_value("ANIL").run()
    assert "Learned rates" in {item.label for item in fine(at).toggle}


def test_the_classes_are_told_and_two_sample_tasks_are_drawn(filled: Filled) -> None:
    at = fine(opened("new_job", dataset="glyphs", engine="fewshot"))
    told = "18 classes with 20 examples each on average, split into about 8 for training, 5 for validation and 5 for"
    assert any(told in caption.value for caption in at.caption)
    assert len(at.get("image")) == 2 * sample_episodes.EPISODES


def test_a_sample_task_has_a_column_a_class_and_other_queries_than_support(filled: Filled) -> None:
    dataset = datasets.get(filled.images)
    labels = (name(1), name(2), name(3))
    support, query = sample_episodes.episode(dataset.table, SHAPE, labels, (3, 2, 1))
    assert support.shape == (2 * 32, 3 * 32, 4)
    assert query.shape == (32, 3 * 32, 4)
    for number, label in enumerate(labels):
        first = support[:28, 32 * number : 32 * number + 28, 0]
        mine = [glyph(labels.index(label) + 1, drawer)[..., 0] for drawer in range(20)]
        assert any((first == image).all() for image in mine)
        assert not (first == query[:28, 32 * number : 32 * number + 28, 0]).all()


def test_a_task_of_more_classes_than_the_dataset_has_is_told_with_the_most_that_there_can_be(filled: Filled) -> None:
    before = sum(jobs.counts().values())
    at = fine(opened("new_job", dataset="glyphs", engine="fewshot"))
    at.number_input(key="ways_fewshot").set_value(9).run()
    at.button(key="submit").click().run()
    assert not at.exception
    assert "Ways: Train, valid and test need 9 classes each, but 'glyphs' has 18 in all. Choose at most 6" in shown(
        at.error[0].value
    )
    assert sum(jobs.counts().values()) == before


@pytest.mark.parametrize("value", [0, -3, 10**9])
def test_a_senseless_number_of_ways_shots_or_queries_draws_nothing_and_breaks_nothing(
    filled: Filled, value: int
) -> None:
    for field in ("ways", "shots", "queries"):
        at = fine(opened("new_job", dataset="glyphs", engine="fewshot"))
        at.number_input(key=f"{field}_fewshot").set_value(value).run()
        at = fine(at)
        at.button(key="submit").click().run()
        assert not at.exception
        assert LABELS[field] in at.error[0].value


def test_a_regression_is_asked_for_the_column_of_its_tasks(filled: Filled) -> None:
    at = fine(opened("new_job", dataset="waves", engine="fewshot"))
    assert not at.get("image")
    assert "ProtoNet" not in at.get_by_key(f"algorithm_fewshot_{filled.waves}").options
    at.button(key="submit").click().run()
    assert "Task column: " in shown(at.error[0].value)
    at.selectbox(key=f"group_fewshot_{filled.waves}").set_value("wave").run()
    at.button(key="submit").click().run()
    fine(at)
    assert newest().spec == specs.FewShotSpec(dataset_id=filled.waves, algorithm="MAML", group="wave")


def test_pretrained_weights_are_kept_and_another_file_is_refused_by_its_name(filled: Filled) -> None:
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (4, 3, 3, 3), "layer1.0.conv1.weight": (4, 4, 3, 3)}
    shapes["layer1.0.conv2.weight"] = (4, 4, 3, 3)
    norms = [f"{norm}.{part}" for norm in ("bn1", "layer1.0.bn1", "layer1.0.bn2") for part in backbones.NORM]
    network = {key: np.ones(shape, np.float32) for key, shape in (shapes | dict.fromkeys(norms, (4,))).items()}
    good, part = save(network), save({key: value for key, value in network.items() if key != "bn1.bias"})
    for content, said in (
        (b"PK\3\4 no weights at all", "holiday.safetensors is not a safetensors file"),
        (part, "holiday.safetensors has no bn1.bias, which a ResNet needs."),
        (good, None),
    ):
        at = fine(opened("new_job", dataset="glyphs", engine="fewshot"))
        at.selectbox(key=f"network_fewshot_{filled.images}").set_value("pretrained").run()
        at.file_uploader(key="weights_fewshot").upload("holiday.safetensors", content)
        at.button(key="submit").click().run()
        assert not at.exception
        if said:
            assert said in shown(at.error[0].value)
    spec = newest().spec
    assert isinstance(spec, specs.FewShotSpec)
    assert artifacts.locate(spec.backbone or "").read_bytes() == good


def test_protonet_may_train_on_more_classes_than_it_is_judged_by(filled: Filled) -> None:
    at = fine(opened("new_job", dataset="glyphs", engine="fewshot"))
    at.number_input(key="train_ways_fewshot").set_value(8)
    at.button(key="submit").click().run()
    fine(at)
    assert newest().spec == specs.FewShotSpec(dataset_id=filled.images, train_ways=8)


def test_a_clone_keeps_every_value(filled: Filled) -> None:
    spec = specs.FewShotSpec(
        dataset_id=filled.images, algorithm="ANIL", ways=3, shots=2, inner_steps=3, width=16, learned_rates=True
    )
    job_id = jobs.submit(spec)
    at = fine(opened("new_job", clone=str(job_id)))
    at.button(key="submit").click().run()
    fine(at)
    assert newest().id > job_id
    assert newest().spec == spec


def test_a_fine_tuning_is_cloned_in_the_playground(filled: Filled) -> None:
    at = fine(opened("new_job", clone=str(filled.adapted)))
    assert any("Playground" in item.value for item in at.info)
    [link] = [item for item in at.get("page_link") if item.proto.label == f"Open job {filled.adapted} in Playground"]
    assert link.proto.query_string == f"job={filled.adapted}"


def test_every_algorithm_and_network_has_its_words() -> None:
    assert set(fewshot_form.ALGORITHMS) == set(specs.FEWSHOT_ALGORITHMS)
    assert set(fewshot_form.NETWORKS) == set(specs.FEWSHOT_NETWORKS)
    for kind in (specs.FewShotSpec, specs.FineTuneSpec):
        assert set(kind.model_fields) - {"kind"} <= set(LABELS)


@pytest.mark.parametrize(("n", "ways", "parts"), [(964, 5, (627, 96, 241)), (18, 5, (8, 5, 5)), (6, 2, (2, 2, 2))])
def test_the_classes_are_divided_and_each_part_has_enough_for_a_task(
    n: int, ways: int, parts: tuple[int, int, int]
) -> None:
    assert initialisations.split_sizes(n, ways) == parts


# The job


def test_a_meta_training_s_page_tells_what_it_is_worth_and_where_to_go(filled: Filled) -> None:
    at = fine(opened("job", job=str(filled.maml)))
    table = at.dataframe[0].value
    assert list(table["Batch norm"]) == ["Inductive", "Transductive"]
    assert list(table["Accuracy ↑, test"]) == pytest.approx([0.88, 0.91])
    assert table["95% interval, test"][0] == "0.8680 to 0.8920"
    assert "Trials" not in {metric.label for metric in at.metric}
    assert [tab.label for tab in at.tabs] == ["Results", "Progress", "Log", "Spec", "Environment", "History"]
    assert {link.proto.label for link in at.get("page_link")} >= {"Few-shot leaderboard"}
    at.button(key="try").click().run()
    assert fine(at).title[0].value == "Playground"
    assert at.selectbox(key="play_initialisation").value == filled.maml


def test_the_file_of_an_initialisation_is_the_one_that_was_kept(filled: Filled) -> None:
    assert initialisations.get(filled.maml).path.read_bytes().startswith(b"weights 0.88")


def test_progress_draws_the_accuracy_within_the_band_of_its_interval(filled: Filled) -> None:
    at = fine(opened("job", job=str(filled.running), tab="Progress"))
    drawn = figure(at, "valid_curve")["data"]
    upper, lower, mean = (values(trace["y"]) for trace in drawn)
    assert len(mean) == 8
    assert all(low < middle < high for low, middle, high in zip(lower, mean, upper, strict=True))
    assert len(values(figure(at, "train_loss")["data"][0]["y"])) == 8
    at = fine(opened("job", job=str(filled.wave_training), tab="Progress"))
    assert "Mean squared error" in figure(at, "valid_curve")["layout"]["yaxis"]["title"]["text"]


def test_more_time_is_offered_to_a_paused_meta_training_and_not_to_an_ended_one(filled: Filled) -> None:
    paused, ended = (fine(opened("job", job=str(job))) for job in (filled.paused, filled.maml))
    assert paused.get_by_key(f"more_of_{filled.paused}_1").type == "popover"
    with pytest.raises(KeyError):
        ended.get_by_key(f"more_of_{filled.maml}_1")
    assert "More time" in actions.available("paused", "fewshot")
    assert "More time" not in actions.available("succeeded", "fewshot")
    assert "More time" in actions.available("succeeded", "nas")
    assert "Pause" not in actions.available("running", "finetune")


def test_a_paused_meta_training_goes_on_with_more_seconds(filled: Filled) -> None:
    at = opened("job", job=str(filled.paused), more="1")
    assert not at.exception
    assert [item.label for item in at.number_input] == ["Additional seconds"]
    at.number_input(key=f"more_s_{filled.paused}").set_value(120)
    at.button(key="go_on").click().run()
    assert not at.exception
    job = jobs.get(filled.paused)
    assert (job.status, job.attempt) == ("queued", 2)
    assert job.spec == specs.FewShotSpec(dataset_id=filled.images, algorithm="ANIL", budget_s=420)


@pytest.mark.parametrize("tab", ["Results", "Log", "Spec", "Environment", "History"])
def test_every_tab_of_every_few_shot_job_opens(filled: Filled, tab: str) -> None:
    for job_id in (filled.running, filled.paused, filled.adapted, filled.wave_adapted, filled.waiting):
        fine(opened("job", job=str(job_id), tab=tab))


# The leaderboard


def test_the_leaderboard_ranks_within_each_batch_norm(filled: Filled) -> None:
    at = fine(opened("fewshot_board", dataset="glyphs"))
    board = at.dataframe[0].value
    assert list(zip(board["protocol"], board["rank"], board["algorithm"], strict=True)) == [
        ("Inductive", 1, "ProtoNet"), ("Inductive", 2, "MAML"), ("Transductive", 1, "MAML"),
    ]  # fmt: skip
    assert set(board["task"]) == {"5-way 1-shot"}
    assert set(board["adapt_s"]) == {"12.3 ms"}
    bars = figure(at, "bars")["data"]
    assert [len(values(trace["x"])) for trace in bars] == [2, 1]
    assert values(bars[1]["error_x"]["array"]) == pytest.approx([0.012])


def test_the_leaderboard_opens_with_the_filters_of_its_link(filled: Filled) -> None:
    at = fine(opened("fewshot_board", dataset="glyphs", ways="5", shots="1", protocol="transductive"))
    assert list(at.dataframe[0].value["job_id"]) == [filled.maml]
    at.selectbox(key="protocol").set_value("Inductive").run()
    assert len(fine(at).dataframe[0].value) == 2


def test_a_dataset_without_meta_training_leads_to_the_form(filled: Filled) -> None:
    datasets.add_sample("iris")
    at = fine(opened("fewshot_board", dataset="iris"))
    assert not at.dataframe
    [link] = [item for item in at.get("page_link") if item.proto.label == "Start one"]
    assert "engine=fewshot" in link.proto.query_string


# The playground


def test_the_playground_without_an_initialisation_leads_to_the_form(home: Path) -> None:
    at = fine(opened("playground"))
    [link] = [item for item in at.get("page_link") if item.proto.label == "Start a meta-training"]
    assert "engine=fewshot" in link.proto.query_string


def test_at_first_the_playground_takes_classes_that_meta_training_has_not_seen(filled: Filled) -> None:
    at = fine(opened("playground", initialisation=str(filled.maml)))
    held_out = initialisations.get(filled.maml).about["held_out"]
    assert at.multiselect(key=f"play_classes_{filled.images}").value == held_out[:5]
    at.number_input(key="play_shots").set_value(3)
    at.number_input(key="play_queries").set_value(8)
    at.number_input(key="play_steps").set_value(7)
    at.number_input(key="play_rate").set_value(0.05)
    at.button(key="adapt").click().run()
    fine(at)
    job = newest()
    assert job.spec == specs.FineTuneSpec(
        dataset_id=filled.images, classes=tuple(held_out[:5]), shots=3, queries=8, initialisation=filled.maml,
        inner_steps=7, inner_rate=0.05,
    )  # fmt: skip
    assert at.query_params["job"] in (str(job.id), [str(job.id)])
    assert any("No runner is alive" in item.value for item in at.warning)


def test_the_memory_is_left_to_choose_unless_one_is_chosen(filled: Filled) -> None:
    at = fine(opened("playground"))
    at.selectbox(key="play_dataset").set_value("glyphs").run()
    at.button(key="adapt").click().run()
    fine(at)
    spec = newest().spec
    assert isinstance(spec, specs.FineTuneSpec)
    assert (spec.initialisation, spec.inner_steps, spec.inner_rate) == (None, None, None)


def test_while_the_job_waits_for_a_living_runner_the_page_says_that_it_learns(filled: Filled) -> None:
    runners.heartbeat("a runner", {"cpu_slots": 4, "gpu_slots": 0})
    at = fine(opened("playground", job=str(filled.waiting)))
    assert not any("No runner is alive" in item.value for item in at.warning)
    assert any("Learning" in (bar.text or "") for bar in at.progress)


def test_the_answer_is_drawn_from_its_link(filled: Filled) -> None:
    at = fine(opened("playground", job=str(filled.adapted)))
    told = {metric.label: metric.value for metric in at.metric}
    assert told["Accuracy"] == "90.0%"
    assert told["Adapted in"] == "34 ms"
    assert told["Initialisation"] == f"Job {filled.maml}"
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
    assert at.multiselect(key=f"play_classes_{filled.images}").value[0] == name(0)
    assert at.number_input(key="play_queries").value == 10


def test_the_curve_of_a_wave_is_drawn_after_each_step(filled: Filled) -> None:
    at = fine(opened("playground", job=str(filled.wave_adapted)))
    names = [trace["name"] for trace in figure(at, "waves")["data"]]
    assert names == ["True points", "Before", *(f"After step {step}" for step in range(1, 6)), "Learned from"]
    assert at.selectbox(key=f"play_wave_{filled.waves}").value == "w29"
    at.button(key="adapt").click().run()
    fine(at)
    spec = newest().spec
    assert isinstance(spec, specs.FineTuneSpec)
    assert (spec.classes, spec.initialisation) == (("w29",), filled.wave_training)


@pytest.mark.parametrize("job", ["999", "abc", "1"])
def test_a_link_to_no_fine_tuning_says_so_and_leaves_the_page_usable(filled: Filled, job: str) -> None:
    at = opened("playground", job=job)
    assert not at.exception
    assert len(at.error) == 1
    assert at.button(key="adapt")


def test_a_failed_fine_tuning_tells_why(filled: Filled) -> None:
    runners.heartbeat("a runner", {"cpu_slots": 4, "gpu_slots": 0})
    job = jobs.claim("a runner")
    assert job is not None
    assert job.id == filled.waiting
    jobs.finish(job, "failed", "Classes: 'glyph 01' has 3 examples, and 5 are needed. Choose fewer shots.")
    at = opened("playground", job=str(job.id))
    assert "Classes: 'glyph 01' has 3 examples" in shown(at.error[0].value)


def test_one_class_alone_is_refused_with_the_remedy(filled: Filled) -> None:
    before = sum(jobs.counts().values())
    at = fine(opened("playground", initialisation=str(filled.maml)))
    at.multiselect(key=f"play_classes_{filled.images}").set_value([name(1)]).run()
    at.button(key="adapt").click().run()
    expected = "Classes: 'glyph 01' is the only class. Choose 2 or more classes."
    assert expected in shown(at.error[0].value)
    assert sum(jobs.counts().values()) == before


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return stream.getvalue()


def uploading(filled: Filled, way: str) -> AppTest:
    at = fine(opened("playground", initialisation=str(filled.maml)))
    at.get_by_key("play_source").set_value("Upload").run()
    return fine(at).radio(key="play_way").set_value(way).run()


def test_a_zip_of_class_folders_becomes_examples_of_one_size_and_mode(filled: Filled) -> None:
    at = uploading(filled, "A ZIP of class folders")
    files = {f"{label}/{i}.png": png(k, i, 40) for k, label in enumerate("xy") for i in range(4)}
    at.file_uploader(key="play_zip").upload("mine.zip", zipped(files | {"x/broken.png": b"no image"})).run()
    assert "Left out, as it cannot be read: 1 image of mine.zip." in shown(at.warning[0].value)
    at.file_uploader(key="play_predict").upload("what.png", png(0, 9)).run()
    at.number_input(key="play_upload_shots").set_value(3).run()
    at.button(key="adapt").click().run()
    fine(at)
    spec = newest().spec
    assert isinstance(spec, specs.FineTuneSpec)
    assert (spec.shots, spec.classes, spec.initialisation) == (3, (), filled.maml)
    kept = examples.load(spec.examples or "")
    assert kept.images.shape == (9, *SHAPE)
    assert kept.codes.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, examples.UNKNOWN]
    assert kept.labels == ("x", "y")
    assert (kept.images[8] == glyph(0, 9)).all()


def test_images_class_by_class_become_examples_under_the_names_given(filled: Filled) -> None:
    at = uploading(filled, "Class by class")
    at.text_input(key="play_name_0").set_value("*ones*")
    at.file_uploader(key="play_files_0").upload("a.png", png(3)).run()
    at.file_uploader(key="play_files_1").upload("b.png", png(4)).run()
    at.button(key="adapt").click().run()
    fine(at)
    spec = newest().spec
    assert isinstance(spec, specs.FineTuneSpec)
    assert examples.load(spec.examples or "").labels == ("*ones*", "B")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"play_zip": ("photos.zip", b"PK\3\4 broken")}, "photos.zip is not a complete ZIP file"),
        ({"play_zip": ("flat.zip", zipped({"1.png": png(1)}))}, "No image of flat.zip is in a class folder"),
        ({"play_predict": ("party.png", b"no image")}, "party.png is not a readable image"),
        (
            {"play_zip": ("torn.zip", zipped({"a/1.png": png(1), "b/2.png": png(1)}))},
            "'a/1.png' in 'a' and 'b/2.png' in 'b' are the same image",
        ),
    ],
)
def test_a_bad_upload_is_told_in_a_sentence_with_its_name(
    filled: Filled, files: dict[str, tuple[str, bytes]], said: str
) -> None:
    at = uploading(filled, "A ZIP of class folders")
    for key, (file, content) in files.items():
        at.file_uploader(key=key).upload(file, content).run()
    assert not at.exception
    assert any(said in shown(item.value) for item in at.warning)


def test_adapting_without_examples_says_what_is_missing(filled: Filled) -> None:
    before = sum(jobs.counts().values())
    at = uploading(filled, "Class by class")
    at.button(key="adapt").click().run()
    assert "Examples: There are no images yet. Give images of 2 classes or more." in shown(at.error[0].value)
    two = uploading(filled, "Class by class")
    two.text_input(key="play_name_1").set_value("A").run()
    assert any("Class 2 is named 'A': give each class a name of its own" in shown(w.value) for w in two.warning)
    assert sum(jobs.counts().values()) == before


def test_a_link_to_a_job_of_examples_offers_them_again(filled: Filled) -> None:
    sha256 = examples.store(np.stack([glyph(i, 0) for i in range(2)]), [0, 1], ["p", "q"], ["1", "2"])
    job_id = jobs.submit(specs.FineTuneSpec(dataset_id=filled.images, examples=sha256, shots=1))
    at = fine(opened("playground", job=str(job_id)))
    assert at.get_by_key("play_source").value == "As in the link"
    at.button(key="adapt").click().run()
    fine(at)
    assert newest().id > job_id
    assert newest().spec == specs.FineTuneSpec(dataset_id=filled.images, examples=sha256, shots=1)


# Drawings


def url(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def test_drawings_become_examples_and_can_be_deleted(filled: Filled) -> None:
    at = fine(opened("playground", initialisation=str(filled.maml)))
    at.get_by_key("play_source").set_value("Draw").run()
    assert at.toggle(key=f"play_bright_{filled.images}").value is True
    drawn = [canvas.Drawing(str(i), png(i, 0, 280), label) for i, label in enumerate(["A", "A", "*b*", None])]
    at.session_state["drawings"] = drawn
    at.run()
    assert [item.value for item in fine(at).markdown if "**" in item.value] == [
        "**A**", f"**{words.plain('*b*')}**", f"**{canvas.PREDICT}**",
    ]  # fmt: skip
    at.button(key="delete_1").click().run()
    at.button(key="adapt").click().run()
    fine(at)
    spec = newest().spec
    assert isinstance(spec, specs.FineTuneSpec)
    assert spec.shots == 1
    kept = examples.load(spec.examples or "")
    assert (kept.codes.tolist(), kept.labels) == ([0, 1, examples.UNKNOWN], ("A", "*b*"))
    assert kept.images.shape == (3, *SHAPE)


@pytest.mark.parametrize(
    "sent",
    [None, 7, "", "data:text/html;base64,PGI+", "data:image/png;base64,***", url(b"no image"), url(b"x" * 2**21)],
)
def test_what_is_no_drawing_is_refused_in_a_sentence(home: Path, sent: Any) -> None:
    with pytest.raises(InputError, match=r"Draw it again\."):
        canvas.content(sent)


def test_a_drawing_larger_than_the_canvas_can_be_is_refused(home: Path) -> None:
    with pytest.raises(InputError, match="at most 1024 pixels"):
        canvas.content(url(encoded(np.zeros((8, 2000), np.uint8))))
    assert canvas.content(url(png(1))) == png(1)


# What the pages read


def test_the_files_of_a_job_are_those_of_its_shown_attempt(filled: Filled) -> None:
    files = results.artifacts_of(filled.adapted)
    assert list(files["kind"]) == ["onnx"]
    with zipfile.ZipFile(downloads.bundle_files(files)) as archive:
        assert archive.namelist() == ["model.onnx"]
    assert results.artifacts_of(filled.waiting).empty


def test_rows_of_a_dataset_are_read_by_their_numbers(filled: Filled) -> None:
    dataset = datasets.get(filled.images)
    pd.testing.assert_frame_equal(datasets.rows(dataset, [7, 3, 10**6]), datasets.load(dataset).loc[[3, 7]])


def test_seconds_to_the_answer_count_from_the_submission(filled: Filled) -> None:
    assert 0 < (initialisations.response_time_s(filled.adapted) or 0) < 60
    assert initialisations.response_time_s(filled.waiting) is None


def test_what_is_to_be_predicted_comes_first_and_then_what_is_wrong() -> None:
    rows = [
        {"actual": "a", "predicted": "a"}, {"actual": "a", "predicted": "b"}, {"actual": None, "predicted": "b"},
    ]  # fmt: skip
    assert [row["actual"] is None for row in sorted(rows, key=gallery.order)] == [True, False, False]
    assert sorted(rows, key=gallery.order)[1]["predicted"] == "b"


def test_names_of_classes_are_no_markup_in_the_grid() -> None:
    card = gallery.card(
        {"actual": "<i>x</i>", "predicted": "<script>", "probabilities": [0.25, 0.75], "name": '"><b>'},
        np.zeros(SHAPE, np.uint8),
    )
    assert "<script>" not in card
    assert "<i>" not in card
    assert 'alt="&quot;&gt;&lt;b&gt;, predicted &lt;script&gt;"' in card
    assert "&lt;script&gt;</b> 75%" in card


def test_the_store_of_the_session_is_not_touched_by_a_page_that_only_looks(filled: Filled) -> None:
    before = jobs.counts()
    for params in ({}, {"job": str(filled.adapted)}, {"initialisation": str(filled.protonet)}):
        fine(opened("playground", **params))
    assert jobs.counts() == before


def test_classes_of_one_outer_folder_are_named_by_the_inner_one() -> None:
    labels = ["Greek/one", "Greek/two"]
    body = {
        "labels": labels, "confusion": {"labels": labels, "counts": [[1, 0], [0, 1]]},
        "predictions": [{"actual": None, "predicted": "Greek/two"}, {"actual": "Greek/one", "predicted": "Greek/one"}],
    }  # fmt: skip
    short = adaptation.short(body)
    assert [(row["actual"], row["predicted"]) for row in short["predictions"]] == [(None, "two"), ("one", "one")]
    assert (short["confusion"]["labels"], short["outer"]) == (["one", "two"], "Greek")
    other = body | {"labels": ["Greek/one", "Latin/one"]}
    assert adaptation.short(other) is other


def test_a_link_to_an_unknown_engine_says_so_and_offers_the_usual_one(filled: Filled) -> None:
    at = fine(opened("new_job", dataset="glyphs", engine="xyz"))
    assert any("asks for engine" in warning.value for warning in at.warning)
    assert at.button(key="submit")


def test_a_link_to_no_number_for_an_initialisation_leaves_the_playground_usable(filled: Filled) -> None:
    at = opened("playground", initialisation="abc")
    assert not at.exception
    assert any("not a number" in error.value for error in at.error)
    assert at.selectbox(key="play_initialisation").value == 0
