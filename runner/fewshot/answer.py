"""What a fine-tuning answers: steps judged, confusion, predictions, and the curves of waves, as `Adapted` has them."""

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
from runner.fewshot.adapting import Step
from runner.fewshot.new_tasks import Task
from runner.fewshot.recipes import Recipe
from runner.fewshot.similarity import Near

_SHOWN = 500  # rows with their predictions
_GRID = 100  # points of a curve


def body(
    stored: Initialisation, task: Task, recipe: Recipe, near: Sequence[Near], found: Sequence[Step]
) -> dict[str, Any]:
    """The body of `Adapted` but for whether the initialisation was asked for."""
    common = {
        "initialisation": stored.job_id,
        "proposed": [
            {"job_id": one.job_id, "distance": one.distance, "like": one.like, "why": one.why} for one in near
        ],
        "kind": task.kind,
        "algorithm": stored.algorithm,
        "network": stored.network,
        "protocol": "inductive",
        "labels": list(task.labels),
        "support": [
            {"name": name, "row": row, "label": label}
            for name, row, label in zip(task.names, task.rows, _support_names(task), strict=False)
        ],
        "n_queries": len(task.codes) - task.n_support - task.n_unknown,
        "adapt_s": found[-1].spent_s,
    }
    return common | (_waves(task, recipe, found) if task.kind == "waves" else _classes(task, found))


def _support_names(task: Task) -> list[str]:
    return list(task.labels) * task.n_support if task.kind == "waves" else task.support_labels()


def _classes(task: Task, found: Sequence[Step]) -> dict[str, Any]:
    codes = task.codes[task.n_support :]
    judged = codes != UNKNOWN
    probabilities = found[-1].outputs.double().softmax(1).numpy()
    return {
        "steps": [_judged(step, torch.from_numpy(codes[judged].astype(np.int64)), judged) for step in found],
        "confusion": confusion(task.labels, codes[judged], probabilities[judged]) if judged.any() else None,
        "predictions": _predictions(task, codes, probabilities),
        "curves": None,
    }


def _judged(step: Step, codes: Tensor, judged: np.ndarray) -> dict[str, Any]:
    """Loss and accuracy of the judged rows; without any the loss of the support, and no accuracy."""
    row: dict[str, Any] = {"step": step.number, "support_loss": step.support_loss}
    if not len(codes):
        return row | {"loss": step.support_loss, "accuracy": None}
    outputs = step.outputs[torch.from_numpy(judged)]
    accuracy = float((outputs.argmax(1) == codes).double().mean())
    return row | {"loss": float(F.cross_entropy(outputs, codes)), "accuracy": accuracy}


def _predictions(task: Task, codes: np.ndarray, probabilities: np.ndarray) -> list[dict[str, Any]]:
    """What is said of the rows, those first whose class is unknown: that is what was asked."""
    order = np.argsort(codes != UNKNOWN, kind="stable")[:_SHOWN]
    return [
        {
            "name": task.names[task.n_support + place],
            "row": task.rows[task.n_support + place],
            "actual": None if codes[place] == UNKNOWN else task.labels[codes[place]],
            "predicted": task.labels[int(probabilities[place].argmax())],
            "probabilities": [round(float(value), 4) for value in probabilities[place]],
        }
        for place in order
    ]


def _waves(task: Task, recipe: Recipe, found: Sequence[Step]) -> dict[str, Any]:
    """A regression's steps in the target's unit (its square for the losses), and its curve where x is one number."""
    target, n = recipe["target"], task.n_support
    actual = task.codes[n:]

    def unscaled(outputs: Tensor) -> np.ndarray:
        return outputs[:, 0].double().numpy() * target["std"] + target["mean"]

    said = [unscaled(step.outputs[: len(actual)]) for step in found]
    rows = zip(task.names[n:], task.rows[n:], actual, said[-1], strict=True)
    return {
        "steps": [
            {
                "step": step.number,
                "loss": float(np.square(values - actual).mean()),
                "support_loss": step.support_loss * target["std"] ** 2,
                "accuracy": None,
            }
            for step, values in zip(found, said, strict=True)
        ],
        "confusion": None,
        "predictions": [
            {"name": name, "row": row, "actual": float(y), "predicted": float(value), "probabilities": None}
            for name, row, y, value in list(rows)[:_SHOWN]
        ],
        "curves": _curves(task, recipe, [(s.number, unscaled(s.outputs[len(actual) :])) for s in found]),
    }


def _curves(task: Task, recipe: Recipe, found: Sequence[tuple[int, np.ndarray]]) -> dict[str, Any] | None:
    """The curve after each step over a grid of x, with the rows that were learned and those to judge by."""
    n, along = task.n_support, grid(recipe, task)
    if along is None:
        return None
    [(name, points)] = along.items()
    x = task.raw[name].to_numpy(float).tolist()
    y = task.codes.astype(float).tolist()
    return {
        "x_label": name,
        "y_label": recipe["target"]["name"],
        "x": points.tolist(),
        "steps": [{"step": number, "y": values.tolist()} for number, values in found],
        "support": {"x": x[:n], "y": y[:n]},
        "query": {"x": x[n:], "y": y[n:]},
    }


def grid(recipe: Recipe, task: Task) -> dict[str, np.ndarray] | None:
    """Points over the range of x by its column's name; None where x is more than one number."""
    if len(recipe["columns"]) != 1 or recipe["columns"][0]["type"] != "numeric":
        return None
    name = recipe["columns"][0]["name"]
    values = task.raw[name].to_numpy(float)
    if not np.isfinite(values).any():
        return None
    return {name: np.linspace(np.nanmin(values), np.nanmax(values), _GRID)}
