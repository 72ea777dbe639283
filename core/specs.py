"""The spec of a job: one frozen, validated value for each kind, to and from JSON."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from core.errors import InputError
from core.scoring import METRICS

AUTOML_ALGORITHMS = ("GBM", "XGBoost", "GLM", "DRF", "DeepLearning", "StackedEnsemble")
NAS_STRATEGIES = ("gp", "evolution", "local", "reinforce", "gradient", "random")
# The candidates of a portfolio job. Some are for classes only (NaiveBayes, LDA, QDA), some for numbers only.
PORTFOLIO_CANDIDATES = (
    "Baseline", "NaiveBayes", "Linear", "ElasticNet", "BayesianRidge", "LDA", "QDA", "DecisionTree",
    "NearestNeighbours", "HistGradientBoosting", "GradientBoosting", "LinearSVM", "ExtraTrees", "RandomForest",
    "AdaBoost", "HistGradientBoostingSlow", "Huber", "MLP", "SVM",
)  # fmt: skip


FEWSHOT_ALGORITHMS = ("ProtoNet", "MAML", "First-order MAML", "ANIL", "Reptile")
FEWSHOT_NETWORKS = ("conv4", "resnet", "text", "mlp", "pretrained")


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset_id: int = Field(ge=1)
    seed: int = Field(default=1, ge=0, le=2**31 - 1)
    cpus: int = Field(default=2, ge=1, le=256, description="threads that the job uses")
    gpus: int = Field(default=0, ge=0, le=64)
    note: str = Field(default="", max_length=500)

    @model_validator(mode="before")
    @classmethod
    def _refuse_booleans(cls, data: Any) -> Any:
        fields = cls.model_fields if isinstance(data, dict) else {}
        wrong = [n for n in fields if isinstance(data.get(n), bool) and fields[n].annotation is not bool]
        if wrong:
            parts = (InputError(f"{data[n]} is not a number.", field=n, value=data[n]) for n in wrong)
            raise InputError("", parts=tuple(parts))
        return data


class AutoMLSpec(_Spec):
    """H2O AutoML on a table. `metric` is the one that H2O ranks by; None: the default of the dataset's task."""

    kind: Literal["automl"] = "automl"
    budget_s: int = Field(default=60, ge=10, le=86_400)
    max_models: int = Field(default=20, ge=1, le=1_000)
    algorithms: tuple[Literal[AUTOML_ALGORITHMS], ...] = AUTOML_ALGORITHMS  # type: ignore[valid-type]
    metric: Literal[tuple(METRICS)] | None = None  # type: ignore[valid-type]
    folds: int | None = Field(
        default=None, ge=0, le=20, description="0: no cross-validation; null: 5 where the budget allows, else 0"
    )
    balance_classes: bool = False
    memory_bytes: int = Field(default=4 * 2**30, ge=2**29, le=2**40, description="heap of the Java process")

    @model_validator(mode="after")
    def _check(self) -> AutoMLSpec:
        if not self.algorithms:
            raise _wrong("algorithms", self.algorithms, "Nothing is selected.", "Choose at least one.")
        if self.algorithms == ("StackedEnsemble",):
            raise _wrong(
                "algorithms", self.algorithms, "StackedEnsemble combines other models.", "Add one more algorithm."
            )
        if self.folds == 1:
            raise _wrong("folds", 1, "Cross-validation needs at least 2 folds.", "Use 0 for none, or 2 or more.")
        return self


