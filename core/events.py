"""What a job reports while it runs. Standard library only, so that an engine can run anywhere."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the job is: `fraction` from 0 to 1, what it does now, and the seconds it expects to need."""

    fraction: float
    stage: str
    remaining_s: float | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A line of the job's log."""

    text: str
    level: Literal["info", "warning", "error"] = "info"


@dataclass(frozen=True, slots=True)
class Metric:
    """One point of a curve. `candidate` is None where the curve belongs to the whole job."""

    name: str
    value: float
    step: int
    candidate: str | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one candidate, as people know it, and as an error (lower is better).

    `lower` and `upper` bound the test value: a 95% bootstrap interval over the test rows.
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
    """A candidate has been evaluated.

    `candidate` is unique within the job; `metric` names the score that the job optimised;
    `predict_row_s` is seconds per row. `details` holds what the trial's page draws, each key optional:
    `confusion` {labels, counts[actual][predicted]} and `residuals` {actual, predicted} on test rows,
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
    """How likely a search's strategy is to choose an option of a decision, after so many steps.

    Steps are candidates for the policy of a strategy, and training steps for the one that a supernet learns.
    """

    decision: str
    option: str
    probability: float
    step: int
    source: Literal["strategy", "supernet"] = "strategy"


@dataclass(frozen=True, slots=True)
class Landmarkers:
    """Scores of very simple models on a sample of the dataset, by name: meta-features that only a job can measure."""

    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that the job leaves for the user, with its absolute path. `kind` is one word, e.g. "mojo"."""

    name: str
    path: str
    kind: str
    candidate: str | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """Where the job ran: package versions, processor, memory, devices."""

    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Initialised:
    """A meta-training has left an initialisation: the file at `path` (absolute), and what it was trained on.

    `about` has what the memory of initialisations tells and compares: `kind` ("image", "text", "table" or "waves"),
    `classes` (those of train), `held_out` (those of valid and test), `profile` (the mean descriptor of each train
    class), `n_rows`, and what else the network needs of its inputs.
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
    """What an initialisation is worth on few-shot tasks of held-out classes, as a mean over episodes.

    `protocol` is "inductive" or "transductive" (whether batch norm sees the other query rows); `metric` is "accuracy"
    or "mse". `valid` is of the valid classes, `test` of the test classes with its 95% interval over `n_episodes`.
    `adapt_s` are the seconds that one task takes to learn.
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
    """A new task has been learned from a few examples; `body` is what the playground draws.

    `initialisation` (the job), `asked` (whether it was asked for), `proposed` [{job_id, distance (null: unknown), like
    {new class: train class}, why}], the nearest first, `kind`, `algorithm`, `network`, `protocol`, `labels`,
    `support` [{name, row, label}], `n_queries` (judged rows), `steps` [{step, loss, support_loss, accuracy (null
    without judged rows, and loss is the support's then)}], `confusion` {labels, counts} or null, `predictions` [{name,
    row, actual (null if unknown), predicted, probabilities}], `adapt_s`. Of waves losses are in the target's unit
    squared, predictions are numbers, and `curves` {x_label, y_label, x, steps [{step, y}], support {x, y}, query {x,
    y}} is there where x is one number; else it is null.
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
    """Copy of a JSON-like value with NaN and infinities as None, which JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def to_json(event: Event, at: float) -> str:
    """One line of JSON for an event that happened at `at` (seconds since the epoch)."""
    body = {"type": type(event).__name__, "at": at, **asdict(event)}
    return json.dumps(finite(body), separators=(",", ":"), allow_nan=False)


def from_json(line: str | bytes) -> tuple[Event, float]:
    """The event and its time out of a line that `to_json` wrote; None in a number comes back as NaN."""
    body = json.loads(line)
    kind, at = _TYPES[body.pop("type")], body.pop("at")
    if kind is TrialDone:
        body["scores"] = tuple(Score(**_numbers(Score, score)) for score in body["scores"])
    return kind(**_numbers(kind, body)), at


def _numbers(kind: type, body: dict[str, Any]) -> dict[str, Any]:
    floats = {f.name for f in fields(kind) if f.type == "float"}
    return {key: math.nan if value is None and key in floats else value for key, value in body.items()}
