"""Fine-tuning as a job: read the examples, choose an initialisation, learn the task step by step, and score it."""

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
from core.results.initialisations import Initialisation, from_order, missing_error
from core.specs import FineTuneSpec
from core.store import backbones
from runner.fewshot import (
    adaptation_report,
    backbone_network,
    class_profiles,
    deploy,
    finetune_tasks,
    initialisation_file,
    recipes,
    similar_initialisations,
)
from runner.fewshot.finetune_tasks import FineTuneTask
from runner.fewshot.initialisation_file import LoadedInitialisation
from runner.fewshot.similar_initialisations import SimilarInitialisation, TrainingProfile
from runner.fewshot.task_adaptation import AdaptationStep, adapt_task, configure
from runner.shared.context import Context

_MAX_NAMES = 5  # in a sentence
_ACTIVATION_COPIES = 6  # that a step needs, gradients among them


@dataclass(frozen=True, slots=True)
class _FineTuning:
    """A task with its initialisation; `similar` are all possible ones, the most similar first."""

    spec: FineTuneSpec
    context: Context
    task: FineTuneTask
    stored: Initialisation
    start: LoadedInitialisation
    similar: tuple[SimilarInitialisation, ...]


def run(spec: FineTuneSpec, context: Context) -> Iterator[Event]:
    """Learn the examples' classes from the chosen or the most similar initialisation; yield one `Adapted`, and files.

    Raises InputError for examples that make no task, and if no initialisation fits them.
    """
    torch.set_num_threads(context.cpus)
    yield Progress(0.0, "Reading the examples")
    task = finetune_tasks.from_spec(spec, context.dataset)
    yield Progress(0.2, "Choosing the initialisation")
    stored, task, similar = _choose(spec, context, task)
    start = initialisation_file.load(stored.path)
    tuning = _FineTuning(spec, context, task, stored, start, tuple(similar))
    yield from _notes(tuning)
    yield Progress(0.4, "Learning from the examples")
    x, y, query = _tensors(tuning)
    _check_memory(start, x)
    start = configure(start, len(task.labels) if task.kind != "waves" else 1, spec.inner_steps, spec.inner_rate)
    steps, warnings = _learn(tuning, start, x, y, query)
    yield from warnings
    body = adaptation_report.build(stored, task, tuning.start.recipe, tuning.similar, steps)
    yield Adapted(body | {"asked": spec.initialisation is not None})
    if not context.cancelled():
        yield Progress(0.7, "Predictions ready; writing the model's files")
        yield from deploy.write_files(context, stored, _with_image_size(start, task), steps[-1].weights, x, task.labels)


def _choose(
    spec: FineTuneSpec, context: Context, task: FineTuneTask
) -> tuple[Initialisation, FineTuneTask, list[SimilarInitialisation]]:
    """Return the chosen initialisation or the most similar one, the task in its form, and all by similarity."""
    initialisations, scores = from_order(context.order)
    stored = {one.job_id: one for one in initialisations}
    score_of = dict(zip(stored, scores, strict=True))
    _check_choice(spec, task, stored)
    tasks = _tasks_by_initialisation(spec, task, stored)
    trainings = [
        TrainingProfile(job_id, stored[job_id].about.get("profile") or {}, stored[job_id].ways, score_of[job_id])
        for job_id in tasks
    ]
    similar = similar_initialisations.rank(trainings, _support_profiles(stored, tasks))
    chosen = spec.initialisation or similar[0].job_id
    return stored[chosen], tasks[chosen], similar


def _check_choice(spec: FineTuneSpec, task: FineTuneTask, stored: dict[int, Initialisation]) -> None:
    """Raise InputError if the spec's initialisation does not exist or is for other data."""
    if spec.initialisation is None:
        return
    job_id = spec.initialisation
    if job_id not in stored:
        raise missing_error(job_id)
    if (kind := stored[job_id].about.get("kind")) != task.kind:
        raise InputError(
            f"Job {job_id} was trained on {_data_name(kind)}, and the examples are {_data_name(task.kind)}.",
            field="initialisation",
            value=job_id,
            remedy="Choose another, or leave it empty for the most similar one.",
        )


def _data_name(kind: object) -> str:
    names = {"image": "images", "text": "texts", "table": "rows of a table", "waves": "groups of a table"}
    return names.get(str(kind), str(kind))