class NASSpec(_Spec):
    """A search for a network on images, texts or a table. `gpus` is 1 for the GPU and 0 for the CPU."""

    kind: Literal["nas"] = "nas"
    budget_s: int = Field(default=120, ge=10, le=86_400)
    max_candidates: int = Field(default=64, ge=4, le=5_000)
    strategy: Literal[NAS_STRATEGIES] = "gp"  # type: ignore[valid-type]
    epochs: int | None = Field(
        default=None, ge=1, le=1_000, description="of a finalist; null: as many as the budget allows"
    )
    finalists: int = Field(default=3, ge=1, le=20)
    max_parameters: int | None = Field(default=None, ge=1, description="larger networks are not trained")
    max_latency_s: float | None = Field(
        default=None, gt=0, le=60, description="seconds to predict one row alone; slower networks are not trained"
    )
    max_candidate_epochs: int | None = Field(
        default=None, ge=1, description="maximum epochs for all candidates together, without the finalists"
    )
    continues: int | None = Field(default=None, ge=1, description="the job whose search this one continues")
    starts: tuple[int, ...] = Field(
        default=(), max_length=10, description="jobs on other datasets; their best candidates are tried first"
    )
    metric: Literal[tuple(METRICS)] | None = None  # type: ignore[valid-type]

    @model_validator(mode="after")
    def _check(self) -> NASSpec:
        if self.gpus > 1:
            raise _wrong("gpus", self.gpus, f"A search uses one GPU, not {self.gpus}.", "Choose 1, or 0 for the CPU.")
        if self.starts and self.continues is not None:
            raise _wrong(
                "starts",
                self.starts,
                "A search that continues another already has candidates.",
                "Leave this empty.",
            )
        if self.finalists > self.max_candidates:
            text = f"{self.finalists} finalists are more than the {self.max_candidates} candidates."
            raise _wrong("finalists", self.finalists, text, "Ask for fewer finalists or more candidates.")
        return self


class PortfolioSpec(_Spec):
    """Scikit-learn pipelines of many kinds on any dataset. Each has `candidate_s` seconds for its fit and scores."""

    kind: Literal["portfolio"] = "portfolio"
    budget_s: int = Field(default=600, ge=10, le=86_400)
    candidate_s: int = Field(default=120, ge=1, le=86_400, description="maximum seconds for one candidate")
    candidates: tuple[Literal[PORTFOLIO_CANDIDATES], ...] = PORTFOLIO_CANDIDATES  # type: ignore[valid-type]
    metric: Literal[tuple(METRICS)] | None = None  # type: ignore[valid-type]
    keep_models: bool = Field(default=True, description="save the fitted models; scores do not need them")

    @model_validator(mode="after")
    def _check(self) -> PortfolioSpec:
        if not self.candidates:
            raise _wrong("candidates", self.candidates, "Nothing is selected.", "Choose at least one.")
        if self.gpus:
            raise _wrong("gpus", self.gpus, "The portfolio does not use GPUs.", "Ask for 0.")
        return self


