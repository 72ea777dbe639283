"""The metrics, and how a candidate's predictions become scores with an interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Task = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True, slots=True)
class MetricKind:
    """How a metric is called, for which tasks it is defined, and which direction is better."""

    label: str
    tasks: tuple[Task, ...]
    higher_is_better: bool

    def error(self, value: float) -> float:
        """The metric as an error, lower is better: 1 - value where higher is better."""
        return 1.0 - value if self.higher_is_better else value


_CLASSES: tuple[Task, ...] = ("binary", "multiclass")
METRICS: dict[str, MetricKind] = {
    "auc": MetricKind("AUC", _CLASSES, True),
    "accuracy": MetricKind("Accuracy", _CLASSES, True),
    "balanced_accuracy": MetricKind("Balanced accuracy", _CLASSES, True),
    "log_loss": MetricKind("Log loss", _CLASSES, False),
    "rmse": MetricKind("RMSE", ("regression",), False),
    "mae": MetricKind("MAE", ("regression",), False),
    "r2": MetricKind("R²", ("regression",), True),
}
DEFAULT_METRIC: dict[Task, str] = {"binary": "auc", "multiclass": "log_loss", "regression": "rmse"}


def metrics_for(task: Task) -> tuple[str, ...]:
    """Names of the metrics that are defined for a task, the default one first."""
    default = DEFAULT_METRIC[task]
    return (default, *(name for name, kind in METRICS.items() if task in kind.tasks and name != default))
