"""The events that a job reports while it runs. Standard library only: an engine can run anywhere."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of the job: `fraction` from 0 to 1, the current stage, and the estimated seconds that remain."""

    fraction: float
    stage: str
    remaining_s: float | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A line in the log of the job."""

    text: str
    level: Literal["info", "warning", "error"] = "info"


@dataclass(frozen=True, slots=True)
class Metric:
    """One point of a curve. `candidate` is None if the curve belongs to the whole job."""

    name: str
    value: float
    step: int
    candidate: str | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one candidate on the validation and test sets, also as an error (lower is better).

    `lower` and `upper` are the 95% bootstrap interval of `test`.
    """

    metric: str
    valid: float
    test: float
    lower: float
    upper: float
    valid_error: float
    test_error: float


@dataclass(frozen=True, slots=True)
class TrialDone:
    """The result of one candidate.

    `candidate` is unique within the job. `metric` names the score that the job optimised. `predict_row_s` is in
    seconds per row. `yardstick` marks a baseline. `details` holds the charts of the trial's page; each key is
    optional: `confusion` {labels, counts[actual][predicted]} and `residuals` {actual, predicted} on the test set,
    `importance` [{feature, value}], `curve` {x_label, x, series {name: values}}.
    """

    candidate: str
    algorithm: str
    metric: str
    scores: tuple[Score, ...]
    fit_s: float
    predict_row_s: float
    size_bytes: int | None = None
    n_parameters: int | None = None
    yardstick: bool = False
    params: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Architecture:
    """What a candidate network is made of: `layers` is the list of `runner.nas.space.layer_summary.layers`."""

    candidate: str
    layers: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class PolicyPoint:
    """The probability with which a search chooses an option of a decision, after `step` steps.

    A step is a candidate for the policy of a strategy, and a training step for the policy of a supernet.
    """

    decision: str
    option: str
    probability: float
    step: int
    source: Literal["strategy", "supernet"] = "strategy"


@dataclass(frozen=True, slots=True)
class Landmarkers:
    """Scores of very simple models on a sample of the dataset, by name. These meta-features are measured by a job."""

    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file for the user, with its absolute path. `kind` is one word, for instance "mojo"."""

    name: str
    path: str
    kind: str
    candidate: str | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """The environment of the job: package versions, processor, memory, devices."""

    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Initialised:
    """The initialisation that a meta-training has learned: its file at `path` (absolute) and its training data.

    `about` describes the training data, to find similar tasks: `kind` ("image", "text", "table" or "waves"),
    `classes` (of the training split), `held_out` (the classes of validation and test), `profile` (the mean descriptor
    of each training class), `n_rows`, and the properties of the inputs that the network needs.
    """

    path: str
    algorithm: str
    network: str
    ways: int
    shots: int
    n_parameters: int
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The mean score of an initialisation over few-shot tasks of held-out classes.

    `protocol` is "inductive" or "transductive" (batch norm sees the other query rows). `metric` is "accuracy" or
    "mse". `valid` is the score on the validation classes, `test` the score on the test classes, with the 95% interval
    `lower` to `upper` over `n_episodes`. `adapt_s` is the number of seconds to learn one task.
    """

    algorithm: str
    network: str
    ways: int
    shots: int
    protocol: str
    metric: str
    valid: float
    test: float
    lower: float
    upper: float
    n_episodes: int
    adapt_s: float


@dataclass(frozen=True, slots=True)
class Adapted:
    """The outcome of fine-tuning on a few examples: `body` is what the playground draws.

    `body` has `initialisation` (the job), `asked` (whether the user chose it), `proposed` [{job_id, distance (null:
    unknown), like {new class: training class}, why}] (the most similar first), `kind`, `algorithm`, `network`,
    `protocol`, `labels`, `support` [{name, row, label}], `n_queries` (the rows that are scored), `steps` [{step, loss,
    support_loss, accuracy}], `confusion` {labels, counts} or null, `predictions` [{name, row, actual (null: unknown),
    predicted, probabilities}] and `adapt_s`. If no rows are scored, accuracy is null and loss is the support loss.

    For waves, losses are in the squared unit of the target, predictions are numbers, and `curves` is {x_label,
    y_label, x, steps [{step, y}], support {x, y}, query {x, y}} if x is one number, else null.
    """

    body: dict[str, Any]


_KINDS = (
    Progress, Message, Metric, TrialDone, Architecture, PolicyPoint, Landmarkers, Artifact, Environment, Initialised,
    Evaluation, Adapted,
)  # fmt: skip
Event = (
    Progress
    | Message
    | Metric
    | TrialDone
    | Architecture
    | PolicyPoint
    | Landmarkers
    | Artifact
    | Environment
    | Initialised
    | Evaluation
    | Adapted
)
_TYPES: dict[str, type] = {kind.__name__: kind for kind in _KINDS}


def finite(value: Any) -> Any:
    """Return a copy of a JSON-like value with None for NaN and infinities, which JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def to_json(event: Event, at: float) -> str:
    """Return an event that happened at `at` (seconds since the epoch) as one line of JSON."""
    body = {"type": type(event).__name__, "at": at, **asdict(event)}
    return json.dumps(finite(body), separators=(",", ":"), allow_nan=False)


def from_json(line: str | bytes) -> tuple[Event, float]:
    """Return the event and the time of a line that `to_json` wrote. A number that is null becomes NaN."""
    body = json.loads(line)
    kind, at = _TYPES[body.pop("type")], body.pop("at")
    if kind is TrialDone:
        body["scores"] = tuple(Score(**_numbers(Score, score)) for score in body["scores"])
    return kind(**_numbers(kind, body)), at


def _numbers(kind: type, body: dict[str, Any]) -> dict[str, Any]:
    floats = {f.name for f in fields(kind) if f.type == "float"}
    return {key: math.nan if value is None and key in floats else value for key, value in body.items()}
