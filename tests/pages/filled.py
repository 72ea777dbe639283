"""A store with something on every page, made through core: for the tests of the pages, and to look at them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core import datasets, results, specs
from core.events import (
    Architecture,
    Artifact,
    Environment,
    Event,
    Message,
    Metric,
    PolicyPoint,
    Progress,
    Score,
    TrialDone,
)
from core.queue import jobs
from core.scoring import METRICS, Task, metrics_for

# What people may type: markup of every kind that a page could take for its own.
ODD = "<script>alert(1)</script> *a* _b_ [c](http://d) $e$ :smile: 'f' \"g\" ✨"


@dataclass(frozen=True)
class Filled:
    """A store with a job of each state; the ids that the tests ask for."""

    binary: int
    regression: int
    succeeded: int
    failed: int
    running: int
    queued: int
    trial: int
    yardstick: int
    images: int
    searched: int
    finalist: int
    paused: int


def scores(task: Task, quality: float) -> tuple[Score, ...]:
    """Scores of a made-up trial."""
    found = []
    for name in metrics_for(task):
        kind = METRICS[name]
        test = quality if kind.higher_is_better else (1 - quality) * (60 if task == "regression" else 1)
        width = 0.02 * max(1.0, test)
        valid = test * 1.01
        found.append(Score(name, valid, test, test - width, test + width, kind.error(valid), kind.error(test)))
    return tuple(found)


def trial(
    number: int, task: Task, labels: tuple[str, ...], *, algorithm: str = "GBM", yardstick: bool = False
) -> TrialDone:
    """A made-up trial, with everything that its page draws."""
    quality = 0.8 + 0.15 * math.sin(number) ** 2
    falling = [1 / (i + 1) for i in range(20)]
    series = {"train log loss": falling, "valid log loss": [value + 0.05 for value in falling]}
    features = [f"feature 0 {ODD}", *(f"feature {i}" for i in range(1, 25))]
    details: dict[str, Any] = {
        "importance": [{"feature": name, "value": 1 / (i + 1)} for i, name in enumerate(features)],
        "curve": {"x_label": "number of trees", "x": list(range(20)), "series": series},
    }
    if task == "regression":
        actual = [float(i % 97) for i in range(300)]
        details["residuals"] = {"actual": actual, "predicted": [a + 8 * math.sin(a * number) for a in actual]}
    else:
        details["confusion"] = {
            "labels": list(labels),
            "counts": [[50 if i == j else 3 for j in labels] for i in labels],
        }
    return TrialDone(
        candidate=f"{algorithm}_{number}", algorithm=algorithm, metric=metrics_for(task)[0],
        scores=scores(task, quality), fit_s=0.7 * number, predict_row_s=2e-6 * 1.6**number,
        size_bytes=90_000 * number, yardstick=yardstick,
        params={"ntrees": 10 * number, "learn_rate": 0.1, "note": ODD}, details=details,
    )  # fmt: skip


def events(dataset: datasets.Dataset, directory: Path) -> list[Event]:
    """What a made-up job reports."""
    directory.mkdir(parents=True, exist_ok=True)
    model, jar = directory / "model.zip", directory / "h2o-genmodel.jar"
    model.write_bytes(b"model" * 1000)
    jar.write_bytes(b"jar" * 1000)
    algorithms = ["GBM", "GLM", "XGBoost", "DRF", "Deep learning", "Stacked ensemble"]
    found: list[Event] = [
        Environment({"packages": {"h2o": "3.46.0.11"}, "python": "3.11", "memory_bytes": 8 * 2**30}),
        Message("AutoML starts"),
        Message(f"A warning of {ODD}", "warning"),
        trial(1, dataset.task, dataset.labels, algorithm="Hist gradient boosting", yardstick=True),
    ]
    for number in range(2, 14):
        found.append(trial(number, dataset.task, dataset.labels, algorithm=algorithms[number % 6]))
        found.append(Metric("best_valid", 0.8 + 0.01 * number, number))
    name = f"{algorithms[2]}_2"
    found += [
        Artifact("XGBoost_2.zip", str(model), "mojo", name),
        Artifact("h2o-genmodel.jar", str(jar), "scoring_jar"),
        Progress(0.6, "Training models", 24.0),
    ]
    return found


_CONVOLUTION = "3x3 depthwise convolution, stride 2, 1x1 convolution, batch norm, ReLU, 3x3 depthwise convolution"
ARCHITECTURE = [
    {"name": "Image", "detail": "standardised by channel", "out": "8x8x1"},
    {"name": "Stem", "detail": "3x3 convolution, batch norm, ReLU", "out": "8x8x16"},
    {"name": "Stage 1, layer 1", "detail": f"5x5 convolution {ODD}", "out": "8x8x16"},
    {"name": "Stage 1, layer 2", "detail": _CONVOLUTION, "out": "8x8x16"},
    {"name": "Half the side", "detail": "2x2 max pooling", "out": "4x4x16"},
    {"name": "Stage 2, layer 1", "detail": "", "out": "4x4x32"},
    {"name": "Head", "detail": "mean over the image, dropout 0.1, linear", "out": "10"},
]


def architecture(number: int) -> list[dict[str, Any]]:
    """The layers of the candidate of that number, which has a block more or less than others."""
    return [layer for place, layer in enumerate(ARCHITECTURE) if place != 2 + number % 4]


OPTIONS = {f"stage {s + 1}, layer {n + 1}": ("conv3", "conv5", "sep3", "pool", "skip") for s in (0, 1) for n in (0, 1)}
OPTIONS |= {"width": ("8", "16", "32"), f"rate {ODD}": ("0.001", "0.003", "0.01")}


def sharpening(n_candidates: int = 48, generation: int = 8) -> list[Event]:
    """A policy that comes to prefer one option of each decision."""
    found: list[Event] = []
    for step in range(generation, n_candidates + 1, generation):
        for number, (decision, options) in enumerate(OPTIONS.items()):
            weights = [math.exp(step / 12 * (place == number % len(options))) for place in range(len(options))]
            for option, weight in zip(options, weights, strict=True):
                found.append(PolicyPoint(decision, option, weight / sum(weights), step))
    return found


def searched(dataset: datasets.Dataset, directory: Path, n_candidates: int = 48) -> list[Event]:
    """What a made-up network search reports: a third of the candidates survives each rung, and two finalists."""
    directory.mkdir(parents=True, exist_ok=True)
    found: list[Event] = [Environment({"packages": {"torch": "2.9"}, "python": "3.11"}), Message("The search starts")]
    names = [f"cnn(w{8 + i % 25},c3x{i % 4 + 1},{i})" for i in range(n_candidates)]
    for number, name in enumerate(names):
        size = float(1_000 * (1 + number % 7) ** 3 + number)
        found += [Metric("n_parameters", size, 0, name), Metric("flops", 64 * size, 0, name)]
        found += [Metric("latency_s", 2e-7 * size, 0, name), Architecture(name, architecture(number))]
    for rung, epochs in enumerate((1, 3, 9)):
        for number, name in enumerate(names[: n_candidates // 3**rung]):
            error = 0.05 + 0.4 / (1 + rung) / (1 + number % 7) + 0.05 * math.sin(number)
            found.append(Metric("valid_error", error, epochs, name))
    found += [Metric("best_valid", 0.8 + 0.002 * number, number) for number in range(1, n_candidates, 3)]
    for number, name in enumerate(names[:2]):
        done = trial(number + 3, dataset.task, dataset.labels, algorithm="CNN")
        details = done.details | {"architecture": ARCHITECTURE}
        del details["importance"]
        params = {"width": 16, "depth": 2, "learning_rate": 0.003, "note": ODD}
        found.append(replace(done, candidate=name, n_parameters=5_210 + number, params=params, details=details))
        for file, kind in (("model.onnx", "onnx"), ("model.py", "torch_module"), ("weights.pt", "torch_weights")):
            path = directory / f"{number}_{file}"
            path.write_bytes(f"{file} of {name}".encode() * 100)
            found.append(Artifact(path.name, str(path), kind, name))
    for file, kind in (("predict.py", "predict_script"), ("README.txt", "readme")):
        (directory / file).write_text(f"made-up {file}")
        found.append(Artifact(file, str(directory / file), kind))
    return found


def fill(home: Path) -> Filled:
    """Put datasets, jobs of each state and their trials into the store, through core."""
    binary, regression = datasets.add_sample("breast_cancer"), datasets.add_sample("diabetes")
    ids = {}
    for state, dataset in (("succeeded", binary), ("failed", binary), ("regression", regression), ("running", binary)):
        ids[state] = jobs.submit(specs.AutoMLSpec(dataset_id=dataset.id, note=ODD), user="ada@example.com")
        job = jobs.claim("a runner")
        assert job is not None
        results.record(job, events(dataset, home / "made" / state))
        if state == "failed":
            jobs.finish(job, "failed", "Java ran out of memory (4 GB). Give the job more memory, then retry.")
        elif state != "running":
            jobs.finish(job, "succeeded")
    images = datasets.add_sample("digits_images")
    ids["searched"] = jobs.submit(specs.NASSpec(dataset_id=images.id, note=ODD), user="ada@example.com")
    job = jobs.claim("a runner")
    assert job is not None
    results.record(job, searched(images, home / "made" / "searched"))
    jobs.finish(job, "succeeded")
    ids["paused"] = jobs.submit(specs.NASSpec(dataset_id=images.id, note=ODD, strategy="reinforce"), user="ada")
    job_of_paused = jobs.claim("a runner")
    assert job_of_paused is not None
    found = [event for event in searched(images, home / "made" / "paused") if isinstance(event, Metric | Architecture)]
    results.record(job_of_paused, [*found, *sharpening(), Progress(0.4, "Generation 6", 70.0)])
    jobs.finish(job_of_paused, "paused")
    ids["queued"] = jobs.submit(specs.AutoMLSpec(dataset_id=binary.id, budget_s=120, note="a queued one"), priority=3)
    frame = results.leaderboard(binary.id)
    with_model = frame[(frame["candidate"] == "XGBoost_2") & (frame["job_id"] == ids["succeeded"])]["trial_id"].iloc[0]
    yardstick = frame[frame["yardstick"]]["trial_id"].iloc[0]
    return Filled(
        binary.id, regression.id, ids["succeeded"], ids["failed"], ids["running"], ids["queued"],
        int(with_model), int(yardstick), images.id, ids["searched"], int(results.trials_of(job.id)["trial_id"].iloc[0]),
        ids["paused"],
    )  # fmt: skip
