"""Fine-tuning: new classes learned from a few examples, with known answers, and what is handed out."""

from __future__ import annotations

import csv
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from PIL import Image

from core import datasets, results, specs
from core.datasets import Dataset
from core.datasets.images import examples
from core.errors import InputError
from core.events import Adapted, Artifact, Event, Message
from core.queue import jobs, log
from core.results import downloads, initialisations
from core.specs import FewShotSpec, FineTuneSpec
from runner import loop
from runner.fewshot import initialisation_file
from runner.fewshot.deploy import _CALLS, front, plain
from runner.fewshot.initialisation_file import LoadedInitialisation
from runner.fewshot.learning.inner_loop import Inner
from runner.fewshot.learning.task_networks import Conv4, ResNet, initial_weights, measure_statistics
from runner.fewshot.task_adaptation import adapt_task, configure
from runner.nas.space import export
from tests.patterns import LABELS, meta_train, pattern, patterns, run_here
from tests.pictures import pixels

__all__ = ["patterns"]  # a fixture
PROTONET, MAML = 1, 2  # the jobs of `patterns`


@pytest.fixture
def no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the handing out away, which takes seconds and comes after the answer."""
    monkeypatch.setattr("runner.fewshot.deploy.handout", lambda *given: iter(()))


def _tuned(spec: FineTuneSpec) -> tuple[dict[str, Any], list[Event]]:
    job_id, events = run_here(spec)
    body = initialisations.adaptation(job_id)
    assert body is not None
    return body, events


def _texts(events: list[Event]) -> str:
    return "\n".join(event.text for event in events if isinstance(event, Message))


def _spec(dataset: Dataset, **more: Any) -> FineTuneSpec:
    return FineTuneSpec(dataset_id=dataset.id, cpus=1, **{"classes": LABELS[:3]} | more)


@pytest.mark.slow
def test_a_task_is_learned_judged_step_by_step_and_taken_away_as_files_that_predict(
    patterns: Dataset, tmp_path: Path
) -> None:
    job_id = jobs.submit(_spec(patterns, initialisation=MAML, shots=5, queries=10))
    assert loop.run_once("w") == job_id
    assert jobs.overview(job_id=job_id).error[0] is None
    body = initialisations.adaptation(job_id)
    assert body is not None
    assert (body["initialisation"], body["asked"], body["labels"]) == (MAML, True, list(LABELS[:3]))
    assert [step["step"] for step in body["steps"]] == [0, 1, 2, 3, 4, 5]
    assert body["steps"][-1]["accuracy"] > body["steps"][0]["accuracy"]
    assert body["steps"][-1]["loss"] < body["steps"][0]["loss"]
    counts = np.array(body["confusion"]["counts"])
    assert counts.sum() == body["n_queries"] == 30
    assert counts.trace() / 30 == pytest.approx(body["steps"][-1]["accuracy"])
    right = sum(row["actual"] == row["predicted"] for row in body["predictions"])
    assert right / 30 == pytest.approx(body["steps"][-1]["accuracy"])
    _check_bundle(downloads.of_files(results.artifacts_of(job_id)), patterns, body, tmp_path)


def _check_bundle(bundle: Path, dataset: Dataset, body: dict[str, Any], folder: Path) -> None:
    """The script says of images on disk what the job said of the same rows."""
    with zipfile.ZipFile(bundle) as archive:
        assert set(archive.namelist()) == {
            "model.onnx", "model.py", "weights.pt", "predict.py", "README.txt", "adapted.safetensors",
        }  # fmt: skip
        archive.extractall(folder / "taken")
    kept = initialisation_file.load(folder / "taken" / "adapted.safetensors")
    assert (kept.algorithm, kept.network.n_outputs) == (body["algorithm"], 3)
    (folder / "images").mkdir()
    stored = pd.read_parquet(dataset.table).set_index("row")["c0"]
    for row in body["predictions"]:
        pixels = np.frombuffer(stored[row["row"]], np.uint8).reshape(16, 16)
        Image.fromarray(pixels).save(folder / "images" / f"{row['row']:04}.png")
    for option in ([], ["--torch"]):
        command = [sys.executable, "predict.py", str(folder / "images"), "out.csv", *option]
        subprocess.run(command, cwd=folder / "taken", check=True, capture_output=True)
        with open(folder / "taken" / "out.csv") as file:
            said = {int(row["image"][:4]): row for row in csv.DictReader(file)}
        for row in body["predictions"]:
            found = [float(said[row["row"]][f"probability of {label}"]) for label in body["labels"]]
            assert found == pytest.approx(row["probabilities"], abs=1.5e-4)
            assert said[row["row"]]["label"] == row["predicted"]


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "stored"), [("ProtoNet", False), ("ProtoNet", True), ("MAML", False)])
@pytest.mark.parametrize("network", [Conv4(3, 4, 8), ResNet(3, 4, 8)])
def test_the_network_to_take_away_says_what_the_engine_says(
    tmp_path: Path, network: Conv4 | ResNet, algorithm: str, stored: bool
) -> None:
    inner, weights = Inner(steps=3, rate=0.1), initial_weights(network, 1)
    if stored:
        other = torch.from_numpy(np.stack([pixels(200 + n, 14, 16) for n in range(9)])).permute(0, 3, 1, 2) / 300
        weights |= measure_statistics(network, weights, other)
    start = LoadedInitialisation(algorithm, network, inner, weights, {"kind": "image", "shape": [14, 16, 3]})
    support, query = (torch.from_numpy(np.stack([pixels(k + n, 14, 16) for k in range(16)])) for n in (0, 100))
    raw = query.permute(0, 3, 1, 2).contiguous()
    x, y = support.permute(0, 3, 1, 2).float() / 255, torch.arange(16) % 4
    *_, step = adapt_task(start, x, y, raw.float() / 255)
    module = plain(network, step.weights, x)
    text = export.source(module, front(3), "Test", "abcd", _CALLS)
    files = export.write(export.module(text, module, front(3), None), text, raw[:2], tmp_path)
    session = onnxruntime.InferenceSession(files["onnx"])
    engine = step.outputs.softmax(1).numpy()
    assert engine.std() > 0.01
    assert session.run(None, {"x": raw.numpy()})[0] == pytest.approx(engine, abs=1e-4)
    alone = [session.run(None, {"x": row[None].numpy()})[0][0] for row in raw]
    assert np.stack(alone) == pytest.approx(engine, abs=1e-4)


def test_prototypes_are_one_step_and_need_no_head(patterns: Dataset, no_files: None) -> None:
    body, events = _tuned(_spec(patterns, initialisation=PROTONET, classes=LABELS[:5]))
    assert [step["step"] for step in body["steps"]] == [1]
    assert body["steps"][0]["accuracy"] > 0.4
    assert "head" not in _texts(events)


@pytest.mark.parametrize(("n", "told"), [(5, "the additional ones start as their mean"), (2, "the first 2 of")])
def test_another_number_of_classes_is_learned_and_told(patterns: Dataset, no_files: None, n: int, told: str) -> None:
    body, events = _tuned(_spec(patterns, initialisation=MAML, classes=LABELS[:n]))
    assert told in _texts(events)
    assert body["steps"][-1]["accuracy"] > 1.2 / n


def test_steps_and_rate_can_be_chosen(patterns: Dataset, no_files: None) -> None:
    body, _ = _tuned(_spec(patterns, initialisation=MAML, inner_steps=3, inner_rate=1e-9))
    losses = [step["support_loss"] for step in body["steps"]]
    assert len(losses) == 4
    assert losses == pytest.approx([losses[0]] * 4, abs=1e-5)


def test_the_same_seed_draws_the_same_task_and_another_seed_another(patterns: Dataset, no_files: None) -> None:
    first, again, other = (
        _tuned(_spec(patterns, initialisation=PROTONET, seed=seed))[0]["support"] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_support_and_query_are_disjoint_and_of_the_classes_asked_for(patterns: Dataset, no_files: None) -> None:
    body, _ = _tuned(_spec(patterns, initialisation=PROTONET, shots=7, queries=9))
    support, query = ({row["row"] for row in body[key]} for key in ("support", "predictions"))
    assert (len(support), len(query), support & query) == (21, 27, set())
    labels = pd.read_parquet(patterns.table).set_index("row")["c1"]
    assert all(labels[row["row"]] == row["label"] for row in body["support"])
    assert all(labels[row["row"]] == row["actual"] for row in body["predictions"])


def test_of_few_images_all_that_are_not_learned_are_judged(patterns: Dataset, no_files: None) -> None:
    body, _ = _tuned(_spec(patterns, initialisation=PROTONET, shots=17, queries=50))
    assert body["n_queries"] == 9


def test_too_few_images_are_refused_with_the_number_there_is(patterns: Dataset) -> None:
    with pytest.raises(InputError, match=r"'pattern00' has 20 examples; 20 shots .* Choose at most 19 shots"):
        run_here(_spec(patterns, shots=20))


def test_an_initialisation_that_was_never_made_is_refused(patterns: Dataset) -> None:
    queued = jobs.submit(FewShotSpec(dataset_id=patterns.id))
    jobs.request_cancel(queued)
    with pytest.raises(InputError, match=f"initialisation: Job {queued} has no initialisation"):
        run_here(_spec(patterns, initialisation=queued))
    with pytest.raises(InputError, match="There is no job 99"):
        jobs.submit(_spec(patterns, initialisation=99))


def test_without_any_initialisation_one_is_asked_for(home: Path, tmp_path: Path) -> None:
    dataset = datasets.add_sample("digits_images")
    with pytest.raises(InputError, match="Meta-train one first"):
        run_here(FineTuneSpec(dataset_id=dataset.id, classes=("0", "1"), cpus=1))


def test_classes_of_the_training_are_told(patterns: Dataset, no_files: None) -> None:
    about = initialisations.get(PROTONET).about
    old, new = (_texts(_tuned(_spec(patterns, classes=tuple(about[key][:2])))[1]) for key in ("classes", "held_out"))
    assert f"was trained on {about['classes'][0]!r}" in old
    assert "was trained on" not in new


def _examples(n: int, side: int, channels: int, unknown: int = 0) -> str:
    """A kept file of n images each of two classes and some whose class is to be found: the first class's."""
    parts = [pattern(0, n, side), pattern(1, n, side), pattern(0, unknown + 1, side, seed=9)[1:]]
    images = np.repeat(np.concatenate(parts)[..., None], channels, 3)
    codes = [0] * n + [1] * n + [examples.UNKNOWN] * unknown
    return examples.store(images, codes, ["left", "right"], [f"{place}.png" for place in range(len(images))])


