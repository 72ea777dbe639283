"""A store with few-shot jobs of each kind and state, made through core: for the tests of their pages."""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core import datasets, results, specs
from core.events import Adapted, Artifact, Environment, Evaluation, Event, Initialised, Message, Metric, Progress
from core.queue import jobs
from tests.pages.filled import ODD
from tests.pictures import encoded

CLASSES = 18


@dataclass(frozen=True)
class Filled:
    """The ids that the tests ask for."""

    images: int
    waves: int
    protonet: int
    maml: int
    paused: int
    running: int
    wave_training: int
    adapted: int
    wave_adapted: int
    waiting: int


def glyph(number: int, drawer: int, side: int = 28) -> np.ndarray:
    """A bright stroke on dark paper, the like for one number and somewhat different for each drawer."""
    turn = 2 * math.pi * number / CLASSES + 0.1 * math.sin(3.7 * drawer)
    at = np.linspace(-1, 1, 60)
    x = 0.5 + 0.35 * (at * math.cos(turn) + 0.5 * at**2 * math.sin(turn * (1 + number % 3)))
    y = 0.5 + 0.35 * (at * math.sin(turn) - 0.5 * at**2 * math.cos(turn))
    values = np.zeros((side, side, 1), np.uint8)
    for dx, dy in ((0, 0), (1, 0), (0, 1)):
        rows, columns = ((z * (side - 2)).astype(int).clip(0, side - 2) for z in (y, x))
        values[rows + dy, columns + dx] = 255
    return values


def name(number: int) -> str:
    """The class of that number; the first one is odd."""
    return "<b>odd *class* $" if number == 0 else f"glyph {number:02}"


def images(folder: Path) -> datasets.Dataset:
    """Eighteen classes of twenty images."""
    path = folder / "glyphs.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(CLASSES):
            for drawer in range(20):
                archive.writestr(f"{name(number)}/{drawer}.png", encoded(glyph(number, drawer)[..., 0]))
    return datasets.register_images(path, name="glyphs")


def waves(folder: Path) -> datasets.Dataset:
    """Thirty sine waves of twenty points."""
    lines = ["wave,x,y"]
    for wave in range(30):
        for point in range(20):
            x = -5 + point / 2
            lines.append(f"w{wave:02},{x},{(1 + wave % 5) * math.sin(x + wave):.4f}")
    path = folder / "waves.csv"
    path.write_text("\n".join(lines))
    return datasets.register(path, name="waves", target="y", types={"wave": "categorical"}, task="regression")


