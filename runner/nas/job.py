"""A search for a network as a job: load the dataset, search, score each finalist, and write its files."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import InputError, MetascoutError
from core.events import Artifact, Event, Message, Progress, TrialDone
from core.scoring import METRICS, Array, check_metric, values
from core.specs import NASSpec
from runner.nas.deploy import model_source, write_shared_files
from runner.nas.search.finalist_training import Finalist
from runner.nas.search.search import NoNetworkError, Objective, Origin, SearchData, Settings, search
from runner.nas.search.search_state import CHECKPOINT
from runner.nas.space.layer_summary import layers
from runner.nas.space.limits import SettingError
from runner.nas.tensors import DatasetTensors, prepare
from runner.shared import export
from runner.shared.context import Context
from runner.shared.device import device_of
from runner.shared.report import trial_of

_TIMED_ROWS = 256
_ALGORITHMS = {
    "cnn": "CNN",
    "mlp": "MLP",
    "resmlp": "ResidualMLP",
    "gru": "GRU",
    "lstm": "LSTM",
    "transformer": "Transformer",
    "conv3": "Conv1d",
    "conv5": "Conv1d",
}


@dataclass(frozen=True, slots=True)
class _Job:
    spec: NASSpec
    context: Context
    tensors: DatasetTensors
    metric: str


def run(spec: NASSpec, context: Context) -> Iterator[Event]:
    """Search within the budget; yield each candidate's errors, and the finalists as trials with their files.

    Raises InputError for what cannot be searched, and MetascoutError where no candidate could be trained.
    """
    start = context.started_at()
    metric = check_metric(context.dataset.task, spec.metric)
    device = device_of(spec)
    origin = yield from _origin(spec, context, metric)
    torch.set_num_threads(context.cpus)
    yield Progress(0.0, "Reading the data", float(spec.budget_s))
    yield from _ignored_columns(context)
    job = _Job(spec, context, prepare(context.dataset, device), metric)
    data = SearchData(job.tensors.space, *(job.tensors.pair(split) for split in ("train", "valid", "test")))
    yield from write_shared_files(context.dataset, job.tensors, context.artifacts)
    try:
        yield from search(
            data, _settings(spec, device), _objective(job), lambda finalist: _report(job, finalist),
            context.directory / CHECKPOINT, origin, start=start, is_cancelled=context.cancelled,
            is_paused=context.paused,
        )  # fmt: skip
    except SettingError as error:
        value = getattr(spec, error.field)
        raise InputError(error.text, field=error.field, value=value, remedy=error.remedy) from error
    except NoNetworkError as error:
        raise MetascoutError(str(error)) from error


def _settings(spec: NASSpec, device: str) -> Settings:
    return Settings(
        strategy=spec.strategy,
        seed=spec.seed,
        budget_s=spec.budget_s,
        max_candidates=spec.max_candidates,
        finalists=spec.finalists,
        epochs=spec.epochs,
        max_parameters=spec.max_parameters,
        device=device,
        max_latency_s=spec.max_latency_s,
        max_candidate_epochs=spec.max_candidate_epochs,
    )


def _ignored_columns(context: Context) -> Iterator[Event]:
    dataset = context.dataset
    texts = [column.name for column in dataset.features if column.type == "text"]
    if dataset.modality == "table" and texts:
        yield Message(f"Text columns of a table are not used: {', '.join(texts)}.", "warning")


def _origin(spec: NASSpec, context: Context, metric: str) -> Generator[Event, None, Origin]:
    """Return what the search starts from; warn about searches to start from that have no checkpoint."""
    previous = context.previous_file(CHECKPOINT)
    continued = None if previous else _continued_checkpoint(spec, context)
    checkpoints = {job_id: context.previous_file(CHECKPOINT, job_id) for job_id in spec.starts}
    if missing := [str(job_id) for job_id, path in checkpoints.items() if path is None]:
        jobs = f"job{'s' * (len(missing) > 1)} {', '.join(missing)}"
        yield Message(f"There is no checkpoint of {jobs} to start from: the search starts without.", "warning")
    warm_starts = [path for path in checkpoints.values() if path is not None]
    identity = {"dataset": context.dataset.fingerprint, "metric": metric}
    return Origin(previous, continued, f"job {spec.continues}", identity, warm_starts)


def _continued_checkpoint(spec: NASSpec, context: Context) -> Path | None:
    """Return the checkpoint of the job to continue; raise InputError where there is none."""
    if spec.continues is None:
        return None
    path = context.previous_file(CHECKPOINT, spec.continues)
    if path is None:
        raise InputError(
            f"There is no checkpoint of job {spec.continues}.",
            field="continues",
            value=spec.continues,
            remedy="Choose a job that has searched, or start a new search.",
        )
    return path


def _objective(job: _Job) -> Objective:
    """Return the job's metric on the validation rows; predictions that are not finite have an infinite error."""
    dataset, kind = job.context.dataset, METRICS[job.metric]

    def error(outputs: Tensor, rows: Tensor | None = None) -> float:
        predicted, actual = _predictions(job, outputs), job.tensors.actual["valid"]
        actual = actual if rows is None else actual[rows.numpy()]
        once = np.ones((1, len(actual)), np.uint8)
        if not np.isfinite(predicted).all():
            return float("inf")
        results = values(dataset.task, len(dataset.labels), (actual, predicted), once)
        return kind.error(float(results[job.metric][0]))

    def value(error: float) -> float:
        return 1.0 - error if kind.higher_is_better else error

    return Objective(error, value, job.tensors.target_scale[1] if job.tensors.target_scale else 1.0)


