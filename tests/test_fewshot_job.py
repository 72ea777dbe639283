"""Meta-training as a job: from a registered dataset through the real runner to an initialisation and its worth."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core import datasets, results
from core.datasets import Dataset
from core.errors import InputError
from core.queue import jobs, log
from core.results import initialisations
from core.specs import FewShotSpec
from runner import loop
from runner.fewshot import initialisation_file, recipes
from runner.fewshot.job import CHECKPOINT, run
from runner.fewshot.learning import checkpoint
from runner.fewshot.learning.algorithms import ALGORITHMS
from runner.fewshot.learning.episodes import SPLITS, ClassTasks, GroupTasks
from runner.fewshot.learning.meta_evaluation import evaluate
from runner.fewshot.learning.task_networks import MLP, Conv4, ResNet
from runner.fewshot.training_setup import evaluation_tasks, set_up
from runner.shared.context import Context


def _run(spec: FewShotSpec) -> int:
    job_id = jobs.submit(spec)
    assert loop.run_once("w") == job_id
    row = jobs.overview(job_id=job_id).iloc[0]
    assert (row.status, row.fraction, row.error) == ("succeeded", 1.0, None)
    return job_id


def _images(path: Path, n_classes: int = 18, each: int = 12, names: list[str] | None = None) -> Dataset:
    """Images of noise over a pattern that those of a class share."""
    rng = np.random.default_rng(0)
    patterns = rng.random((n_classes, 1, 12, 12))
    found = (255 * (0.7 * patterns + 0.3 * rng.random((n_classes, each, 12, 12)))).astype(np.uint8)
    names = names or [f"sign {c:02}" for c in range(n_classes)]
    np.savez(path, x=found.reshape(-1, 12, 12), y=np.repeat(names, each))
    return datasets.register_images(path, name=path.stem)


@pytest.fixture
def signs(home: Path, tmp_path: Path) -> Dataset:
    """18 classes of 12 small images."""
    return _images(tmp_path / "signs.npz")


@pytest.fixture
def table(home: Path, tmp_path: Path) -> Dataset:
    """12 kinds of things that differ by two numbers and a colour, 20 rows each."""
    rng = np.random.default_rng(0)
    centres, colours = rng.normal(0, 9, (12, 2)), rng.choice(["red", "green", "blue"], 12)
    lines = ["size,weight,colour,kind"]
    for kind in range(12):
        for a, b in centres[kind] + rng.normal(0, 1, (20, 2)):
            lines.append(f"{100 + a:.3f},{b:.3f},{colours[kind]},kind {kind:02}")
    path = tmp_path / "things.csv"
    path.write_text("\n".join(lines) + "\n")
    return datasets.register(path, name="things", target="kind")


@pytest.fixture
def texts(home: Path, tmp_path: Path) -> Dataset:
    """15 topics, each with a word of its own, and its favourites among words that all share."""
    rng = np.random.default_rng(0)
    lines, shared = ["text,topic"], [f"shared{n}" for n in range(16)]
    for topic in range(15):
        favourites = rng.choice(shared, 4, replace=False)
        for number in range(12):
            words = [*rng.choice(favourites, 6), f"own{topic}", "the", f"n{number}x{topic}"]
            lines.append(f"{' '.join(rng.permutation(words))},t{topic}")
    path = tmp_path / "topics.csv"
    path.write_text("\n".join(lines) + "\n")
    return datasets.register(path, name="topics", target="topic", types={"text": "text"})


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["ProtoNet", "MAML"])
def test_a_meta_training_on_images_leaves_an_initialisation_and_its_worth(signs: Dataset, algorithm: str) -> None:
    spec = FewShotSpec(
        dataset_id=signs.id, algorithm=algorithm, ways=3, queries=5, width=8, cpus=1, budget_s=60, iterations=60,
        test_episodes=100, outer_rate=0.01, multi_step_loss=algorithm == "MAML",
    )  # fmt: skip
    job_id = _run(spec)
    board = initialisations.leaderboard(signs.id)
    assert set(board.protocol) == {"inductive", "transductive"}
    assert set(board.metric) == {"accuracy"}
    assert (board.lower > 0.5).all()  # chance is a third
    assert ((board.lower < board.test) & (board.test < board.upper) | (board.test == 1)).all()
    assert (board.n_episodes == 100).all()
    assert (board.adapt_s > 0).all()
    curve = results.curve(job_id, "valid_accuracy")
    lower = results.curve(job_id, "valid_accuracy_lower")
    assert curve.step.iloc[-1] == 60
    assert (lower.value <= curve.value).all()
    assert len(results.curve(job_id, "train_loss")) >= 1
    kept = initialisations.get(job_id)
    one = initialisation_file.load(kept.path)
    assert (kept.algorithm, kept.network, kept.ways, kept.shots) == (algorithm, "Conv4-8", 3, 1)
    assert kept.n_parameters == one.n_parameters
    assert one.recipe == {"kind": "image", "shape": [12, 12, 1]}
    about = kept.about
    assert sorted(about["classes"] + about["held_out"]) == list(signs.labels)
    assert set(about["profile"]) == set(about["classes"])
    assert (about["kind"], about["n_rows"]) == ("image", 216)
    tasks = evaluation_tasks(set_up(signs, FewShotSpec(dataset_id=signs.id, ways=3, queries=2)).tasks)
    inductive = replace(one.inner, transductive=False)
    found = evaluate(one.network, one.weights, tasks, "test", ALGORITHMS[algorithm], inductive, 100)
    assert found.value == pytest.approx(board.set_index("protocol").test["inductive"], abs=0.01)


@pytest.mark.slow
def test_a_meta_training_on_a_table_has_no_transductive_side(table: Dataset) -> None:
    spec = FewShotSpec(
        dataset_id=table.id, algorithm="Reptile", ways=2, shots=3, queries=5, cpus=1, budget_s=60, iterations=100,
        test_episodes=100, width=16,
    )  # fmt: skip
    job_id = _run(spec)
    found = initialisations.evaluations_of(job_id).iloc[0]
    assert (len(initialisations.evaluations_of(job_id)), found.protocol, found.network) == (1, "inductive", "MLP-16")
    assert found.lower > 0.7  # chance is a half
    columns = initialisation_file.load(initialisations.get(job_id).path).recipe["columns"]
    assert [column["name"] for column in columns] == ["size", "weight", "colour"]


@pytest.mark.slow
def test_a_meta_training_on_texts(texts: Dataset) -> None:
    spec = FewShotSpec(
        dataset_id=texts.id, ways=3, shots=3, queries=5, cpus=1, budget_s=60, iterations=60, test_episodes=100,
        width=16, outer_rate=0.01,
    )  # fmt: skip
    job_id = _run(spec)
    found = initialisations.leaderboard(texts.id).iloc[0]
    assert found.network == "TextMean-16"
    assert found.lower > 0.5  # chance is a third
    assert initialisation_file.load(initialisations.get(job_id).path).recipe["kind"] == "text"


@pytest.mark.slow
def test_sine_waves_are_learned_from_a_few_points(home: Path) -> None:
    dataset = datasets.add_sample("sine_waves")
    spec = FewShotSpec(
        dataset_id=dataset.id, algorithm="Reptile", group="wave", shots=10, queries=10, cpus=1, budget_s=60,
        iterations=1500, test_episodes=200, width=40,
    )  # fmt: skip
    job_id = _run(spec)
    found = initialisations.evaluations_of(job_id).iloc[0]
    assert (found.metric, found.protocol) == ("mse", "inductive")
    deviation = datasets.load(dataset)[dataset.target_column.key].std()
    assert found.upper < 0.5 * deviation**2  # in the unit of y; the mean of all waves has all of it
    errors = results.curve(job_id, "valid_error")
    assert errors.value.iloc[-1] < 0.5 * deviation**2
    about = initialisations.get(job_id).about
    assert about["kind"] == "waves"
    assert len(about["classes"]) + len(about["held_out"]) == 500
    assert about["inputs"]["group"] == "wave"


def _saved(home: Path, job_id: int, thread: threading.Thread, attempt: int = 1) -> Path:
    """The checkpoint of a running attempt, once it is there."""
    path = home / "jobs" / f"{job_id}-{attempt}" / CHECKPOINT
    while not path.exists():
        assert thread.is_alive()
        time.sleep(0.05)
    return path


def _served() -> threading.Thread:
    thread = threading.Thread(target=loop.serve, kwargs={"drain": True})
    thread.start()
    return thread


@pytest.mark.slow
def test_a_meta_training_that_is_killed_goes_on_from_its_checkpoint(home: Path, signs: Dataset) -> None:
    import psutil

    spec = FewShotSpec(dataset_id=signs.id, ways=3, queries=5, width=8, cpus=1, budget_s=30, test_episodes=50)
    job_id = jobs.submit(spec)
    thread = _served()
    path = _saved(home, job_id, thread)
    supervisor = psutil.Process(int(path.with_name("alive.lock").read_text()))
    [process] = [p for p in supervisor.children() if "runner.child" in p.cmdline()]
    process.kill()
    thread.join()
    assert (jobs.get(job_id).status, jobs.get(job_id).attempt) == ("succeeded", 2)
    assert "The meta-training resumes after" in " ".join(log.messages(job_id).text)
    first, second = checkpoint.load(path), checkpoint.load(home / "jobs" / f"{job_id}-2" / CHECKPOINT)
    assert second.iteration > first.iteration > 0
    assert second.spent_s > first.spent_s
    assert len(initialisations.leaderboard(signs.id)) == 2  # protocols, of one job


@pytest.mark.slow
def test_a_meta_training_can_pause_and_go_on(home: Path, signs: Dataset) -> None:
    spec = FewShotSpec(dataset_id=signs.id, ways=3, queries=5, width=8, cpus=1, budget_s=25, test_episodes=50)
    job_id = jobs.submit(spec)
    thread = _served()
    path = _saved(home, job_id, thread)
    jobs.request_pause(job_id)
    thread.join()
    assert jobs.get(job_id).status == "paused"
    assert len(initialisations.evaluations_of(job_id)) == 0
    jobs.resume(job_id)
    _served().join()
    assert (jobs.get(job_id).status, jobs.get(job_id).attempt) == ("succeeded", 2)
    later = checkpoint.load(home / "jobs" / f"{job_id}-2" / CHECKPOINT)
    assert later.iteration > checkpoint.load(path).iteration
    assert len(initialisations.evaluations_of(job_id)) == 2


@pytest.mark.slow
def test_a_meta_training_that_is_cancelled_leaves_nothing_to_adapt(home: Path, signs: Dataset) -> None:
    job_id = jobs.submit(FewShotSpec(dataset_id=signs.id, ways=3, queries=5, width=8, cpus=1, budget_s=600))
    thread = _served()
    while len(results.curve(job_id, "train_loss")) == 0:
        assert thread.is_alive()
        time.sleep(0.1)
    jobs.request_cancel(job_id)
    thread.join()
    assert jobs.get(job_id).status == "cancelled"
    assert initialisations.all_initialisations() == []


def _context(dataset: Dataset, directory: Path, attempt: int = 1) -> Context:
    (directory / f"9-{attempt}").mkdir(exist_ok=True)
    return Context(9, attempt, dataset, directory / f"9-{attempt}", 1, 0, lambda: False)


@pytest.mark.slow
def test_a_checkpoint_of_other_data_is_refused(signs: Dataset, tmp_path: Path) -> None:
    spec = FewShotSpec(
        dataset_id=signs.id, ways=3, queries=5, width=8, cpus=1, budget_s=60, iterations=4, test_episodes=10
    )
    assert list(run(spec, _context(signs, tmp_path)))
    other = _images(tmp_path / "other.npz", each=11)
    with pytest.raises(InputError, match=r"another dataset .* start a new training"):
        list(run(spec, _context(other, tmp_path, 2)))


def test_the_classes_of_the_splits_are_disjoint_and_the_same_for_every_job(signs: Dataset) -> None:
    one = set_up(signs, FewShotSpec(dataset_id=signs.id, ways=3, queries=5))
    other = set_up(signs, FewShotSpec(dataset_id=signs.id, ways=3, queries=8, seed=7, algorithm="MAML", width=8))
    assert one.tasks.splits == other.tasks.splits
    shared = [set(one.classes(split)) for split in SPLITS]
    assert [len(names) for names in shared] == [8, 5, 5]
    assert set().union(*shared) == set(signs.labels)
    assert isinstance(one.tasks, ClassTasks)
    assert isinstance(other.tasks, ClassTasks)
    assert one.tasks.draw("train", 0) != other.tasks.draw("train", 0)
    mine, theirs = evaluation_tasks(one.tasks), evaluation_tasks(other.tasks)
    assert mine.queries == 11  # all but the one shot of 12
    for split in ("valid", "test"):
        assert [mine.draw(split, e) for e in range(9)] == [theirs.draw(split, e) for e in range(9)]
    assert one.network == Conv4(1, 3, 64)
    deep = set_up(signs, FewShotSpec(dataset_id=signs.id, ways=3, queries=5, network="resnet", width=8))
    assert deep.network == ResNet(1, 3, 8)


def test_all_rows_of_a_class_are_pooled_and_alphabets_stay_together(home: Path, tmp_path: Path) -> None:
    names = [f"alphabet {c % 6}/character{c:02}" for c in range(18)]
    dataset = _images(tmp_path / "alphabets.npz", names=names)
    prepared = set_up(dataset, FewShotSpec(dataset_id=dataset.id, ways=3, queries=5, rotations=True))
    assert prepared.n_rows == sum(dataset.n_rows.values()) == 216
    homes = [{name.partition("/")[0] for name in prepared.classes(split)} for split in SPLITS]
    assert sum(len(found) for found in homes) == 6


def test_equal_images_and_small_classes_are_told(home: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (18 * 8, 6, 6), np.uint8)
    labels = np.repeat([f"c{c:02}" for c in range(18)], 8)
    values[8] = values[0]  # of another class
    values[17] = values[16]  # of the same
    keep = np.ones(len(labels), bool)
    keep[[27, 28, 29, 30, 31]] = False  # three images are left of a class
    np.savez(tmp_path / "odd.npz", x=values[keep], y=labels[keep])
    dataset = datasets.register_images(tmp_path / "odd.npz", name="odd")
    prepared = set_up(dataset, FewShotSpec(dataset_id=dataset.id, ways=2, queries=4))
    told = " ".join(prepared.warnings)
    assert "1 images repeat another one of their class and are left out." in told
    assert "1 images are in more than one class, such as in 'c00' and 'c01'" in told
    assert (
        "1 classes have fewer than 5 examples and are left out of training, for 1 shots and 4 queries: 'c03'." in told
    )
    assert prepared.n_rows == 18 * 8 - 5 - 1


def test_a_table_is_scaled_by_its_train_classes_only(table: Dataset) -> None:
    prepared = set_up(table, FewShotSpec(dataset_id=table.id, ways=2, shots=3, queries=5))
    tasks = prepared.tasks
    assert isinstance(tasks, ClassTasks)
    assert isinstance(prepared.network, MLP)
    trains = torch.isin(tasks.labels, torch.tensor(tasks.splits["train"]))
    assert tasks.inputs[trains][:, :2].mean(0).abs().max() < 1e-5
    assert (tasks.inputs[trains][:, :2].std(0, correction=0) - 1).abs().max() < 1e-5
    assert tasks.inputs[~trains][:, :2].mean(0).abs().max() > 0.01
    assert prepared.network.n_inputs == tasks.inputs.shape[1]


def test_the_vocabulary_is_that_of_the_train_classes(texts: Dataset) -> None:
    prepared = set_up(texts, FewShotSpec(dataset_id=texts.id, ways=3, shots=3, queries=5))
    words = set(prepared.recipe["words"])
    for split, there in (("train", True), ("valid", False), ("test", False)):
        assert all((f"own{name[1:]}" in words) == there for name in prepared.classes(split))
    tasks = prepared.tasks
    assert isinstance(tasks, ClassTasks)
    assert tasks.inputs.dtype == torch.int64
    # Words of held-out classes are told apart all the same, beyond the vocabulary.
    first = len(words) + 2
    held_out = [int(rows[0]) for name in prepared.classes("test") for rows in [tasks.rows[texts.labels.index(name)]]]
    beyond = [set(tasks.inputs[row][tasks.inputs[row] >= first].tolist()) for row in held_out]
    assert all(beyond)
    assert len(set.union(*beyond)) >= len(beyond)
    assert int(tasks.inputs.max()) < first + 512 == prepared.network.vocabulary


def test_words_of_most_classes_are_left_out_and_unknown_ones_have_numbers_of_their_own() -> None:
    texts = ["the cat sat", "the cat ran", "the dog barks", "the dog sat", "the owl"]
    recipe = recipes.text_recipe(texts, [0, 0, 1, 1, 2])
    assert (recipe["stop"], recipe["words"], recipe["length"]) == (["sat", "the"], ["cat", "dog"], 2)
    [cat, new, none] = recipes.encode_texts(recipe, ["The cat sat on", "zebra sat zebra", "the"]).tolist()
    assert cat[0] == 2  # the first word of the vocabulary
    assert cat[1] >= 4
    assert new[0] == new[1] >= 4
    assert new[0] != cat[1]
    assert none == [0, 0]
    with pytest.raises(InputError, match="have no words"):
        recipes.text_recipe(["", "!"], [0, 1])


def test_the_groups_of_a_regression_are_its_tasks(home: Path) -> None:
    dataset = datasets.add_sample("sine_waves")
    spec = FewShotSpec(dataset_id=dataset.id, algorithm="MAML", group="wave", shots=5, queries=10)
    prepared = set_up(dataset, spec)
    tasks = prepared.tasks
    assert isinstance(tasks, GroupTasks)
    assert (tasks.x.shape, tasks.y.shape) == ((10_000, 1), (10_000, 1))
    trains = torch.isin(tasks.groups, torch.tensor(tasks.splits["train"]))
    assert abs(float(tasks.y[trains].mean())) < 1e-4
    assert prepared.recipe["group"] == "wave"
    assert prepared.unit == pytest.approx(prepared.recipe["target"]["std"] ** 2)


def test_what_cannot_be_trained_is_told_with_the_remedy(signs: Dataset, table: Dataset) -> None:
    def told(dataset: Dataset, **choices: object) -> str:
        with pytest.raises(InputError) as caught:
            set_up(dataset, FewShotSpec(dataset_id=dataset.id, **choices))  # type: ignore[arg-type]
        return str(caught.value)

    assert "at most 0-way with 9 shots, and at most 7 shots with 3 ways" in told(signs, ways=3, shots=9, queries=5)
    assert "At most 11 queries would be possible" in told(signs, ways=3, queries=15)
    assert "at most 5-way" in told(signs, ways=6, queries=5)
    assert told(table, ways=2, network="conv4") == "network: 'conv4' does not work on rows of numbers. Choose mlp."
    assert told(signs, ways=2, queries=5, network="mlp").endswith(
        "does not work on images. Choose conv4, resnet or pretrained."
    )
    assert told(table, ways=2, network="pretrained", backbone="0" * 64).endswith("work on rows of numbers. Choose mlp.")
    assert told(table, ways=2, rotations=True).startswith(
        "rotations: things has no images, and only images can be rotated"
    )


def test_images_that_are_no_squares_cannot_turn(home: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (9 * 8, 6, 8), np.uint8)
    np.savez(tmp_path / "wide.npz", x=values, y=np.repeat(np.arange(9), 8))
    dataset = datasets.register_images(tmp_path / "wide.npz", name="wide")
    with pytest.raises(InputError, match="Images of 8 x 6 pixels cannot be rotated"):
        set_up(dataset, FewShotSpec(dataset_id=dataset.id, ways=2, queries=5, rotations=True))


def test_a_gpu_that_is_not_there_is_no_silent_fall_back(signs: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="gpus: This machine has no GPU"):
        list(run(FewShotSpec(dataset_id=signs.id, gpus=1), Context(1, 1, signs, Path("/nowhere"), 1, 1, lambda: False)))
