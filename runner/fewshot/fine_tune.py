"""A fine-tuning as a job: the examples, the initialisation for them, the task learned step by step and judged."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch
from PIL import Image
from torch import Tensor

from core.datasets.images import pixels
from core.datasets.images.examples import UNKNOWN
from core.errors import InputError
from core.events import Adapted, Event, Message, Progress
from core.results.initialisations import Initialisation as Stored
from core.results.initialisations import from_order
from core.specs import FineTuneSpec
from core.store import backbones
from runner.fewshot import answer, backbone, deploy, initialisation, new_tasks, recipes, similarity
from runner.fewshot.adapting import Step, fitted, learned
from runner.fewshot.initialisation import Initialisation
from runner.fewshot.new_tasks import Task
from runner.fewshot.similarity import Known, Near
from runner.shared.context import Context

_TOLD = 5  # names in a sentence
_COPIES = 6  # of its activations that a step takes, gradients among them


@dataclass(frozen=True, slots=True)
class _Tuning:
    """A task with the initialisation for it; `near` are all that it could have been, the nearest first."""

    spec: FineTuneSpec
    context: Context
    task: Task
    stored: Stored
    start: Initialisation
    near: tuple[Near, ...]


def run(spec: FineTuneSpec, context: Context) -> Iterator[Event]:
    """Learn the examples' classes from the asked-for or the nearest initialisation; yields one `Adapted`, and files.

    Raises InputError for examples that make no task, and where there is no initialisation that takes them.
    """
    torch.set_num_threads(context.cpus)
    yield Progress(0.0, "Reading the examples")
    task = new_tasks.of_spec(spec, context.dataset)
    yield Progress(0.2, "Choosing the initialisation")
    stored, task, near = _chosen(spec, context, task)
    start = initialisation.load(stored.path)
    tuning = _Tuning(spec, context, task, stored, start, tuple(near))
    yield from _notes(tuning)
    yield Progress(0.4, "Learning from the examples")
    x, y, query = _tensors(tuning)
    _check_memory(start, x)
    asked = spec.initialisation is not None
    start = fitted(start, len(task.labels) if task.kind != "waves" else 1, spec.inner_steps, spec.inner_rate)
    found, told = _steps(tuning, start, x, y, query)
    yield from told
    yield Adapted(answer.body(stored, task, tuning.start.inputs, tuning.near, found) | {"asked": asked})
    if not context.cancelled():
        yield Progress(0.7, "Answered; writing the classifier as files")
        yield from deploy.handout(context, stored, _own_size(start, task), found[-1].weights, x, task.labels)


def _chosen(spec: FineTuneSpec, context: Context, task: Task) -> tuple[Stored, Task, list[Near]]:
    """The asked-for initialisation, or the nearest; the task as it takes it; and all by their distance."""
    initialisations, scores = from_order(context.order)
    known = {one.job_id: one for one in initialisations}
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
    fitting = _fitting(spec, task, known)
    worths = dict(zip(known, scores, strict=True))
    near = similarity.nearest(
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


def _fitting(spec: FineTuneSpec, task: Task, known: dict[int, Stored]) -> dict[int, Task]:
    """The task as each initialisation takes it that can. Raises InputError where the asked-for one, or none, can."""
    fitting: dict[int, Task] = {}
    trouble: InputError | None = None
    for job_id, one in known.items():
        if one.about.get("kind") != task.kind:
            continue
        try:
            fitting[job_id] = _taken(spec, task, one)
        except InputError as error:
            if job_id == spec.initialisation:
                raise
            trouble = error
    if trouble is not None and not fitting:
        raise trouble
    return fitting


def _taken(spec: FineTuneSpec, task: Task, stored: Stored) -> Task:
    """The task as an initialisation of its kind takes it. Raises InputError where it cannot."""
    if task.kind == "image" and (sha256 := (stored.about.get("inputs") or {}).get("backbone")):
        backbones.kept(sha256)
    if task.kind in ("image", "text"):
        return task
    recipe = initialisation.load(stored.path).inputs
    recipes.from_table(recipe, task.raw.iloc[:1])
    if task.kind == "table":
        return task
    if recipe["group"] not in task.raw.columns:
        raise InputError(f"There is no column {recipe['group']!r}, whose values are the groups; add it.")
    return new_tasks.of_group(task, spec, recipe["group"])


def _support_profiles(known: dict[int, Stored], fitting: dict[int, Task]) -> Any:
    """What the support looks like: of images and texts always the same, of numbers by an initialisation's scales."""
    first = next(iter(fitting.values()), None)
    if first is None or first.kind in ("image", "text"):
        return {} if first is None else similarity.describe(first.support(), first.support_labels(), first.kind)

    def profile(one: Known) -> similarity.Profile:
        task, recipe = fitting[one.job_id], initialisation.load(known[one.job_id].path).inputs
        x, n = recipes.from_table(recipe, task.raw).numpy(), task.n_support
        if task.kind == "table":
            return similarity.describe(x[:n], task.support_labels(), "table")
        return similarity.describe(np.c_[x, _standardised(recipe, task)][:n], [task.labels[0]] * n, "waves")

    return profile


def _standardised(recipe: recipes.Recipe, task: Task) -> np.ndarray:
    target = recipe["target"]
    return (task.codes - target["mean"]) / target["std"]


