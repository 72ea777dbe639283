"""The predictions of a candidate as a trial: every metric of the task, and what the trial's page draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.datasets import Dataset
from core.events import Metric, TrialDone
from core.scoring import METRICS, Array, confusion, residuals, score

_MAX_CLASSES = 100  # of a confusion matrix that is drawn

Pair = tuple[Array, Array]  # actual and predicted values of a split


@dataclass(slots=True)
class Best:
    """The best validation score of a job so far, by its metric."""

    metric: str
    n_trials: int = 0
    error: float = float("inf")

    def add(self, trial: TrialDone) -> Metric:
        """Count a trial; return the point of the job's curve."""
        self.n_trials += 1
        self.error = min(self.error, next(s.valid_error for s in trial.scores if s.metric == self.metric))
        value = 1 - self.error if METRICS[self.metric].higher_is_better else self.error
        return Metric("best_valid", value, self.n_trials)


def trial_of(
    dataset: Dataset, algorithm: str, metric: str, valid: Pair, test: Pair, *, seed: int = 1, **fields: Any
) -> TrialDone:
    """Return the trial of predictions on the validation and the test rows.

    Predictions are numbers, or probabilities [rows, classes] in the order of the dataset's labels. `seed` draws the
    bootstrap rows. `fields` are the other fields of TrialDone (`candidate` is the algorithm unless given); its
    `details` are added to those that follow from the predictions. Raises ValueError for predictions not finite.
    """
    details = prediction_details(dataset, *test) | fields.pop("details", {})
    scores = score(dataset.task, dataset.labels, valid, test, seed=seed)
    return TrialDone(
        **{"candidate": algorithm, **fields}, algorithm=algorithm, metric=metric, scores=scores, details=details
    )


def prediction_details(dataset: Dataset, actual: Array, predicted: Array) -> dict[str, Any]:
    """Return what a trial's page draws of predictions on test rows: a confusion matrix, or residuals."""
    if dataset.task == "regression":
        return {"residuals": residuals(actual, predicted)}
    if len(dataset.labels) > _MAX_CLASSES:
        return {}
    return {"confusion": confusion(dataset.labels, actual, predicted)}
