"""Fine-tuning as a job: which initialisation is used, and what is learned from a few examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import datasets, specs
from core.datasets import Dataset
from core.datasets.images import examples
from core.errors import InputError
from core.events import Adapted, Artifact
from core.queue import jobs, log
from core.results import initialisations
from core.specs import FewShotSpec, FineTuneSpec
from tests.runner.fewshot.pattern_jobs import (
    LABELS,
    MAML,
    PROTONET,
    fine_tune,
    finetune_spec,
    messages,
    meta_train,
    pattern,
    run_here,
)
from tests.runner.fewshot.small_datasets import register_kinds

pytestmark = pytest.mark.torch


def test_prototypes_are_one_step_and_need_no_head(patterns: Dataset, no_files: None) -> None:
    body, events = fine_tune(finetune_spec(patterns, initialisation=PROTONET, classes=LABELS[:5]))
    assert [step["step"] for step in body["steps"]] == [1]
    assert body["steps"][0]["accuracy"] > 0.4
    assert "head" not in messages(events)


@pytest.mark.parametrize(("n", "message"), [(5, "the additional ones start as their mean"), (2, "the first 2 of")])
def test_another_number_of_classes_is_learned_with_a_message(
    patterns: Dataset, no_files: None, n: int, message: str
) -> None:
    body, events = fine_tune(finetune_spec(patterns, initialisation=MAML, classes=LABELS[:n]))
    assert message in messages(events)
    assert body["steps"][-1]["accuracy"] > 1.2 / n


def test_steps_and_rate_can_be_chosen(patterns: Dataset, no_files: None) -> None:
    body, _ = fine_tune(finetune_spec(patterns, initialisation=MAML, inner_steps=3, inner_rate=1e-9))
    losses = [step["support_loss"] for step in body["steps"]]
    assert len(losses) == 4
    assert losses == pytest.approx([losses[0]] * 4, abs=1e-5)


def test_a_job_without_an_initialisation_is_refused(patterns: Dataset) -> None:
    queued = jobs.submit(FewShotSpec(dataset_id=patterns.id))
    jobs.request_cancel(queued)
    with pytest.raises(InputError, match=f"initialisation: Job {queued} has no initialisation"):
        run_here(finetune_spec(patterns, initialisation=queued))
    with pytest.raises(InputError, match="There is no job 99"):
        jobs.submit(finetune_spec(patterns, initialisation=99))


def test_without_any_initialisation_the_error_says_how_to_get_one(signs: Dataset) -> None:
    with pytest.raises(InputError, match="Meta-train one first"):
        run_here(finetune_spec(signs, classes=signs.labels[:2]))


def test_a_warning_names_classes_of_the_training(patterns: Dataset, no_files: None) -> None:
    about = initialisations.get(PROTONET).about
    old, new = (
        messages(fine_tune(finetune_spec(patterns, classes=tuple(about[key][:2])))[1])
        for key in ("classes", "held_out")
    )
    assert f"was trained on {about['classes'][0]!r}" in old
    assert "was trained on" not in new


def test_the_most_similar_training_is_chosen_and_the_others_are_listed(
    patterns: Dataset, no_files: None, tmp_path: Path
) -> None:
    def lines(period: int, turned: bool) -> np.ndarray:
        field = np.broadcast_to(np.arange(16) % period < period / 2, (16, 16)) * 200
        noise = np.random.default_rng(period).integers(0, 50, (12, 16, 16))
        return ((field.T if turned else field) + noise).astype(np.uint8)

    kinds = [(period, turned) for period in (2, 3, 4, 6, 8) for turned in (False, True)]
    images = np.concatenate([lines(*kind) for kind in kinds])
    labels = np.repeat([f"every {period}{' turned' * turned}" for period, turned in kinds], 12)
    np.savez(tmp_path / "lines.npz", images=images, labels=labels)
    dataset = datasets.register_images(tmp_path / "lines.npz", name="lines")
    job_id = meta_train(dataset, "ProtoNet")
    body, events = fine_tune(finetune_spec(dataset, classes=dataset.labels[:2]))
    assert (body["initialisation"], body["asked"]) == (job_id, False)
    assert body["proposed"][0]["job_id"] == job_id
    assert {one["job_id"] for one in body["proposed"]} == {job_id, PROTONET, MAML}
    assert set(body["proposed"][0]["like"].values()) <= set(initialisations.get(job_id).about["classes"])
    sentences = f"job {job_id} (ProtoNet), the most similar one. Its training classes are the most similar"
    assert sentences in messages(events)
    assert fine_tune(finetune_spec(patterns))[0]["initialisation"] in (PROTONET, MAML)


def test_a_wave_is_learned_and_drawn_after_each_step(sine_waves: Dataset, no_files: None) -> None:
    dataset = sine_waves
    job_id = meta_train(dataset, "MAML", group="wave", iterations=50, width=16)
    name = initialisations.get(job_id).about["held_out"][0]
    body, _ = fine_tune(FineTuneSpec(dataset_id=dataset.id, classes=(name,), shots=10, queries=10, cpus=1))
    curves = body["curves"]
    assert (len(curves["x"]), [len(step["y"]) for step in curves["steps"]]) == (100, [100] * len(body["steps"]))
    assert (len(curves["support"]["x"]), len(curves["query"]["x"])) == (10, 10)
    assert body["steps"][-1]["loss"] < body["steps"][0]["loss"]
    assert [row["actual"] for row in body["predictions"]] == pytest.approx(curves["query"]["y"])
    on_curve = np.interp(curves["query"]["x"], curves["x"], curves["steps"][-1]["y"])
    assert [row["predicted"] for row in body["predictions"]] == pytest.approx(on_curve, abs=0.1)
    with pytest.raises(InputError, match="has 20 rows; 20 shots"):
        run_here(FineTuneSpec(dataset_id=dataset.id, classes=(name,), shots=20))


def test_rows_of_a_table_are_learned_and_other_columns_refused(home: Path, tmp_path: Path) -> None:
    dataset = register_kinds(tmp_path / "one.csv", ("long", "wide"))
    job_id = meta_train(dataset, "MAML", iterations=30)
    body, events = fine_tune(finetune_spec(dataset, classes=("kind 1", "kind 5", "kind 6")))
    assert body["steps"][-1]["accuracy"] > 0.9
    assert [event.kind for event in events if isinstance(event, Artifact)] == ["adapted_weights"]
    kinds = [type(event) for event in events]
    assert kinds.index(Adapted) < kinds.index(Artifact)
    other = register_kinds(tmp_path / "two.csv", ("long", "high"))
    with pytest.raises(InputError, match="There is no column 'wide', which the network needs"):
        run_here(finetune_spec(other, classes=("kind 1", "kind 5"), initialisation=job_id))
    with pytest.raises(InputError, match="There is no column 'wide'"):
        run_here(finetune_spec(other, classes=("kind 1", "kind 5")))
    own = meta_train(other, "MAML", iterations=1)
    body, _ = fine_tune(finetune_spec(other, classes=("kind 1", "kind 5")))
    assert [one["job_id"] for one in body["proposed"]] == [own]
    images = examples.store(pattern(0, 4)[..., None], [0, 0, 1, 1], ["a", "b"], list("abcd"))
    with pytest.raises(InputError, match="was trained on rows of a table, and the examples are images"):
        run_here(finetune_spec(other, classes=(), examples=images, initialisation=job_id))


def test_texts_are_learned_from_a_few(home: Path, tmp_path: Path, no_files: None) -> None:
    rng = np.random.default_rng(0)
    own = {f"topic {k}": [f"word{k}x{n}" for n in range(6)] for k in range(9)}
    rows = [
        (" ".join(rng.choice([*words, "which", "about", "there"], 8)), label)
        for label, words in own.items()
        for _ in range(20)
    ]
    pd.DataFrame(rows, columns=["question", "topic"]).to_csv(tmp_path / "texts.csv", index=False)
    dataset = datasets.register(tmp_path / "texts.csv", name="texts", target="topic", types={"question": "text"})
    job_id = meta_train(dataset, "ProtoNet", iterations=60)
    classes = tuple(initialisations.get(job_id).about["classes"][:3])
    body, _ = fine_tune(finetune_spec(dataset, classes=classes))
    assert (body["kind"], body["initialisation"]) == ("text", job_id)
    assert body["steps"][-1]["accuracy"] > 0.6
    assert body["proposed"][0]["like"] == {label: label for label in classes}


def test_more_examples_than_fit_the_memory_are_refused(patterns: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    free = type("Memory", (), {"available": 100_000})
    monkeypatch.setattr("runner.fewshot.fine_tune.psutil.virtual_memory", lambda: free)
    with pytest.raises(InputError, match=r"shots: 15 examples at once need about .* Choose fewer shots or classes"):
        run_here(finetune_spec(patterns, initialisation=MAML))


def test_a_gpu_is_refused() -> None:
    with pytest.raises(InputError, match="gpus: Fine-tuning runs on the CPU"):
        specs.parse({"kind": "finetune", "dataset_id": 1, "classes": ["a", "b"], "gpus": 1})


def test_the_log_names_the_initialisation(patterns: Dataset, no_files: None) -> None:
    job_id, _ = run_here(finetune_spec(patterns, initialisation=MAML))
    assert "Initialisation of job 2 (MAML), your choice." in " ".join(log.messages(job_id).text)