def _notes(tuning: _Tuning) -> Iterator[Event]:
    """What the user should know of the choice, and of what had to be made to fit."""
    task, stored, spec = tuning.task, tuning.stored, tuning.spec
    why = next(near.why for near in tuning.near if near.job_id == stored.job_id)
    how = "asked for" if spec.initialisation else "the nearest in memory"
    yield Message(f"From the initialisation of job {stored.job_id} ({stored.algorithm}), {how}. {why}")
    if task.kind == "image" and (told := _conversion(task.raw.shape[1:], tuning.start.inputs)):
        yield Message(told)
    if task.kind in ("image", "text"):
        yield from _repeats(task)
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


def _repeats(task: Task) -> Iterator[Event]:
    """What equal examples mean: a learned one says nothing when it is judged, one of two classes misleads."""
    contents = [row.tobytes() for row in task.raw] if task.kind == "image" else list(task.raw)
    pairs = [(content, code) for content, code in zip(contents, task.codes, strict=True) if code != UNKNOWN]
    learned_ones = set(pairs[: task.n_support])
    judged = pairs[task.n_support :]
    if copies := sum(pair in learned_ones for pair in judged):
        yield Message(
            f"{copies:,} of the {len(judged):,} examples to judge by are copies of learned ones, which flatters.",
            "warning",
        )
    first: dict[Any, int] = {}
    for content, code in pairs:
        if (other := first.setdefault(content, code)) != code:
            names = f"{task.labels[other]!r} and {task.labels[code]!r}"
            yield Message(f"{names} have an example in common; take it out of the wrong class.", "warning")
            return


def _conversion(given: Sequence[int], recipe: recipes.Recipe) -> str | None:
    """What is done to images of a shape [height, width, channels] for a recipe; None for nothing."""
    wanted = recipe["shape"]
    if "backbone" in recipe:
        own = f"The images keep their own size of {given[1]} x {given[0]} pixels, which pretrained weights can take; "
        return None if list(given[:2]) == list(wanted[:2]) else own + f"they were learned at {wanted[1]} x {wanted[0]}."
    sizes = ""
    if list(given[:2]) != list(wanted[:2]):
        sizes = f"brought from {given[1]} x {given[0]} to {wanted[1]} x {wanted[0]} pixels"
    colours = "" if given[2] == wanted[2] else ("made grey" if wanted[2] == 1 else "made RGB")
    done = " and ".join(filter(None, [sizes, colours]))
    return f"The images were {done}, as the initialisation takes them." if done else None


def _tensors(tuning: _Tuning) -> tuple[Tensor, Tensor, Tensor]:
    """Support inputs, their codes or standardised numbers, and query inputs, as the network takes them."""
    task, recipe, n = tuning.task, tuning.start.inputs, tuning.task.n_support
    if task.kind == "image" and "backbone" in recipe:
        x = recipes.from_features(recipe, backbone.features(backbone.load(recipe["backbone"]), task.raw))
    elif task.kind == "image":
        x = recipes.from_images(recipe, _shaped(task.raw, recipe["shape"])).float() / 255
    elif task.kind == "text":
        x = recipes.from_texts(recipe, task.raw)
    else:
        x = recipes.from_table(recipe, task.raw)
    if task.kind == "waves":
        y = torch.from_numpy(_standardised(recipe, task)[:n].astype(np.float32))[:, None]
        if (grid := answer.grid(recipe, task)) is not None:  # its outputs follow those of the query rows
            x = torch.cat([x, recipes.from_table(recipe, pd.DataFrame(grid))])
    else:
        y = torch.from_numpy(task.codes[:n].astype(np.int64))
    return x[:n], y, x[n:]


def _own_size(start: Initialisation, task: Task) -> Initialisation:
    """The same for images of the task's own size, where pretrained weights take any."""
    if "backbone" not in start.inputs:
        return start
    return replace(start, inputs=start.inputs | {"shape": list(task.raw.shape[1:])})


def _shaped(images: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Images uint8 [n, height, width, channels] of another size or mode, the whole of each kept."""
    height, width, channels = shape
    if images.shape[1:] == (height, width, channels):
        return images
    plain = images[..., 0] if images.shape[3] == 1 else images
    return np.stack([pixels.decode(Image.fromarray(image), (height, width, channels))[0] for image in plain])


def _check_memory(start: Initialisation, x: Tensor) -> None:
    """Raises InputError for more examples than can be learned at once, which their common norms ask for."""
    needed = _COPIES * x.element_size() * len(x) * start.network.n_activations(x.shape[1:])
    free = psutil.virtual_memory().available
    if needed > free / 2:
        most = int(len(x) * free / 2 / needed)
        raise InputError(
            f"shots: {len(x):,} examples at once take about {needed / 2**30:.1f} GB, and {free / 2**30:.1f} GB are "
            f"free. Choose fewer shots or classes, at most {most:,} examples in all."
        )


def _steps(
    tuning: _Tuning, start: Initialisation, x: Tensor, y: Tensor, query: Tensor
) -> tuple[list[Step], list[Message]]:
    """All steps that the budget allows."""
    began, found = time.monotonic(), []
    for step in learned(start, x, y, query):
        found.append(step)
        if tuning.context.cancelled():
            break
        if step.number < start.inner.steps and time.monotonic() > began + tuning.spec.budget_s:
            text = f"The budget of {tuning.spec.budget_s} s ended after {step.number} of {start.inner.steps} steps."
            return found, [Message(text, "warning")]
    return found, []