def test_uploaded_images_beyond_the_shots_are_judged_and_unknown_ones_predicted(
    patterns: Dataset, no_files: None
) -> None:
    sha256 = _examples(8, 16, 1, unknown=3)
    body, _ = _tuned(_spec(patterns, classes=(), examples=sha256, shots=5, initialisation=PROTONET))
    assert body["labels"] == ["left", "right"]
    assert [row["name"] for row in body["support"]] == [f"{n}.png" for k in range(5) for n in (k, 8 + k)]
    assert [row["actual"] for row in body["predictions"]] == [None] * 3 + ["left"] * 3 + ["right"] * 3
    assert [row["name"] for row in body["predictions"][:3]] == ["16.png", "17.png", "18.png"]
    assert [row["predicted"] for row in body["predictions"][:3]].count("left") >= 2
    assert np.array(body["confusion"]["counts"]).sum() == body["n_queries"] == 6


def test_without_judged_images_there_is_no_accuracy(patterns: Dataset, no_files: None) -> None:
    sha256 = _examples(3, 16, 1, unknown=1)
    body, _ = _tuned(_spec(patterns, classes=(), examples=sha256, shots=5, initialisation=MAML))
    assert [step["accuracy"] for step in body["steps"]] == [None] * 6
    assert body["steps"][-1]["loss"] < body["steps"][0]["loss"]
    assert body["confusion"] is None
    assert len(body["predictions"]) == 1


