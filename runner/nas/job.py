"""A search for a network as a job: the dataset made ready, each finalist scored and written down as files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import InputError, MetascoutError
from core.events import Artifact, Event, Message, Progress, TrialDone
from core.scoring import METRICS, Array, check_metric, confusion, residuals, score, values
from core.specs import NASSpec
from runner.nas.deploy import handout
from runner.nas.search.finals import Finalist
from runner.nas.search.search import Data, Judge, NothingTrained, OtherSearch, Settings, search
from runner.nas.search.trace import CHECKPOINT
from runner.nas.space import export
from runner.nas.space.drawing import layers
from runner.nas.space.limits import LimitError
from runner.nas.tensors import Prepared, prepare
from runner.shared.context import Context

_DRAWN_CLASSES = 100


@dataclass(frozen=True, slots=True)
class _Job:
    spec: NASSpec
    context: Context
    prepared: Prepared
    metric: str

    @property
    def artifacts(self) -> Path:
        return self.context.directory / "artifacts"


def run(spec: NASSpec, context: Context) -> Iterator[Event]:
    """Search within the budget; yields each candidate's errors, and the finalists as trials with their files.

    Raises InputError for what cannot be searched, and MetascoutError when not one candidate could be trained.
    """
    began = context.started_at()
    metric = check_metric(context.dataset.task, spec.metric)
    device = _device(spec)
    previous = context.previous_file(CHECKPOINT)
    continued = None if previous else _continued(spec, context)
    found = {job_id: context.previous_file(CHECKPOINT, job_id) for job_id in spec.starts}
    starts = [path for path in found.values() if path is not None]
    torch.set_num_threads(context.cpus)
    yield Progress(0.0, "Reading the data", float(spec.budget_s))
    yield from _notes(context)
    if gone := [str(job_id) for job_id, path in found.items() if path is None]:
        yield Message(f"starts: no checkpoint is left of {', '.join(gone)}; the search does without.", "warning")
    job = _Job(spec, context, prepare(context.dataset, device), metric)
    data = Data(job.prepared.space, *(job.prepared.pair(split) for split in ("train", "valid", "test")))
    settings = Settings(
        spec.strategy, spec.seed, spec.budget_s, spec.max_candidates, spec.finalists, spec.epochs, spec.max_parameters,
        device, spec.max_latency_s, spec.max_candidate_epochs,
    )  # fmt: skip
    yield from handout(context.dataset, job.prepared, job.artifacts)
    identity = {"dataset": context.dataset.fingerprint, "metric": metric}
    try:
        yield from search(
            data, settings, _judge(job), lambda f: _report(job, f), context.directory / CHECKPOINT,
            previous, context.cancelled,
            paused=context.paused, continued=continued, parent=f"job {spec.continues}", identity=identity, began=began,
            starts=starts,
        )  # fmt: skip
    except (LimitError, OtherSearch) as error:
        raise InputError(str(error)) from error
    except NothingTrained as error:
        raise MetascoutError(str(error)) from error


def _device(spec: NASSpec) -> str:
    if spec.gpus and not torch.cuda.is_available():
        raise InputError("gpus: 1 is asked for, and this machine has no GPU that torch can use; ask for 0.")
    return "cuda" if spec.gpus else "cpu"


def _notes(context: Context) -> Iterator[Event]:
    dataset = context.dataset
    texts = [column.name for column in dataset.features if column.type == "text"]
    if dataset.modality == "table" and texts:
        yield Message(f"Text columns are not used beside others: {', '.join(texts)}.", "warning")


def _continued(spec: NASSpec, context: Context) -> Path | None:
    """The checkpoint of the job to go on with; raises InputError where it has left none."""
    if spec.continues is None:
        return None
    found = context.previous_file(CHECKPOINT, spec.continues)
    if found is None:
        raise InputError(
            f"continues: job {spec.continues} has left no checkpoint of a search. Choose a job that has searched, "
            "or start a new search."
        )
    return found


def _judge(job: _Job) -> Judge:
    """The job's metric on the valid rows; predictions that are no numbers are the worst there is."""
    dataset, kind = job.context.dataset, METRICS[job.metric]

    def error(outputs: Tensor, rows: Tensor | None = None) -> float:
        predicted, actual = _readable(job, outputs), job.prepared.actual["valid"]
        actual = actual if rows is None else actual[rows.numpy()]
        once = np.ones((1, len(actual)), np.uint8)
        if not np.isfinite(predicted).all():
            return float("inf")
        found = values(dataset.task, len(dataset.labels), (actual, predicted), once)[job.metric]
        return kind.error(float(found[0]))

    def value(error: float) -> float:
        return 1.0 - error if kind.higher_is_better else error

    return Judge(error, value, job.prepared.scale[1] if job.prepared.scale else 1.0)