def trained(dataset: datasets.Dataset, spec: specs.FewShotSpec, folder: Path, quality: float) -> list[Event]:
    """What a made-up meta-training reports."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "initialisation.safetensors"
    path.write_bytes(f"weights {quality}".encode() * 500)
    regression = dataset.task == "regression"
    labels = [f"w{wave:02}" for wave in range(30)] if regression else list(dataset.labels)
    about = {
        "kind": "waves" if regression else "image", "classes": labels[:-6], "held_out": labels[-6:], "n_rows": 360,
        "profile": {},
    }  # fmt: skip
    metric = "mse" if regression else "accuracy"
    protocols = ("inductive",) if regression or spec.algorithm == "ProtoNet" else ("inductive", "transductive")
    found: list[Event] = [
        Initialised(
            str(path), spec.algorithm, "MLP-40" if regression else "Conv4-64", 1 if regression else spec.ways,
            spec.shots, 113_088, about,
        )
    ]  # fmt: skip
    for place, protocol in enumerate(protocols):
        value = quality + 0.03 * place
        found.append(
            Evaluation(
                spec.algorithm, "Conv4-64", 1 if regression else spec.ways, spec.shots, protocol, metric, value + 0.01,
                value, value - 0.012, value + 0.012, 1_000, 0.0123,
            )
        )  # fmt: skip
    return found


def learning(n: int, regression: bool = False) -> list[Event]:
    """The curves of a meta-training."""
    found: list[Event] = [Environment({"packages": {"torch": "2.9"}}), Message(f"The meta-training starts {ODD}")]
    for step in range(1, n + 1):
        rise = 1 - math.exp(-step / 6)
        value = 3.0 - 2.5 * rise if regression else 0.2 + 0.72 * rise
        kind = "valid_error" if regression else "valid_accuracy"
        found += [
            Metric(kind, value, 100 * step), Metric(f"{kind}_lower", value - 0.03, 100 * step),
            Metric(f"{kind}_upper", value + 0.03, 100 * step), Metric("train_loss", 1.7 * (1 - rise) + 0.1, 100 * step),
        ]  # fmt: skip
    return [*found, Progress(n / 20, f"Meta-training: iteration {100 * n:,}", 120.0)]


def adaptation(dataset: datasets.Dataset, initialisation: int, classes: tuple[str, ...]) -> dict[str, Any]:
    """What a made-up fine-tuning has found: six of ten are right before, nine after."""
    table = datasets.load(dataset)
    key = dataset.target_column.key
    predictions, counts = [], np.zeros((len(classes), len(classes)), int)
    support = []
    for number, label in enumerate(classes):
        rows = [int(row) for row in table.index[table[key] == label]]
        support.append({"name": "", "row": rows[0], "label": label})
        for place, row in enumerate(rows[1:11]):
            predicted = (number + (place == 9)) % len(classes)
            counts[number, predicted] += 1
            sure = [0.9 if other == predicted else 0.1 / (len(classes) - 1) for other in range(len(classes))]
            predictions.append(
                {"name": "", "row": row, "actual": label, "predicted": classes[predicted], "probabilities": sure}
            )
    similar = f"distance 0.21, against 0.55 for job 1; 'glyph 03' is similar to your {classes[0]!r}"
    far = "Its training classes are less similar: distance 0.55, 0.34 more."
    curve = enumerate((0.6, 0.72, 0.8, 0.86, 0.88, 0.9))
    return {
        "initialisation": initialisation, "asked": False, "kind": "image", "algorithm": "MAML", "network": "Conv4-64",
        "proposed": [
            {"job_id": initialisation, "distance": 0.21, "like": {classes[0]: "glyph 03"},
             "why": f"Its training classes are the most similar: {similar}."},
            {"job_id": 1, "distance": 0.55, "like": {classes[0]: "glyph 09"}, "why": far},
        ],
        "labels": list(classes), "support": support, "n_queries": len(predictions), "adapt_s": 0.034,
        "steps": [{"step": step, "loss": 1.6 * 0.6**step, "accuracy": right} for step, right in curve],
        "confusion": {"labels": list(classes), "counts": counts.tolist()}, "predictions": predictions, "curves": None,
    }  # fmt: skip


def wave_adaptation(initialisation: int) -> dict[str, Any]:
    """A sine wave that is learned in five steps."""
    x = np.linspace(-5, 5, 100)
    true = 3 * np.sin(x + 1)
    steps = [{"step": s, "y": ((1 - 0.5**s) * true).tolist()} for s in range(6)]
    return {
        "initialisation": initialisation, "asked": True, "kind": "waves", "labels": ["w29"], "adapt_s": 0.012,
        "proposed": [{"job_id": initialisation, "distance": None, "like": {}, "why": "It has no profile."}],
        "steps": [{"step": s, "loss": 4.5 * 0.25**s, "accuracy": None} for s in range(6)], "confusion": None,
        "predictions": [{"name": "", "row": 5, "actual": 1.0, "predicted": 0.9, "probabilities": None}],
        "curves": {
            "x_label": "x", "y_label": "y", "x": x.tolist(), "steps": steps,
            "support": {"x": x[::20].tolist(), "y": true[::20].tolist()},
            "query": {"x": x[5::10].tolist(), "y": true[5::10].tolist()},
        },
    }  # fmt: skip


def begun(spec: specs.Spec, user: str = "ada@example.com") -> jobs.Job:
    """A job of that spec that runs."""
    jobs.submit(spec, user=user)
    job = jobs.claim("a runner")
    assert job is not None
    return job


def fill(home: Path) -> Filled:
    """Put datasets and few-shot jobs of each state into the store."""
    made = home / "made"
    made.mkdir(parents=True, exist_ok=True)
    glyphs, sines = images(made), waves(made)
    ids: dict[str, int] = {}
    for label, algorithm, quality in (("protonet", "ProtoNet", 0.93), ("maml", "MAML", 0.88)):
        spec = specs.FewShotSpec(dataset_id=glyphs.id, algorithm=algorithm, note=ODD)  # type: ignore[arg-type]
        job = begun(spec)
        results.record(job, [*learning(20), *trained(glyphs, spec, made / label, quality)])
        jobs.finish(job, "succeeded")
        ids[label] = job.id
    spec = specs.FewShotSpec(dataset_id=sines.id, algorithm="MAML", group="wave", shots=10, queries=10)
    job = begun(spec)
    results.record(job, [*learning(20, True), *trained(sines, spec, made / "waves", 0.4)])
    jobs.finish(job, "succeeded")
    ids["wave_training"] = job.id
    for state in ("paused", "running"):
        job = begun(specs.FewShotSpec(dataset_id=glyphs.id, algorithm="ANIL"))
        results.record(job, learning(8))
        ids[state] = job.id
        if state == "paused":
            jobs.finish(job, "paused")
    classes = (name(0), name(1), name(2), "glyph 16", "glyph 17")
    job = begun(specs.FineTuneSpec(dataset_id=glyphs.id, classes=classes, shots=1, queries=10, inner_steps=5))
    path = made / "model.onnx"
    path.write_bytes(b"onnx" * 1000)
    results.record(job, [Adapted(adaptation(glyphs, ids["maml"], classes)), Artifact("model.onnx", str(path), "onnx")])
    jobs.finish(job, "succeeded")
    ids["adapted"] = job.id
    job = begun(specs.FineTuneSpec(dataset_id=sines.id, classes=("w29",), initialisation=ids["wave_training"]))
    results.record(job, [Adapted(wave_adaptation(ids["wave_training"]))])
    jobs.finish(job, "succeeded")
    ids["wave_adapted"] = job.id
    ids["waiting"] = jobs.submit(specs.FineTuneSpec(dataset_id=glyphs.id, classes=classes))
    return Filled(images=glyphs.id, waves=sines.id, **ids)
