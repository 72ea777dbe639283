"""A candidate as a trial: its pipeline fitted on train, scored on valid and test; AutoML's yardsticks are such, too."""

from __future__ import annotations

import pickle
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline

from core.datasets import Dataset
from core.events import TrialDone
from core.scoring import Array, score
from runner.automl.models import drawn

_INNER = "estimator__"  # of what a pipeline's last step wraps


def fitted(
    algorithm: str,
    model: Pipeline,
    dataset: Dataset,
    train: Any,
    valid: Any,
    test: Any,
    *,
    metric: str,
    clock: Callable[[], float] = time.perf_counter,
    **more: Any,
) -> TrialDone:
    """Fits the model on the train rows and scores it; `more` are further fields of the trial.

    The rows have `features` and `actual`; `clock` gives the seconds. Raises what scikit-learn raises.
    """
    start = clock()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a quick model need not be the optimum
        model.fit(train.features, train.actual)
    fit_s = clock() - start
    on_valid = predict(model, dataset, valid)
    start = clock()
    on_test = predict(model, dataset, test)
    predict_s = clock() - start
    return TrialDone(
        candidate=algorithm,
        algorithm=algorithm,
        metric=metric,
        scores=score(dataset.task, dataset.labels, (valid.actual, on_valid), (test.actual, on_test)),
        fit_s=fit_s,
        predict_row_s=predict_s / len(test.actual),
        size_bytes=len(pickle.dumps(model)),
        details=drawn(dataset, test.actual, on_test),
        **{"params": settings(model[-1]), **more},
    )


def predict(model: Pipeline, dataset: Dataset, rows: Any) -> Array:
    """Numbers, or probabilities in the order of the dataset's labels; 0 for a class that the model has not seen."""
    if dataset.task == "regression":
        return np.asarray(model.predict(rows.features), float)
    result = np.zeros((len(rows.actual), len(dataset.labels)))
    result[:, model.classes_] = model.predict_proba(rows.features)
    return result


def settings(estimator: Any) -> dict[str, Any]:
    """The plain settings of an estimator, those of what it wraps under their own names."""
    inner = estimator.regressor if isinstance(estimator, TransformedTargetRegressor) else estimator
    given = {key.removeprefix(_INNER): value for key, value in inner.get_params().items()}
    return {k: v for k, v in given.items() if v is None or (isinstance(v, str | int | float) and v != "deprecated")}