def _predictions(job: _Job, outputs: Tensor) -> Array:
    """Return a network's outputs as probabilities, or as numbers in the target's unit."""
    if job.tensors.target_scale is None:
        return outputs.double().softmax(1).numpy()
    mean, deviation = job.tensors.target_scale
    return outputs.double().squeeze(1).numpy() * deviation + mean


def _report(job: _Job, finalist: Finalist) -> Iterator[Event]:
    """Write a finalist's files; yield them and its trial."""
    name, scaling, artifacts = finalist.name, job.tensors.scaling, job.context.artifacts
    title = f"A network from an architecture search: {name}"
    text = model_source(finalist.module, scaling, title, job.context.dataset.labels)
    model = export.module(text, finalist.module, scaling, job.tensors.target_scale)
    folder = artifacts / f"finalist-{len(list(artifacts.glob('finalist-*'))) + 1}"
    files = export.write(model, text, job.tensors.raw["valid"][:2], folder)
    for kind, path in files.items():
        yield Artifact(path.name, str(path), kind, name)
    yield _trial(job, finalist, model, files["onnx"].stat().st_size)


def _trial(job: _Job, finalist: Finalist, model: nn.Module, size: int) -> TrialDone:
    dataset, actual = job.context.dataset, job.tensors.actual
    return trial_of(
        dataset,
        _ALGORITHMS[finalist.name.split("(")[0]],
        job.metric,
        (actual["valid"], _predictions(job, finalist.valid)),
        (actual["test"], _predictions(job, finalist.test)),
        seed=job.spec.seed,
        candidate=finalist.name,
        fit_s=finalist.fit_s,
        predict_row_s=_row_s(model, job.tensors.raw["test"]),
        size_bytes=size,
        n_parameters=sum(weight.numel() for weight in finalist.module.parameters()),
        params=_params(finalist),
        details={"curve": _curve(finalist), "architecture": layers(job.tensors.space, finalist.design)},
    )


def _params(finalist: Finalist) -> dict[str, Any]:
    """Return architecture and recipe as readable values."""
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
    """Return the seconds per row in the fastest of three passes."""
    x, best = raw[:_TIMED_ROWS], float("inf")
    for _ in range(3):
        began = time.perf_counter()
        model(x)
        best = min(best, time.perf_counter() - began)
    return best / len(x)