def _tasks_by_initialisation(
    spec: FineTuneSpec, task: FineTuneTask, stored: dict[int, Initialisation]
) -> dict[int, FineTuneTask]:
    """Return the task for each initialisation that fits. Raises InputError if the chosen one, or none, fits."""
    tasks: dict[int, FineTuneTask] = {}
    last_error: InputError | None = None
    for job_id, one in stored.items():
        if one.about.get("kind") != task.kind:
            continue
        try:
            tasks[job_id] = _task_for(spec, task, one)
        except InputError as error:
            if job_id == spec.initialisation:
                raise
            last_error = error
    if last_error is not None and not tasks:
        raise last_error
    return tasks


def _task_for(spec: FineTuneSpec, task: FineTuneTask, stored: Initialisation) -> FineTuneTask:
    """Return the task in the form of an initialisation of its kind. Raises InputError if it does not fit."""
    if task.kind == "image" and (sha256 := (stored.about.get("inputs") or {}).get("backbone")):
        backbones.locate(sha256)
    if task.kind in ("image", "text"):
        return task
    recipe = initialisation_file.load(stored.path).recipe
    recipes.encode_table(recipe, task.raw.iloc[:1])
    if task.kind == "table":
        return task
    if recipe["group"] not in task.raw.columns:
        raise InputError(f"There is no column {recipe['group']!r}, which holds the groups.", remedy="Add it.")
    return finetune_tasks.select_group(task, spec, recipe["group"])


def _support_profiles(stored: dict[int, Initialisation], tasks: dict[int, FineTuneTask]) -> Any:
    """Return the profile of the support set; for numbers, a function that scales them as an initialisation does."""
    first = next(iter(tasks.values()), None)
    if first is None or first.kind in ("image", "text"):
        return {} if first is None else class_profiles.describe(first.support(), first.support_labels(), first.kind)

    def profile(one: TrainingProfile) -> class_profiles.Profile:
        task, recipe = tasks[one.job_id], initialisation_file.load(stored[one.job_id].path).recipe
        x, n = recipes.encode_table(recipe, task.raw).numpy(), task.n_support
        if task.kind == "table":
            return class_profiles.describe(x[:n], task.support_labels(), "table")
        return class_profiles.describe(np.c_[x, _standardise(recipe, task)][:n], [task.labels[0]] * n, "waves")

    return profile


def _standardise(recipe: recipes.Recipe, task: FineTuneTask) -> np.ndarray:
    target = recipe["target"]
    return (task.codes - target["mean"]) / target["std"]


def _notes(tuning: _FineTuning) -> Iterator[Event]:
    """Yield what the user should know about the choice, and about conversions."""
    task, stored, spec = tuning.task, tuning.stored, tuning.spec
    why = next(one.why for one in tuning.similar if one.job_id == stored.job_id)
    how = "your choice" if spec.initialisation else "the most similar one"
    yield Message(f"Initialisation of job {stored.job_id} ({stored.algorithm}), {how}. {why}")
    if task.kind == "image" and (conversion := _conversion(task.raw.shape[1:], tuning.start.recipe)):
        yield Message(conversion)
    if task.kind in ("image", "text"):
        yield from _duplicate_warnings(task)
    trained, n = tuning.start.network.n_outputs, len(task.labels)
    if task.kind != "waves" and stored.algorithm != "ProtoNet" and n != trained:
        how = "the additional ones start as their mean" if n > trained else f"the first {n} of them are used"
        yield Message(f"There are {n} classes, and the initialisation has outputs for {trained}: {how}.")
    yield from _leak_warning(tuning)
    if spec.inner_rate is not None and tuning.start.inner.learned_rates:
        yield Message(f"The rate {spec.inner_rate:g} replaces all learned ones.")


def _leak_warning(tuning: _FineTuning) -> Iterator[Event]:
    """Yield a warning if the initialisation was trained on these classes."""
    task, stored = tuning.task, tuning.stored
    trained = [name for name in task.labels if name in (stored.about.get("classes") or ())]
    if trained and stored.dataset_id == tuning.context.dataset.id and tuning.spec.examples is None:
        names = ", ".join(map(repr, trained[:_MAX_NAMES])) + (", ..." if len(trained) > _MAX_NAMES else "")
        yield Message(
            f"The initialisation was trained on {names}: on new classes it is less accurate than here.", "warning"
        )


def _duplicate_warnings(task: FineTuneTask) -> Iterator[Event]:
    """Yield warnings about equal examples, which inflate the score, or mislead where their classes differ."""
    contents = [row.tobytes() for row in task.raw] if task.kind == "image" else list(task.raw)
    pairs = [(content, code) for content, code in zip(contents, task.codes, strict=True) if code != UNKNOWN]
    support, query = set(pairs[: task.n_support]), pairs[task.n_support :]
    if copies := sum(pair in support for pair in query):
        yield Message(
            f"{copies:,} of the {len(query):,} query examples are copies of support examples: the scores are inflated.",
            "warning",
        )
    first: dict[Any, int] = {}
    for content, code in pairs:
        if (other := first.setdefault(content, code)) != code:
            names = f"{task.labels[other]!r} and {task.labels[code]!r}"
            yield Message(f"{names} have an example in common. Remove it from the wrong class.", "warning")
            return


