"""The form of a few-shot meta-training."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save

from core import datasets, specs
from core.queue import jobs
from core.results import initialisations
from core.specs import LABELS
from core.store import artifacts, backbones
from pages.parts.fewshot import sample_episodes
from pages.parts.forms import fewshot_form
from tests.pages.apptest import fine, opened, shown
from tests.pages.fewshot_filled import Filled, glyph, name
from tests.pages.filled import ODD

SHAPE = (28, 28, 1)


def newest() -> jobs.Job:
    """The job that was submitted last."""
    return jobs.get(int(jobs.overview(limit=None)["id"].max()))


def test_the_form_submits_what_was_given(fewshot: Filled) -> None:
    at = fine(opened("new_job", dataset="glyphs", engine="fewshot"))
    at.number_input(key="ways_fewshot").set_value(3)
    at.number_input(key="shots_fewshot").set_value(2)
    at.number_input(key="queries_fewshot").set_value(7)
    at.get_by_key(f"algorithm_fewshot_{fewshot.images}").set_value("MAML").run()
    at.selectbox(key=f"network_fewshot_{fewshot.images}").set_value("conv4").run()
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
        dataset_id=fewshot.images, algorithm="MAML", ways=3, shots=2, queries=7, network="conv4", budget_s=60,
        iterations=500, outer_rate=0.002, meta_batch=8, inner_steps=4, inner_rate=0.3, width=32, rotations=True,
        distortions=True, transductive=True, learned_rates=True, multi_step_loss=True, first_order_frac=0.25, cpus=1,
        seed=42, note=ODD,
    )  # fmt: skip


def test_fields_left_empty_leave_it_to_the_engine(fewshot: Filled) -> None:
    at = fine(opened("new_job", dataset="glyphs", engine="fewshot"))
    at.button(key="submit").click().run()
    fine(at)
    assert newest().spec == specs.FewShotSpec(dataset_id=fewshot.images)


def test_protonet_is_not_asked_for_inner_steps_and_reptile_not_for_maml_s_options(fewshot: Filled) -> None:
    at = fine(opened("new_job", dataset="glyphs", engine="fewshot"))
    asked = {item.label for item in at.number_input}
    assert "Outer rate" in asked
    assert not {"Inner steps", "Inner rate"} & asked
    at.get_by_key(f"algorithm_fewshot_{fewshot.images}").set_value("Reptile").run()
    assert {"Inner steps", "Inner rate"} <= {item.label for item in fine(at).number_input}
    assert "Learned rates" not in {item.label for item in at.toggle}
    at.get_by_key(f"algorithm_fewshot_{fewshot.images}").set_value("ANIL").run()
    assert "Learned rates" in {item.label for item in fine(at).toggle}


def test_the_classes_are_told_and_two_sample_tasks_are_drawn(fewshot: Filled) -> None:
    at = fine(opened("new_job", dataset="glyphs", engine="fewshot"))
    told = "18 classes with 20 examples each on average, split into about 8 for training, 5 for validation and 5 for"
    assert any(told in caption.value for caption in at.caption)
    assert len(at.get("image")) == 2 * sample_episodes.EPISODES


def test_a_sample_task_has_a_column_a_class_and_other_queries_than_support(fewshot: Filled) -> None:
    dataset = datasets.get(fewshot.images)
    labels = (name(1), name(2), name(3))
    support, query = sample_episodes.episode(dataset.table, SHAPE, labels, (3, 2, 1))
    assert support.shape == (2 * 32, 3 * 32, 4)
    assert query.shape == (32, 3 * 32, 4)
    for number, label in enumerate(labels):
        first = support[:28, 32 * number : 32 * number + 28, 0]
        mine = [glyph(labels.index(label) + 1, drawer)[..., 0] for drawer in range(20)]
        assert any((first == image).all() for image in mine)
        assert not (first == query[:28, 32 * number : 32 * number + 28, 0]).all()


def test_a_task_of_more_classes_than_the_dataset_has_is_told_with_the_most_that_there_can_be(fewshot: Filled) -> None:
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
    fewshot: Filled, value: int
) -> None:
    for field in ("ways", "shots", "queries"):
        at = fine(opened("new_job", dataset="glyphs", engine="fewshot"))
        at.number_input(key=f"{field}_fewshot").set_value(value).run()
        at = fine(at)
        at.button(key="submit").click().run()
        assert not at.exception
        assert LABELS[field] in at.error[0].value


def test_a_regression_is_asked_for_the_column_of_its_tasks(fewshot: Filled) -> None:
    at = fine(opened("new_job", dataset="waves", engine="fewshot"))
    assert not at.get("image")
    assert "ProtoNet" not in at.get_by_key(f"algorithm_fewshot_{fewshot.waves}").options
    at.button(key="submit").click().run()
    assert "Task column: " in shown(at.error[0].value)
    at.selectbox(key=f"group_fewshot_{fewshot.waves}").set_value("wave").run()
    at.button(key="submit").click().run()
    fine(at)
    assert newest().spec == specs.FewShotSpec(dataset_id=fewshot.waves, algorithm="MAML", group="wave")


def test_pretrained_weights_are_kept_and_another_file_is_refused_by_its_name(fewshot: Filled) -> None:
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
        at.selectbox(key=f"network_fewshot_{fewshot.images}").set_value("pretrained").run()
        at.file_uploader(key="weights_fewshot").upload("holiday.safetensors", content)
        at.button(key="submit").click().run()
        assert not at.exception
        if said:
            assert said in shown(at.error[0].value)
    spec = newest().spec
    assert isinstance(spec, specs.FewShotSpec)
    assert artifacts.locate(spec.backbone or "").read_bytes() == good


def test_protonet_may_train_on_more_classes_than_it_is_judged_by(fewshot: Filled) -> None:
    at = fine(opened("new_job", dataset="glyphs", engine="fewshot"))
    at.number_input(key="train_ways_fewshot").set_value(8)
    at.button(key="submit").click().run()
    fine(at)
    assert newest().spec == specs.FewShotSpec(dataset_id=fewshot.images, train_ways=8)


def test_a_clone_keeps_every_value(fewshot: Filled) -> None:
    spec = specs.FewShotSpec(
        dataset_id=fewshot.images, algorithm="ANIL", ways=3, shots=2, inner_steps=3, width=16, learned_rates=True
    )
    job_id = jobs.submit(spec)
    at = fine(opened("new_job", clone=str(job_id)))
    at.button(key="submit").click().run()
    fine(at)
    assert newest().id > job_id
    assert newest().spec == spec


def test_a_fine_tuning_is_cloned_in_the_playground(fewshot: Filled) -> None:
    at = fine(opened("new_job", clone=str(fewshot.adapted)))
    assert any("Playground" in item.value for item in at.info)
    [link] = [item for item in at.get("page_link") if item.proto.label == f"Open job {fewshot.adapted} in Playground"]
    assert link.proto.query_string == f"job={fewshot.adapted}"


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