class FewShotSpec(_Spec):
    """Meta-training on the classes of a dataset or the groups of a table: an initialisation that learns new classes.

    The classes are split into train, valid and test, the same for every meta-training of a dataset. For None the
    engine chooses: the network by the kind of data, the rest by the algorithm.
    """

    kind: Literal["fewshot"] = "fewshot"
    budget_s: int = Field(default=300, ge=10, le=86_400)
    algorithm: Literal[FEWSHOT_ALGORITHMS] = "ProtoNet"  # type: ignore[valid-type]
    ways: int = Field(default=5, ge=2, le=100, description="classes of a task; not used for regression")
    shots: int = Field(default=1, ge=1, le=50, description="examples of each class to learn from")
    queries: int = Field(
        default=15, ge=1, le=100, description="further examples of each class, to predict; training tasks have fewer"
    )
    network: Literal[FEWSHOT_NETWORKS] | None = None  # type: ignore[valid-type]
    width: int = Field(default=64, ge=4, le=512, description="channels or units of each layer")
    backbone: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="sha256 of a stored safetensors file of pretrained weights"
    )
    inner_steps: int | None = Field(default=None, ge=1, le=50)
    inner_rate: float | None = Field(default=None, gt=0, le=10)
    outer_rate: float | None = Field(default=None, gt=0, le=1)
    meta_batch: int | None = Field(default=None, ge=1, le=512, description="tasks in an outer step")
    iterations: int | None = Field(default=None, ge=1, le=1_000_000, description="null: as many as the budget allows")
    train_ways: int | None = Field(
        default=None,
        ge=2,
        le=200,
        description="classes of a training task; null: same as ways, more for ProtoNet",
    )
    rotations: bool = Field(default=False, description="training images in any of the four quarter turns, each a class")
    distortions: bool = Field(default=False, description="training images are shifted, rotated and scaled slightly")
    transductive: bool = Field(default=True, description="in training, batch norm uses the query rows")
    learned_rates: bool = Field(default=False, description="learn one inner rate for each tensor and step (MAML++)")
    multi_step_loss: bool = Field(default=False, description="at first the loss of every inner step counts (MAML++)")
    first_order_frac: float = Field(
        default=0.0, ge=0, le=1, description="first part of the training, with first-order gradients"
    )
    group: str | None = Field(default=None, max_length=200, description="column of a table; each value is a task")
    test_episodes: int = Field(default=1_000, ge=10, le=100_000)

    @property
    def metric(self) -> None:
        """Return None: few-shot results have their own metrics."""
        return None

    @model_validator(mode="after")
    def _check(self) -> FewShotSpec:
        if self.gpus > 1:
            raise _wrong(
                "gpus", self.gpus, f"Meta-training uses one GPU, not {self.gpus}.", "Choose 1, or 0 for the CPU."
            )
        if (self.network == "pretrained") != (self.backbone is not None):
            text = "Pretrained weights belong to the network 'pretrained'."
            raise _wrong("backbone", self.backbone, text, "Give both or neither.")
        if self.backbone is not None and (self.rotations or self.distortions):
            text = "The features of pretrained weights are computed once, from the original images."
            raise _wrong("rotations", self.rotations, text, "Turn off rotations and distortions.")
        if self.algorithm == "ProtoNet" and (self.inner_steps is not None or self.inner_rate is not None):
            raise _wrong(
                "inner_steps",
                self.inner_steps,
                "ProtoNet has no inner steps.",
                "Leave inner_steps and inner_rate empty.",
            )
        if self.algorithm != "ProtoNet" and self.train_ways is not None:
            text = f"The head of {self.algorithm} has one output for each way."
            raise _wrong("train_ways", self.train_ways, text, "Leave it empty.")
        if self.algorithm in ("ProtoNet", "Reptile") and (self.learned_rates or self.multi_step_loss):
            text = f"{self.algorithm} does not learn inner rates and has no loss after each inner step."
            remedy = "Choose MAML, First-order MAML or ANIL, or turn off learned_rates and multi_step_loss."
            raise _wrong("learned_rates", self.learned_rates, text, remedy)
        return self


class FineTuneSpec(_Spec):
    """Learning new classes from a few examples and a stored initialisation. It takes seconds and needs no slot.

    The examples are rows of the `classes` of the dataset, a stored file of examples, or for regression the rows of
    one group. `initialisation` is the job that meta-trained it; None: the most similar one.
    """

    kind: Literal["finetune"] = "finetune"
    cpus: int = Field(default=0, ge=0, le=256, description="0: no slot, because it takes only seconds")
    budget_s: int = Field(default=60, ge=1, le=3_600, description="no further step starts after this many seconds")
    initialisation: int | None = Field(default=None, ge=1)
    classes: tuple[str, ...] = Field(default=(), max_length=100)
    shots: int = Field(default=5, ge=1, le=20)
    queries: int = Field(default=15, ge=1, le=100, description="further examples of each class, for the score")
    examples: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$", description="sha256 of a stored file")
    inner_steps: int | None = Field(default=None, ge=1, le=100)
    inner_rate: float | None = Field(default=None, gt=0, le=10)

    @property
    def metric(self) -> None:
        """Return None: few-shot results have their own metrics."""
        return None

    @model_validator(mode="after")
    def _check(self) -> FineTuneSpec:
        if self.examples is not None and self.classes:
            raise _wrong(
                "classes", self.classes, "The file of examples has its own classes.", "Leave one of them empty."
            )
        if self.examples is None and not self.classes:
            raise _wrong("classes", (), "Nothing is selected.", "Choose 2 or more classes, or add examples.")
        if len(set(self.classes)) < len(self.classes):
            raise _wrong("classes", self.classes, "A class is chosen twice.", "Choose each class once.")
        if self.gpus:
            raise _wrong("gpus", self.gpus, f"Fine-tuning runs on the CPU, not on {self.gpus} GPUs.", "Ask for 0.")
        return self


