"""A fine-tuning as a job: the examples, the initialisation for them, the task learned step by step and judged."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from core import fewshot, pixels
from core.errors import InputError
from core.events import Adapted, Event, Message, Progress
from core.examples import UNKNOWN
from core.scoring import confusion
from core.specs import FineTuneSpec
from runner.fewshot.episodes import TooFew
from runner.fewshotjob import handout, initialisation, inputs, memory, tasks
from runner.fewshotjob.initialisation import Initialisation
from runner.fewshotjob.learning import Step, fitted, learned
from runner.fewshotjob.memory import Known, Near
from runner.fewshotjob.tasks import Task
from runner.launch import Context

_SHOWN = 500  # rows with their predictions
_GRID = 100  # points of a curve
_TOLD = 5  # names in a sentence


@dataclass(frozen=True, slots=True)
class _Tuning:
    """A task with the initialisation for it; `near` are all that it could have been, the nearest first."""

    spec: FineTuneSpec
    context: Context
    task: Task
    stored: fewshot.Initialisation
    start: Initialisation
    near: tuple[Near, ...]


def run(spec: FineTuneSpec, context: Context) -> Iterator[Event]:
    """Learn the examples' classes from the asked-for or the nearest initialisation; yields one `Adapted`, and files.

    Raises InputError for examples that make no task, and where there is no initialisation that takes them.
    """
    torch.set_num_threads(context.cpus)
    yield Progress(0.0, "Reading the examples")
    task = tasks.of_spec(spec, context.dataset)
    yield Progress(0.2, "Choosing the initialisation")
    stored, task, near = _chosen(spec, context, task)
    start = initialisation.load(stored.path)
    tuning = _Tuning(spec, context, task, stored, start, tuple(near))
    yield from _notes(tuning)
    yield Progress(0.4, "Learning from the examples")
    x, y, query = _tensors(tuning)
    start = fitted(start, len(task.labels) if task.kind != "waves" else 1, spec.inner_steps, spec.inner_rate)
    found, told = _steps(tuning, start, x, y, query)
    yield from told
    yield Adapted(_body(tuning, found))
    if not context.cancelled():
        yield Progress(0.7, "Writing the classifier down")
        yield from handout.handout(context, stored, start, found[-1].weights, x, task.labels)


def _chosen(spec: FineTuneSpec, context: Context, task: Task) -> tuple[fewshot.Initialisation, Task, list[Near]]:
    """The asked-for initialisation, or the nearest; the task as it takes it; and all by their distance."""
    known = {one.job_id: one for one in context.initialisations}
    if spec.initialisation is not None and spec.initialisation not in known:
        raise InputError(
            f"initialisation: job {spec.initialisation} has left none. Choose a meta-training that has, or leave it "
            "empty for the nearest one."
        )
    if spec.initialisation is not None and (kind := known[spec.initialisation].about.get("kind")) != task.kind:
        raise InputError(
            f"initialisation: job {spec.initialisation} was trained on {_words(kind)}, and the examples are "
            f"{_words(task.kind)}. Choose another, or leave it empty for the nearest one."
        )
    fitting = {i: task_of for i, one in known.items() if (task_of := _taken(spec, task, one)) is not None}
    worths = dict(zip(known, context.worths, strict=True))
    near = memory.nearest(
        [
            Known(job_id, known[job_id].about.get("profile") or {}, known[job_id].ways, worths[job_id])
            for job_id in fitting
        ],
        _support_profiles(known, fitting),
    )
    chosen = spec.initialisation or near[0].job_id
    return known[chosen], fitting[chosen], near


def _words(kind: object) -> str:
    return {"image": "images", "text": "texts", "table": "rows of a table", "waves": "groups of a table"}.get(
        str(kind), str(kind)
    )


def _taken(spec: FineTuneSpec, task: Task, stored: fewshot.Initialisation) -> Task | None:
    """The task as an initialisation takes it; None where it cannot. Raises InputError where just that was asked for."""
    if stored.about.get("kind") != task.kind:
        return None
    if task.kind in ("image", "text"):
        return task
    try:
        recipe = initialisation.load(stored.path).inputs
        inputs.from_table(recipe, task.raw.iloc[:1])
        if task.kind == "table":
            return task
        if recipe["group"] not in task.raw.columns:
            raise InputError(f"There is no column {recipe['group']!r}, whose values are the groups; add it.")
        return tasks.of_group(task, spec, recipe["group"])
    except InputError:
        if spec.initialisation in (None, stored.job_id):
            raise
        return None


def _support_profiles(known: dict[int, fewshot.Initialisation], fitting: dict[int, Task]) -> Any:
    """What the support looks like: of images and texts always the same, of numbers by an initialisation's scales."""
    first = next(iter(fitting.values()), None)
    if first is None or first.kind in ("image", "text"):
        return {} if first is None else memory.describe(first.support(), first.support_labels(), first.kind)

    def profile(one: Known) -> memory.Profile:
        task, recipe = fitting[one.job_id], initialisation.load(known[one.job_id].path).inputs
        x, n = inputs.from_table(recipe, task.raw).numpy(), task.n_support
        if task.kind == "table":
            return memory.describe(x[:n], task.support_labels(), "table")
        return memory.describe(np.c_[x, _standardised(recipe, task)][:n], [task.labels[0]] * n, "waves")

    return profile