def test_images_of_another_size_and_mode_are_converted_and_told(patterns: Dataset, no_files: None) -> None:
    sha256 = _examples(8, 32, 3)
    body, events = _tuned(_spec(patterns, classes=(), examples=sha256, shots=5, initialisation=PROTONET))
    assert "The images were resized from 32 x 32 to 16 x 16 pixels and made grey" in _texts(events)
    assert body["steps"][-1]["accuracy"] > 0.8


def test_copies_of_what_was_learned_and_images_in_two_classes_are_told(patterns: Dataset, no_files: None) -> None:
    images = np.concatenate([pattern(0, 3), pattern(1, 3), pattern(0, 1), pattern(1, 1)])[..., None]
    sha256 = examples.store(images, [0, 0, 0, 1, 1, 1, 0, 0], ["a", "b"], list("abcdefgh"))
    _, events = _tuned(_spec(patterns, classes=(), examples=sha256, shots=3, initialisation=PROTONET))
    assert "1 of the 2 query examples are copies of support examples" in _texts(events)
    assert "'b' and 'a' have an example in common" in _texts(events)


def test_one_class_or_one_without_images_is_refused(patterns: Dataset) -> None:
    one = examples.store(pattern(0, 3)[..., None], [0] * 3, ["only"], list("abc"))
    with pytest.raises(InputError, match="One class alone cannot be told apart"):
        run_here(_spec(patterns, classes=(), examples=one))
    empty = examples.store(pattern(0, 3)[..., None], [0] * 3, ["some", "none"], list("abc"))
    with pytest.raises(InputError, match="'none' has no image to learn from"):
        run_here(_spec(patterns, classes=(), examples=empty))
    with pytest.raises(InputError, match=r"alone cannot be told apart from anything\. Choose 2 or more"):
        run_here(_spec(patterns, classes=LABELS[:1]))
    with pytest.raises(InputError, match="There is no stored file of examples"):
        run_here(_spec(patterns, classes=(), examples="0" * 64))


