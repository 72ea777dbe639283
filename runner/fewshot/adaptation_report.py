"""The body of an `Adapted` event: the scores of each step, confusion, predictions, and the curves of a regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.datasets.images.examples import UNKNOWN
from core.results.initialisations import Initialisation
from core.scoring import confusion
from runner.fewshot.finetune_tasks import FineTuneTask
from runner.fewshot.recipes import Recipe
from runner.fewshot.similar_initialisations import SimilarInitialisation
from runner.fewshot.task_adaptation import AdaptationStep

_MAX_PREDICTIONS = 500
_CURVE_POINTS = 100


def build(
    stored: Initialisation,
    task: FineTuneTask,
    recipe: Recipe,
    similar: Sequence[SimilarInitialisation],
    steps: Sequence[AdaptationStep],
) -> dict[str, Any]:
    """Return the body of `Adapted`, except for `asked`."""
    common = {
        "initialisation": stored.job_id,
        "proposed": [
            {"job_id": one.job_id, "distance": one.distance, "like": one.similar_classes, "why": one.why}
            for one in similar
        ],
        "kind": task.kind,
        "algorithm": stored.algorithm,
        "network": stored.network,
        "protocol": "inductive",
        "labels": list(task.labels),
        "support": [
            {"name": name, "row": row, "label": label}
            for name, row, label in zip(task.names, task.rows, _support_labels(task), strict=False)
        ],
        "n_queries": len(task.codes) - task.n_support - task.n_unknown,
        "adapt_s": steps[-1].spent_s,
    }
    return common | (_regression(task, recipe, steps) if task.kind == "waves" else _classification(task, steps))


def _support_labels(task: FineTuneTask) -> list[str]:
    return list(task.labels) * task.n_support if task.kind == "waves" else task.support_labels()


def _classification(task: FineTuneTask, steps: Sequence[AdaptationStep]) -> dict[str, Any]:
    codes = task.codes[task.n_support :]
    labelled = codes != UNKNOWN
    probabilities = steps[-1].outputs.double().softmax(1).numpy()
    return {
        "steps": [_step_scores(step, torch.from_numpy(codes[labelled].astype(np.int64)), labelled) for step in steps],
        "confusion": confusion(task.labels, codes[labelled], probabilities[labelled]) if labelled.any() else None,
        "predictions": _predictions(task, codes, probabilities),
        "curves": None,
    }


def _step_scores(step: AdaptationStep, codes: Tensor, labelled: np.ndarray) -> dict[str, Any]:
    """Return loss and accuracy of the labelled rows; without any, the loss of the support set and no accuracy."""
    row: dict[str, Any] = {"step": step.number, "support_loss": step.support_loss}
    if not len(codes):
        return row | {"loss": step.support_loss, "accuracy": None}
    outputs = step.outputs[torch.from_numpy(labelled)]
    accuracy = float((outputs.argmax(1) == codes).double().mean())
    return row | {"loss": float(F.cross_entropy(outputs, codes)), "accuracy": accuracy}


def _predictions(task: FineTuneTask, codes: np.ndarray, probabilities: np.ndarray) -> list[dict[str, Any]]:
    """Return the predictions, those of rows without a label first: they are what the user wants to know."""
    order = np.argsort(codes != UNKNOWN, kind="stable")[:_MAX_PREDICTIONS]
    return [
        {
            "name": task.names[task.n_support + row],
            "row": task.rows[task.n_support + row],
            "actual": None if codes[row] == UNKNOWN else task.labels[codes[row]],
            "predicted": task.labels[int(probabilities[row].argmax())],
            "probabilities": [round(float(value), 4) for value in probabilities[row]],
        }
        for row in order
    ]


def _regression(task: FineTuneTask, recipe: Recipe, steps: Sequence[AdaptationStep]) -> dict[str, Any]:
    """Return losses in the squared unit of the target, and the curve if the input is one number."""
    target, n = recipe["target"], task.n_support
    actual = task.codes[n:]

    def unscale(outputs: Tensor) -> np.ndarray:
        return outputs[:, 0].double().numpy() * target["std"] + target["mean"]

    predicted = [unscale(step.outputs[: len(actual)]) for step in steps]
    rows = zip(task.names[n:], task.rows[n:], actual, predicted[-1], strict=True)
    return {
        "steps": [
            {
                "step": step.number,
                "loss": float(np.square(values - actual).mean()),
                "support_loss": step.support_loss * target["std"] ** 2,
                "accuracy": None,
            }
            for step, values in zip(steps, predicted, strict=True)
        ],
        "confusion": None,
        "predictions": [
            {"name": name, "row": row, "actual": float(y), "predicted": float(value), "probabilities": None}
            for name, row, y, value in list(rows)[:_MAX_PREDICTIONS]
        ],
        "curves": _curves(task, recipe, [(step.number, unscale(step.outputs[len(actual) :])) for step in steps]),
    }


def _curves(task: FineTuneTask, recipe: Recipe, steps: Sequence[tuple[int, np.ndarray]]) -> dict[str, Any] | None:
    """Return the curve after each step over a grid of x, with the support and query rows."""
    n, grid = task.n_support, curve_grid(recipe, task)
    if grid is None:
        return None
    [(name, points)] = grid.items()
    x = task.raw[name].to_numpy(float).tolist()
    y = task.codes.astype(float).tolist()
    return {
        "x_label": name,
        "y_label": recipe["target"]["name"],
        "x": points.tolist(),
        "steps": [{"step": number, "y": values.tolist()} for number, values in steps],
        "support": {"x": x[:n], "y": y[:n]},
        "query": {"x": x[n:], "y": y[n:]},
    }


def curve_grid(recipe: Recipe, task: FineTuneTask) -> dict[str, np.ndarray] | None:
    """Return points over the range of x by its column's name, or None if the input is not one number."""
    if len(recipe["columns"]) != 1 or recipe["columns"][0]["type"] != "numeric":
        return None
    name = recipe["columns"][0]["name"]
    values = task.raw[name].to_numpy(float)
    if not np.isfinite(values).any():
        return None
    return {name: np.linspace(np.nanmin(values), np.nanmax(values), _CURVE_POINTS)}