def _standardised(recipe: inputs.Recipe, task: Task) -> np.ndarray:
    target = recipe["target"]
    return (task.codes - target["mean"]) / target["std"]


def _notes(tuning: _Tuning) -> Iterator[Event]:
    """What the user should know of the choice, and of what had to be made to fit."""
    task, stored, spec = tuning.task, tuning.stored, tuning.spec
    why = next(near.why for near in tuning.near if near.job_id == stored.job_id)
    how = "asked for" if spec.initialisation else "the nearest in memory"
    yield Message(f"From the initialisation of job {stored.job_id} ({stored.algorithm}), {how}. {why}")
    if task.kind == "image" and (told := _conversion(task.raw.shape[1:], tuning.start.inputs["shape"])):
        yield Message(told)
    trained, n = tuning.start.network.n_outputs, len(task.labels)
    if task.kind != "waves" and stored.algorithm != "ProtoNet" and n != trained:
        more = "the further ones begin as the mean of those" if n > trained else f"the first {n} of them are taken"
        yield Message(f"There are {n} classes, and the initialisation's head is of {trained}: {more}.")
    seen = [name for name in task.labels if name in (stored.about.get("classes") or ())]
    if seen and stored.dataset_id == tuning.context.dataset.id and spec.examples is None:
        names = ", ".join(map(repr, seen[:_TOLD])) + (", ..." if len(seen) > _TOLD else "")
        yield Message(
            f"The initialisation was trained on {names}: what it says of new classes is not as good as it looks here.",
            "warning",
        )
    if spec.inner_rate is not None and tuning.start.inner.learned_rates:
        yield Message(f"The rate {spec.inner_rate:g} is taken for all, in place of the learned ones.")


def _conversion(given: Sequence[int], wanted: Sequence[int]) -> str | None:
    """What is done to images of one shape [height, width, channels] for another; None for nothing."""
    sizes = ""
    if list(given[:2]) != list(wanted[:2]):
        sizes = f"brought from {given[1]} x {given[0]} to {wanted[1]} x {wanted[0]} pixels"
    colours = "" if given[2] == wanted[2] else ("made grey" if wanted[2] == 1 else "made RGB")
    done = " and ".join(filter(None, [sizes, colours]))
    return f"The images were {done}, as the initialisation takes them." if done else None


