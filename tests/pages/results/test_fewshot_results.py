"""The results of few-shot jobs on their pages and on the leaderboard."""

from __future__ import annotations

import zipfile

import pytest

from core import datasets, results, specs
from core.queue import jobs
from core.results import downloads, initialisations
from pages import actions
from pages.parts.results import adaptation
from tests.pages.apptest import figure, fine, opened, values
from tests.pages.fewshot_filled import Filled


def test_a_meta_training_s_page_tells_what_it_is_worth_and_where_to_go(fewshot: Filled) -> None:
    at = fine(opened("job", job=str(fewshot.maml)))
    table = at.dataframe[0].value
    assert list(table["Batch norm"]) == ["Inductive", "Transductive"]
    assert list(table["Test Accuracy ↑"]) == pytest.approx([0.88, 0.91])
    assert table["Test 95% interval"][0] == "0.8680 to 0.8920"
    assert "Trials" not in {metric.label for metric in at.metric}
    assert [tab.label for tab in at.tabs] == ["Results", "Progress", "Log", "Spec", "Environment", "History"]
    assert {link.proto.label for link in at.get("page_link")} >= {"Few-shot leaderboard"}
    at.button(key="try").click().run()
    assert fine(at).title[0].value == "Playground"
    assert at.selectbox(key="play_initialisation").value == fewshot.maml


def test_the_file_of_an_initialisation_is_the_one_that_was_kept(fewshot: Filled) -> None:
    assert initialisations.get(fewshot.maml).path.read_bytes().startswith(b"weights 0.88")


def test_progress_draws_the_accuracy_within_the_band_of_its_interval(fewshot: Filled) -> None:
    at = fine(opened("job", job=str(fewshot.running), tab="Progress"))
    drawn = figure(at, "valid_curve")["data"]
    upper, lower, mean = (values(trace["y"]) for trace in drawn)
    assert len(mean) == 8
    assert all(low < middle < high for low, middle, high in zip(lower, mean, upper, strict=True))
    assert len(values(figure(at, "train_loss")["data"][0]["y"])) == 8
    at = fine(opened("job", job=str(fewshot.wave_training), tab="Progress"))
    assert "Mean squared error" in figure(at, "valid_curve")["layout"]["yaxis"]["title"]["text"]


def test_more_time_is_offered_to_a_paused_meta_training_and_not_to_an_ended_one(fewshot: Filled) -> None:
    paused, ended = (fine(opened("job", job=str(job))) for job in (fewshot.paused, fewshot.maml))
    assert paused.get_by_key(f"more_of_{fewshot.paused}_1").type == "popover"
    with pytest.raises(KeyError):
        ended.get_by_key(f"more_of_{fewshot.maml}_1")
    assert "More time" in actions.available("paused", "fewshot")
    assert "More time" not in actions.available("succeeded", "fewshot")
    assert "More time" in actions.available("succeeded", "nas")
    assert "Pause" not in actions.available("running", "finetune")


def test_a_paused_meta_training_goes_on_with_more_seconds(fewshot: Filled) -> None:
    at = opened("job", job=str(fewshot.paused), more="1")
    assert not at.exception
    assert [item.label for item in at.number_input] == ["Additional seconds"]
    at.number_input(key=f"more_s_{fewshot.paused}").set_value(120)
    at.button(key="go_on").click().run()
    assert not at.exception
    job = jobs.get(fewshot.paused)
    assert (job.status, job.attempt) == ("queued", 2)
    assert job.spec == specs.FewShotSpec(dataset_id=fewshot.images, algorithm="ANIL", budget_s=420)


@pytest.mark.parametrize("tab", ["Results", "Log", "Spec", "Environment", "History"])
def test_every_tab_of_every_few_shot_job_opens(fewshot: Filled, tab: str) -> None:
    for job_id in (fewshot.running, fewshot.paused, fewshot.adapted, fewshot.wave_adapted, fewshot.waiting):
        fine(opened("job", job=str(job_id), tab=tab))


def test_the_leaderboard_ranks_within_each_batch_norm(fewshot: Filled) -> None:
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


def test_the_leaderboard_opens_with_the_filters_of_its_link(fewshot: Filled) -> None:
    at = fine(opened("fewshot_board", dataset="glyphs", ways="5", shots="1", protocol="transductive"))
    assert list(at.dataframe[0].value["job_id"]) == [fewshot.maml]
    at.selectbox(key="protocol").set_value("Inductive").run()
    assert len(fine(at).dataframe[0].value) == 2


def test_a_dataset_without_meta_training_leads_to_the_form(fewshot: Filled) -> None:
    datasets.add_sample("iris")
    at = fine(opened("fewshot_board", dataset="iris"))
    assert not at.dataframe
    [link] = [item for item in at.get("page_link") if item.proto.label == "Start one"]
    assert "engine=fewshot" in link.proto.query_string


def test_the_files_of_a_job_are_those_of_its_shown_attempt(fewshot: Filled) -> None:
    files = results.artifacts_of(fewshot.adapted)
    assert list(files["kind"]) == ["onnx"]
    with zipfile.ZipFile(downloads.bundle_files(files)) as archive:
        assert archive.namelist() == ["model.onnx"]
    assert results.artifacts_of(fewshot.waiting).empty


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