def _readable(job: _Job, outputs: Tensor) -> Array:
    """Outputs of a network as probabilities, or as numbers in the target's unit."""
    if job.prepared.scale is None:
        return outputs.double().softmax(1).numpy()
    mean, deviation = job.prepared.scale
    return outputs.double().squeeze(1).numpy() * deviation + mean


def _report(job: _Job, finalist: Finalist) -> Iterator[Event]:
    """A finalist's files and its trial."""
    name = finalist.name
    front, scale = job.prepared.front, job.prepared.scale
    title = f"A network found by architecture search: {name}"
    text = export.source(finalist.module, front, title, job.context.dataset.labels)
    model = export.module(text, finalist.module, front, scale)
    folder = job.artifacts / f"finalist-{len(list(job.artifacts.glob('finalist-*'))) + 1}"
    files = export.write(model, text, job.prepared.raw["valid"][:2], folder)
    for kind, path in files.items():
        yield Artifact(path.name, str(path), kind, name)
    yield _trial(job, finalist, name, model, files["onnx"].stat().st_size)


def _trial(job: _Job, finalist: Finalist, name: str, model: nn.Module, size: int) -> TrialDone:
    dataset, space = job.context.dataset, job.prepared.space
    actual = job.prepared.actual
    on_valid, on_test = _readable(job, finalist.valid), _readable(job, finalist.test)
    scores = score(
        dataset.task, dataset.labels, (actual["valid"], on_valid), (actual["test"], on_test), seed=job.spec.seed
    )
    details: dict[str, Any] = {"curve": _curve(finalist), "architecture": layers(space, finalist.design)}
    if dataset.task == "regression":
        details["residuals"] = residuals(actual["test"], on_test)
    elif len(dataset.labels) <= _DRAWN_CLASSES:
        details["confusion"] = confusion(dataset.labels, actual["test"], on_test)
    return TrialDone(
        candidate=name,
        algorithm=_algorithm(finalist.name),
        metric=job.metric,
        scores=scores,
        fit_s=finalist.fit_s,
        predict_row_s=_row_s(model, job.prepared.raw["test"]),
        size_bytes=size,
        n_parameters=sum(weight.numel() for weight in finalist.module.parameters()),
        params=_params(finalist),
        details=details,
    )


def _algorithm(name: str) -> str:
    kinds = {"cnn": "CNN", "mlp": "MLP", "resmlp": "ResidualMLP", "gru": "GRU", "lstm": "LSTM"}
    kinds |= {"transformer": "Transformer", "conv3": "Conv1d", "conv5": "Conv1d"}
    return kinds[name.split("(")[0]]


def _params(finalist: Finalist) -> dict[str, Any]:
    """Architecture and recipe as readable values."""
    design = finalist.design
    params: dict[str, Any] = {key: getattr(design, key) for key in design.__slots__ if key != "recipe"}
    if "stages" in params:
        params["stages"] = " | ".join(", ".join(stage) or "nothing" for stage in params["stages"])
    recipe = design.recipe
    params |= {"learning_rate": recipe.lr, "weight_decay": recipe.weight_decay, "dropout": recipe.dropout}
    if recipe.augment != "none" or "stages" in params:
        params["augmentation"] = recipe.augment
    if recipe.batch:
        params["batch_rows"] = recipe.batch
    return params | {"epochs": len(finalist.curve), "best_epoch": finalist.best_epoch}


def _curve(finalist: Finalist) -> dict[str, Any]:
    train, valid = ([float(pair[side]) for pair in finalist.curve] for side in (0, 1))
    return {
        "x_label": "epoch",
        "x": list(range(1, len(finalist.curve) + 1)),
        "series": {"train loss": train, "valid loss": valid},
    }


@torch.no_grad()
def _row_s(model: nn.Module, raw: Tensor) -> float:
    """Seconds a row, of the best of three passes over at most 256 rows."""
    x, best = raw[:256], float("inf")
    for _ in range(3):
        began = time.perf_counter()
        model(x)
        best = min(best, time.perf_counter() - began)
    return best / len(x)