Spec = AutoMLSpec | NASSpec | PortfolioSpec | FewShotSpec | FineTuneSpec
_ADAPTER: TypeAdapter[Spec] = TypeAdapter(Annotated[Spec, Field(discriminator="kind")])


# The names of the fields in forms and in errors.
LABELS = {
    "algorithm": "Algorithm",
    "algorithms": "Algorithms",
    "backbone": "Pretrained weights",
    "balance_classes": "Balance classes",
    "budget_s": "Time budget (seconds)",
    "candidate_s": "Limit per candidate (seconds)",
    "candidates": "Candidates",
    "classes": "Classes",
    "continues": "Continues job",
    "cpus": "CPU threads",
    "dataset_id": "Dataset",
    "distortions": "Small distortions",
    "epochs": "Finalist epochs",
    "examples": "Examples",
    "finalists": "Finalists",
    "first_order_frac": "First-order share",
    "folds": "Cross-validation folds",
    "gpus": "GPUs",
    "group": "Task column",
    "initialisation": "Initialisation",
    "inner_rate": "Inner rate",
    "inner_steps": "Inner steps",
    "iterations": "Maximum iterations",
    "keep_models": "Save models",
    "learned_rates": "Learned rates",
    "max_candidate_epochs": "Maximum candidate-epochs",
    "max_candidates": "Maximum candidates",
    "max_latency_s": "Maximum latency",
    "max_models": "Maximum models",
    "max_parameters": "Maximum parameters",
    "memory_bytes": "Memory (bytes)",
    "meta_batch": "Tasks per step",
    "metric": "Metric",
    "multi_step_loss": "Multi-step loss",
    "network": "Network",
    "note": "Note",
    "outer_rate": "Outer rate",
    "priority": "Priority",
    "queries": "Queries per class",
    "rotations": "Rotations as classes",
    "seed": "Seed",
    "shots": "Shots",
    "starts": "Start from jobs",
    "strategy": "Strategy",
    "test_episodes": "Test episodes",
    "train_ways": "Training ways",
    "transductive": "Transductive batch norm",
    "ways": "Ways",
    "width": "Width",
}
_PLAIN = {
    "missing": "A value is required",
    "extra_forbidden": "There is no such field",
    "union_tag_not_found": "The kind of job is required",
}
_WITHOUT_VALUE = ("missing", "union_tag_not_found")


def parse(data: str | bytes | dict[str, Any]) -> Spec:
    """Return the spec that JSON text or a dict describes.

    Raises InputError with a part for each wrong field, which names the value and what is allowed.
    """
    try:
        if isinstance(data, dict):
            return _ADAPTER.validate_python(data)
        return _ADAPTER.validate_json(data)
    except ValidationError as error:
        parts = tuple(part for item in error.errors(include_url=False) for part in _parts(item))
        raise InputError("The job cannot be submitted.", parts=parts) from None


def to_json(spec: Spec) -> str:
    """Return the spec as JSON text; `parse` reads it."""
    return json.dumps(spec.model_dump(mode="json"), sort_keys=True)


def _parts(item: Any) -> tuple[InputError, ...]:
    """Return an error of pydantic as InputErrors, one for each field."""
    if item["type"] == "value_error" and isinstance(error := item["ctx"]["error"], InputError):
        return error.parts or (error,)
    if item["type"] == "union_tag_invalid":
        remedy = f"Choose one of {item['ctx']['expected_tags'].replace(chr(39), '')}."
        text = f"There is no kind of job {item['ctx']['tag']!r}."
        return (InputError(text, field="kind", value=item["ctx"]["tag"], remedy=remedy),)
    # The location begins with the kind, by which the type of spec was chosen.
    field = ".".join(str(step) for step in item["loc"][1:]) or ("kind" if "tag" in item["type"] else "spec")
    value = "" if item["type"] in _WITHOUT_VALUE else f" (given: {item['input']!r:.80})"
    return (InputError(f"{_PLAIN.get(item['type'], item['msg'])}{value}.", field=field, value=item["input"]),)


def _wrong(field: str, value: Any, text: str, remedy: str) -> InputError:
    return InputError(text, field=field, value=value, remedy=remedy)
