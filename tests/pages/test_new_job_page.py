"""The page of a new job: the choice of engine, and the form of H2O AutoML."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import datasets, kinds, specs
from core.queue import jobs
from tests.pages import fewshot_filled
from tests.pages.apptest import engine, fine, opened, shown
from tests.pages.filled import ODD, Filled

AUTOML, NAS, PORTFOLIO = (kinds.label(kind) for kind in ("automl", "nas", "portfolio"))


def test_the_form_submits_what_was_given(filled: Filled) -> None:
    at = fine(opened("new_job", dataset="breast_cancer"))
    at.number_input(key="budget_s").set_value(90)
    at.number_input(key="max_models").set_value(7)
    at.get_by_key("algorithms").set_value(["GBM", "GLM"])
    at.selectbox(key=f"metric_{filled.binary}").set_value("log_loss")
    at.number_input(key=f"folds_{filled.binary}").set_value(3)
    at.toggle(key=f"balance_classes_{filled.binary}").set_value(True)
    at.number_input(key="cpus").set_value(1)
    at.number_input(key="memory_gib").set_value(1.5)
    at.number_input(key="seed").set_value(42)
    at.number_input(key="priority").set_value(5)
    at.text_input(key="note").set_value(ODD)
    at.button(key="submit").click().run()
    fine(at)
    row = jobs.overview(limit=1, statuses=("queued",)).iloc[0]
    assert f"Job {row['id']} is queued" in at.success[0].value
    assert (row["priority"], row["owner"]) == (5, "local")
    assert jobs.get(int(row["id"])).spec == specs.AutoMLSpec(
        dataset_id=filled.binary, budget_s=90, max_models=7, algorithms=("GBM", "GLM"), metric="log_loss", folds=3,
        balance_classes=True, cpus=1, memory_bytes=3 * 2**29, seed=42, note=ODD,
    )  # fmt: skip


def test_what_a_form_gives_is_checked_again_on_the_server(filled: Filled) -> None:
    before = sum(jobs.counts().values())
    at = opened("new_job", dataset="breast_cancer")
    at.get_by_key("algorithms").set_value(["StackedEnsemble"])
    at.number_input(key=f"folds_{filled.binary}").set_value(1)
    at.button(key="submit").click().run()
    assert not at.exception
    assert "StackedEnsemble combines other models" in shown(at.error[0].value)
    assert sum(jobs.counts().values()) == before


def test_a_regression_dataset_offers_its_own_metrics_and_no_class_balancing(filled: Filled) -> None:
    at = fine(opened("new_job", dataset=str(filled.regression)))
    assert at.selectbox(key="dataset").value == "diabetes"
    assert at.selectbox(key=f"metric_{filled.regression}").value == "rmse"
    assert not at.toggle


def test_clone_fills_the_form_from_the_job(filled: Filled) -> None:
    at = opened("job", job=str(filled.queued))
    at.button(key="clone").click().run()
    fine(at)
    assert at.title[0].value == "New job"
    mark = f"_{filled.queued}"
    assert at.selectbox(key="dataset").value == "breast_cancer"
    assert at.number_input(key=f"budget_s{mark}").value == 120
    assert at.number_input(key=f"priority{mark}").value == 3
    assert at.text_input(key=f"note{mark}").value == "a queued one"


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


def test_a_link_to_an_unknown_engine_says_so_and_offers_the_usual_one(fewshot: fewshot_filled.Filled) -> None:
    at = fine(opened("new_job", dataset="glyphs", engine="xyz"))
    assert any("asks for engine" in warning.value for warning in at.warning)
    assert at.button(key="submit")
