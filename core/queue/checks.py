"""The checks of a job before it is queued: does the spec fit its dataset, the jobs it builds on, and the machine?

The check of one kind of job only is the function that its row in core/kinds.py names.
"""

from __future__ import annotations

from core import kinds
from core.datasets import Dataset
from core.errors import InputError
from core.queue import job as job_module
from core.queue import runners
from core.queue.job import ENDED, Job
from core.scoring import check_metric
from core.specs import FewShotSpec, FineTuneSpec, NASSpec, Spec
from core.store import backbones, database

_PRIORITIES = range(-100, 101)


def check_priority(priority: int) -> None:
    """Raise InputError if a priority is out of range."""
    if priority not in _PRIORITIES:
        raise InputError(
            f"{priority} is out of range.", field="priority", value=priority,
            remedy="Use a whole number from -100 to 100.",
        )  # fmt: skip


def check_spec(spec: Spec, dataset: Dataset) -> None:
    """Raise InputError if a spec does not fit its dataset or the jobs that it builds on."""
    kind = kinds.of(spec.kind)
    if dataset.modality not in kind.modalities:
        raise InputError(
            f"{kind.label} needs {_plural(*kind.modalities)}, but {dataset.name!r} holds {_plural(dataset.modality)}.",
            field="dataset_id", value=dataset.id, remedy="Choose another kind of job or another dataset.",
        )  # fmt: skip
    check_metric(dataset.task, spec.metric)
    if kind.check:
        kinds.load(kind.check)(spec, dataset)


def _plural(*modalities: str) -> str:
    return " or ".join(f"{modality}s" for modality in modalities)


def check_slots(spec: Spec) -> None:
    """Raise InputError if a spec needs more than the runner's machine has. Without a runner, every spec passes."""
    if (slots := runners.slots()) is None:
        return
    cpus, gpus = slots
    maximum = max(cpus, type(spec).model_fields["cpus"].default)  # the default runs alone on a smaller machine
    if spec.cpus > maximum:
        raise InputError(
            f"The job asks for {spec.cpus}, but the runner's machine has {cpus}.", field="cpus", value=spec.cpus,
            remedy=f"Ask for {maximum} or fewer, or start the runner with a larger METASCOUT_CPU_SLOTS.",
        )  # fmt: skip
    if spec.gpus > gpus:
        raise InputError(
            f"The job asks for {spec.gpus}, but the runner's machine has {gpus or 'none'}.",
            field="gpus", value=spec.gpus, remedy=f"Ask for {gpus}, or start the runner on a machine with more GPUs.",
        )  # fmt: skip


def check_search(spec: NASSpec, dataset: Dataset) -> None:
    """Raise InputError if a search cannot continue the job in `continues`, or start from the jobs in `starts`."""
    if spec.continues is not None:
        check_continued(job_module.get(spec.continues), dataset.id)
    for other in spec.starts:
        if (kind := job_module.get(other).kind) != spec.kind:
            raise InputError(
                f"Job {other} is of kind {kind!r}.",
                field="starts",
                value=other,
                remedy="Choose jobs that are searches.",
            )


def check_continued(old: Job, dataset_id: int) -> None:
    """Raise InputError if a new job on this dataset cannot continue `old`."""

    def refuse(text: str, remedy: str) -> InputError:
        return InputError(text, field="continues", value=old.id, remedy=remedy)

    if not kinds.of(old.kind).continuable:
        raise refuse(f"Job {old.id} is of kind {old.kind!r}, which cannot be continued.", "Clone it instead.")
    if old.dataset_id != dataset_id:
        raise refuse(f"Job {old.id} searched another dataset.", "Choose that dataset, or leave this empty.")
    if old.status == "paused":
        raise refuse(f"Job {old.id} is paused.", "Resume it, with more time if you like.")
    if old.status not in ENDED:
        raise refuse(f"Job {old.id} is {old.status}.", "Wait until it has ended, or cancel it.")
    with database.transaction() as connection:
        rows = connection.execute("SELECT 1 FROM metrics WHERE job_id=? LIMIT 1", [old.id]).fetchall()
    if not rows:
        raise refuse(f"Job {old.id} has no trained candidate to continue.", "Retry it instead.")


def check_meta_training(spec: FewShotSpec, dataset: Dataset) -> None:
    """Raise InputError if the dataset cannot give the few-shot tasks of the spec."""
    if dataset.task == "regression":
        _check_groups(spec, dataset)
    elif spec.group is not None:
        raise InputError(
            f"The tasks are made of the classes of {dataset.name!r}.",
            field="group",
            value=spec.group,
            remedy="Leave it empty.",
        )
    elif len(dataset.labels) < 3 * spec.ways:
        # If there are few classes, train, valid and test have a third each.
        maximum = len(dataset.labels) // 3
        raise InputError(
            f"Train, valid and test need {spec.ways} classes each, but {dataset.name!r} has "
            f"{len(dataset.labels)} in all.", field="ways", value=spec.ways,
            remedy=f"Choose at most {maximum}." if maximum > 1 else "Add classes: 6 or more.",
        )  # fmt: skip
    elif dataset.modality == "image":
        _check_shots(spec, dataset)
    if spec.backbone is not None:
        backbones.locate(spec.backbone)


def _check_groups(spec: FewShotSpec, dataset: Dataset) -> None:
    columns = [column.name for column in dataset.features]
    if spec.group not in columns:
        problem = f"{spec.group!r} is not a feature of {dataset.name!r}" if spec.group else "none is chosen"
        raise InputError(
            f"Few-shot regression needs a column whose values are the tasks, but {problem}.",
            field="group", value=spec.group, remedy=f"Choose one of {', '.join(columns[:20])}.",
        )  # fmt: skip
    if spec.algorithm == "ProtoNet":
        raise InputError(
            "ProtoNet predicts classes only.", field="algorithm", value=spec.algorithm,
            remedy="Choose MAML, first-order MAML, ANIL or Reptile.",
        )  # fmt: skip


def _check_shots(spec: FewShotSpec, dataset: Dataset) -> None:
    """Raise InputError if even the largest classes are too small for the shots. The engine checks each split."""
    largest = dataset.target_column.histogram  # counts of the most frequent classes
    if len(largest) >= spec.ways and (maximum := largest[spec.ways - 1] - 1) < spec.shots:
        raise InputError(
            f"{spec.ways} classes of {dataset.name!r} cannot give {spec.shots} shots and one query each.",
            field="shots", value=spec.shots, remedy=f"Choose at most {max(1, maximum)}.",
        )  # fmt: skip


def check_fine_tuning(spec: FineTuneSpec, dataset: Dataset) -> None:
    """Raise InputError if the initialisation is not a meta-training, or the dataset does not have the classes."""
    if spec.initialisation is not None and not isinstance(job_module.get(spec.initialisation).spec, FewShotSpec):
        raise InputError(
            f"Job {spec.initialisation} is not a meta-training job.", field="initialisation", value=spec.initialisation,
            remedy="Choose a few-shot meta-training.",
        )  # fmt: skip
    if dataset.task == "regression":
        return
    if unknown := [name for name in spec.classes if name not in dataset.labels]:
        raise InputError(
            f"{unknown[0]!r} is not a class of {dataset.name!r}.", field="classes", value=unknown[0],
            remedy=f"Choose from its {len(dataset.labels)} classes, for instance {', '.join(dataset.labels[:5])}.",
        )  # fmt: skip
    if len(spec.classes) == 1:
        raise InputError(
            f"{spec.classes[0]!r} is the only class.", field="classes", value=spec.classes[0],
            remedy="Choose 2 or more classes.",
        )  # fmt: skip