def test_the_nearest_training_is_chosen_and_the_others_are_told(
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
    body, events = _tuned(_spec(dataset, classes=dataset.labels[:2]))
    assert (body["initialisation"], body["asked"]) == (job_id, False)
    assert body["proposed"][0]["job_id"] == job_id
    assert {one["job_id"] for one in body["proposed"]} == {job_id, PROTONET, MAML}
    assert set(body["proposed"][0]["like"].values()) <= set(initialisations.get(job_id).about["classes"])
    assert f"job {job_id} (ProtoNet), the most similar one. Its training classes are the most similar" in _texts(events)
    assert _tuned(_spec(patterns))[0]["initialisation"] in (PROTONET, MAML)


def test_a_wave_is_learned_and_drawn_after_each_step(home: Path, no_files: None) -> None:
    dataset = datasets.add_sample("sine_waves")
    group = next(column.name for column in dataset.features if column.name not in ("x", "y"))
    job_id = meta_train(dataset, "MAML", group=group, iterations=200, width=16)
    name = initialisations.get(job_id).about["held_out"][0]
    body, _ = _tuned(FineTuneSpec(dataset_id=dataset.id, classes=(name,), shots=10, queries=10, cpus=1))
    curves = body["curves"]
    assert (len(curves["x"]), [len(step["y"]) for step in curves["steps"]]) == (100, [100] * len(body["steps"]))
    assert (len(curves["support"]["x"]), len(curves["query"]["x"])) == (10, 10)
    assert body["steps"][-1]["loss"] < body["steps"][0]["loss"]
    assert [row["actual"] for row in body["predictions"]] == pytest.approx(curves["query"]["y"])
    said = np.interp(curves["query"]["x"], curves["x"], curves["steps"][-1]["y"])
    assert [row["predicted"] for row in body["predictions"]] == pytest.approx(said, abs=0.1)
    with pytest.raises(InputError, match="has 20 rows; 20 shots"):
        run_here(FineTuneSpec(dataset_id=dataset.id, classes=(name,), shots=20))


def _table(path: Path, names: tuple[str, str]) -> Dataset:
    rng = np.random.default_rng(0)
    kinds = np.repeat(np.arange(9), 20)
    rows = np.column_stack([kinds % 3, kinds // 3]) * 4 + rng.normal(0, 0.3, (180, 2))
    frame = pd.DataFrame(rows, columns=list(names)).assign(kind=[f"kind {k}" for k in kinds])
    frame.to_csv(path, index=False)
    return datasets.register(path, name=path.stem, target="kind")


def test_rows_of_a_table_are_learned_and_other_columns_refused(home: Path, tmp_path: Path) -> None:
    dataset = _table(tmp_path / "one.csv", ("long", "wide"))
    job_id = meta_train(dataset, "MAML", iterations=100)
    body, events = _tuned(_spec(dataset, classes=("kind 1", "kind 5", "kind 6")))
    assert body["steps"][-1]["accuracy"] > 0.9
    assert [event.kind for event in events if isinstance(event, Artifact)] == ["adapted_weights"]
    kinds = [type(event) for event in events]
    assert kinds.index(Adapted) < kinds.index(Artifact)
    other = _table(tmp_path / "two.csv", ("long", "high"))
    with pytest.raises(InputError, match="There is no column 'wide', which the network needs"):
        run_here(_spec(other, classes=("kind 1", "kind 5"), initialisation=job_id))
    with pytest.raises(InputError, match="There is no column 'wide'"):
        run_here(_spec(other, classes=("kind 1", "kind 5")))
    own = meta_train(other, "MAML")
    body, _ = _tuned(_spec(other, classes=("kind 1", "kind 5")))
    assert [one["job_id"] for one in body["proposed"]] == [own]
    images = examples.store(pattern(0, 4)[..., None], [0, 0, 1, 1], ["a", "b"], list("abcd"))
    with pytest.raises(InputError, match="was trained on rows of a table, and the examples are images"):
        run_here(_spec(other, classes=(), examples=images, initialisation=job_id))


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
    body, _ = _tuned(_spec(dataset, classes=classes))
    assert (body["kind"], body["initialisation"]) == ("text", job_id)
    assert body["steps"][-1]["accuracy"] > 0.6
    assert body["proposed"][0]["like"] == {label: label for label in classes}


@pytest.mark.parametrize(
    ("algorithm", "inner"),
    [
        ("First-order MAML", Inner(steps=3, rate=0.1, first_order=True)),
        ("ANIL", Inner(steps=3, rate=0.1, only_head=True)),
        ("Reptile", Inner(steps=3, rate=0.1)),
        ("MAML", Inner(steps=2, rate=0.1, learned_rates=True)),
    ],
)
def test_every_algorithm_learns_the_support_also_past_its_learned_rates(algorithm: str, inner: Inner) -> None:
    network = Conv4(1, 3, 8)
    weights = initial_weights(network, 1) | inner.rates(network)
    start = configure(LoadedInitialisation(algorithm, network, inner, weights, {}), 3, 4, None)
    x = torch.from_numpy(np.concatenate([pattern(k, 5) for k in range(3)]))[:, None].float() / 255
    found = list(adapt_task(start, x, torch.arange(3).repeat_interleave(5), x))
    losses = [step.support_loss for step in found]
    assert losses == sorted(losses, reverse=True)
    assert (len(losses), losses[0]) == (5, pytest.approx(np.log(3), abs=1e-5))
    changed = {name for name, value in found[-1].weights.items() if not torch.equal(value, weights[name])}
    assert changed == ({"head.weight", "head.bias"} if inner.only_head else set(network.shapes()))


def test_more_examples_than_the_memory_takes_are_refused(patterns: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    free = type("Memory", (), {"available": 100_000})
    monkeypatch.setattr("runner.fewshot.fine_tune.psutil.virtual_memory", lambda: free)
    with pytest.raises(InputError, match=r"shots: 15 examples at once need about .* Choose fewer shots or classes"):
        run_here(_spec(patterns, initialisation=MAML))


def test_no_gpu_is_asked_for(patterns: Dataset) -> None:
    with pytest.raises(InputError, match="gpus: Fine-tuning runs on the CPU"):
        specs.parse({"kind": "finetune", "dataset_id": 1, "classes": ["a", "b"], "gpus": 1})


def test_the_log_says_what_was_chosen(patterns: Dataset, no_files: None) -> None:
    job_id, _ = run_here(_spec(patterns, initialisation=MAML))
    assert "Initialisation of job 2 (MAML), your choice." in " ".join(log.messages(job_id).text)