def _tensors(tuning: _Tuning) -> tuple[Tensor, Tensor, Tensor]:
    """Support inputs, their codes or standardised numbers, and query inputs, as the network takes them."""
    task, recipe, n = tuning.task, tuning.start.inputs, tuning.task.n_support
    if task.kind == "image":
        x = inputs.from_images(recipe, _shaped(task.raw, recipe["shape"])).float() / 255
    elif task.kind == "text":
        x = inputs.from_texts(recipe, task.raw)
    else:
        x = inputs.from_table(recipe, task.raw)
    if task.kind == "waves":
        y = torch.from_numpy(_standardised(recipe, task)[:n].astype(np.float32))[:, None]
        if (grid := _grid(recipe, task)) is not None:  # its outputs follow those of the query rows
            x = torch.cat([x, inputs.from_table(recipe, pd.DataFrame(grid))])
    else:
        y = torch.from_numpy(task.codes[:n].astype(np.int64))
    return x[:n], y, x[n:]


def _grid(recipe: inputs.Recipe, task: Task) -> dict[str, np.ndarray] | None:
    """Points over the range of x by its column's name; None where x is more than one number."""
    if len(recipe["columns"]) != 1 or recipe["columns"][0]["type"] != "numeric":
        return None
    name = recipe["columns"][0]["name"]
    values = task.raw[name].to_numpy(float)
    if not np.isfinite(values).any():
        return None
    return {name: np.linspace(np.nanmin(values), np.nanmax(values), _GRID)}


def _shaped(images: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Images uint8 [n, height, width, channels] of another size or mode, the whole of each kept."""
    height, width, channels = shape
    if images.shape[1:] == (height, width, channels):
        return images
    plain = images[..., 0] if images.shape[3] == 1 else images
    return np.stack([pixels.decode(Image.fromarray(image), (height, width, channels))[0] for image in plain])


def _steps(
    tuning: _Tuning, start: Initialisation, x: Tensor, y: Tensor, query: Tensor
) -> tuple[list[Step], list[Message]]:
    """All steps that the budget allows."""
    began, found = time.monotonic(), []
    try:
        for step in learned(start, x, y, query):
            found.append(step)
            if step.number < start.inner.steps and time.monotonic() > began + tuning.spec.budget_s:
                text = f"The budget of {tuning.spec.budget_s} s ended after {step.number} of {start.inner.steps} steps."
                return found, [Message(text, "warning")]
    except TooFew as error:
        raise InputError(str(error)) from error
    return found, []


def _body(tuning: _Tuning, found: list[Step]) -> dict[str, Any]:
    """What `Adapted` reports."""
    task, stored = tuning.task, tuning.stored
    body = {
        "initialisation": stored.job_id,
        "asked": tuning.spec.initialisation is not None,
        "proposed": [
            {"job_id": near.job_id, "distance": near.distance, "like": near.like, "why": near.why}
            for near in tuning.near
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
    return body | (_waves(tuning, found) if task.kind == "waves" else _classes(task, found))


def _support_names(task: Task) -> list[str]:
    return list(task.labels) * task.n_support if task.kind == "waves" else task.support_labels()


def _classes(task: Task, found: list[Step]) -> dict[str, Any]:
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


def _waves(tuning: _Tuning, found: list[Step]) -> dict[str, Any]:
    """A regression's steps in the target's unit (its square for the losses), and its curve where x is one number."""
    task, target, n = tuning.task, tuning.start.inputs["target"], tuning.task.n_support
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
        "curves": _curves(tuning, [(s.number, unscaled(s.outputs[len(actual) :])) for s in found]),
    }


def _curves(tuning: _Tuning, found: list[tuple[int, np.ndarray]]) -> dict[str, Any] | None:
    """The curve after each step over a grid of x, with the rows that were learned and those to judge by."""
    task, n = tuning.task, tuning.task.n_support
    grid = _grid(tuning.start.inputs, task)
    if grid is None:
        return None
    [(name, points)] = grid.items()
    x = task.raw[name].to_numpy(float).tolist()
    y = task.codes.astype(float).tolist()
    return {
        "x_label": name,
        "y_label": tuning.start.inputs["target"]["name"],
        "x": points.tolist(),
        "steps": [{"step": number, "y": values.tolist()} for number, values in found],
        "support": {"x": x[:n], "y": y[:n]},
        "query": {"x": x[n:], "y": y[n:]},
    }