def _conversion(actual: Sequence[int], recipe: recipes.Recipe) -> str | None:
    """Return how images of a shape [height, width, channels] are converted for a recipe, or None if they are not."""
    target = recipe["shape"]
    resized = list(actual[:2]) != list(target[:2])
    if "backbone" in recipe:
        text = f"The images stay at {actual[1]} x {actual[0]} pixels, which the pretrained weights can use; "
        return text + f"training used {target[1]} x {target[0]}." if resized else None
    sizes = f"resized from {actual[1]} x {actual[0]} to {target[1]} x {target[0]} pixels" if resized else ""
    colours = "" if actual[2] == target[2] else ("made grey" if target[2] == 1 else "made RGB")
    done = " and ".join(filter(None, [sizes, colours]))
    return f"The images were {done}, as the initialisation needs them." if done else None


def _tensors(tuning: _FineTuning) -> tuple[Tensor, Tensor, Tensor]:
    """Return support inputs, their codes or standardised numbers, and query inputs, as the network needs them."""
    task, recipe, n = tuning.task, tuning.start.recipe, tuning.task.n_support
    if task.kind == "image" and "backbone" in recipe:
        network = backbone_network.load(recipe["backbone"])
        x = recipes.encode_features(recipe, backbone_network.extract_features(network, task.raw))
    elif task.kind == "image":
        x = recipes.encode_images(recipe, _convert(task.raw, recipe["shape"])).float() / 255
    elif task.kind == "text":
        x = recipes.encode_texts(recipe, task.raw)
    else:
        x = recipes.encode_table(recipe, task.raw)
    if task.kind == "waves":
        y = torch.from_numpy(_standardise(recipe, task)[:n].astype(np.float32))[:, None]
        # The outputs of the curve's points follow those of the query rows.
        if (grid := adaptation_report.curve_grid(recipe, task)) is not None:
            x = torch.cat([x, recipes.encode_table(recipe, pd.DataFrame(grid))])
    else:
        y = torch.from_numpy(task.codes[:n].astype(np.int64))
    return x[:n], y, x[n:]


def _with_image_size(start: LoadedInitialisation, task: FineTuneTask) -> LoadedInitialisation:
    """Return the initialisation for images of the task's own size, if it has pretrained weights, which allow any."""
    if "backbone" not in start.recipe:
        return start
    return replace(start, recipe=start.recipe | {"shape": list(task.raw.shape[1:])})


def _convert(images: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Return images uint8 [n, height, width, channels] in another size or mode, without cropping."""
    height, width, channels = shape
    if images.shape[1:] == (height, width, channels):
        return images
    plain = images[..., 0] if images.shape[3] == 1 else images
    return np.stack([pixels.decode(Image.fromarray(image), (height, width, channels))[0] for image in plain])


def _check_memory(start: LoadedInitialisation, x: Tensor) -> None:
    """Raise InputError for more examples than fit the memory; batch norm needs all of them at once."""
    needed = _ACTIVATION_COPIES * x.element_size() * len(x) * start.network.n_activations(x.shape[1:])
    free = psutil.virtual_memory().available
    if needed > free / 2:
        maximum = int(len(x) * free / 2 / needed)
        raise InputError(
            f"{len(x):,} examples at once need about {needed / 2**30:.1f} GB, and {free / 2**30:.1f} GB are free.",
            field="shots",
            remedy=f"Choose fewer shots or classes, at most {maximum:,} examples in all.",
        )


def _learn(
    tuning: _FineTuning, start: LoadedInitialisation, x: Tensor, y: Tensor, query: Tensor
) -> tuple[list[AdaptationStep], list[Message]]:
    """Return all steps that the budget allows, and a warning if it ended early."""
    began, steps = time.monotonic(), []
    for step in adapt_task(start, x, y, query):
        steps.append(step)
        if tuning.context.cancelled():
            break
        if step.number < start.inner.steps and time.monotonic() > began + tuning.spec.budget_s:
            text = f"The budget of {tuning.spec.budget_s} s ended after {step.number} of {start.inner.steps} steps."
            return steps, [Message(text, "warning")]
    return steps, []
