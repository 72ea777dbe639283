"""A scikit-learn pipeline fitted on the train rows and scored, as a trial."""

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

from core.datasets import Dataset, Split
from core.events import TrialDone
from core.scoring import Array
from runner.shared.report import trial_of
from runner.shared.rows import Rows

_INNER = "estimator__"  # of what a pipeline's last step wraps


def fit_and_score(
    name: str,
    model: Pipeline,
    dataset: Dataset,
    rows: dict[Split, Rows],
    *,
    metric: str,
    clock: Callable[[], float] = time.perf_counter,
    **fields: Any,
) -> TrialDone:
    """Fit the model on the train rows and return its trial, with further `fields` of it.

    `clock` gives the seconds. Raises what scikit-learn raises.
    """
    train, valid, test = rows["train"], rows["valid"], rows["test"]
    start = clock()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a quick model need not be the optimum
        model.fit(train.features, train.actual)
    fit_s = clock() - start
    on_valid = predict(model, dataset, valid)
    start = clock()
    on_test = predict(model, dataset, test)
    predict_s = clock() - start
    return trial_of(
        dataset,
        name,
        metric,
        (valid.actual, on_valid),
        (test.actual, on_test),
        fit_s=fit_s,
        predict_row_s=predict_s / len(test.actual),
        size_bytes=len(pickle.dumps(model)),
        **{"params": settings(model[-1]), **fields},
    )


def predict(model: Pipeline, dataset: Dataset, rows: Rows) -> Array:
    """Return numbers, or probabilities in the order of the dataset's labels; 0 for a class not in the train rows."""
    if dataset.task == "regression":
        return np.asarray(model.predict(rows.features), float)
    result = np.zeros((len(rows.actual), len(dataset.labels)))
    result[:, model.classes_] = model.predict_proba(rows.features)
    return result


def settings(estimator: Any) -> dict[str, Any]:
    """Return the plain settings of an estimator; those of the one that it wraps come under their own names."""
    inner = estimator.regressor if isinstance(estimator, TransformedTargetRegressor) else estimator
    values = {key.removeprefix(_INNER): value for key, value in inner.get_params().items()}
    return {k: v for k, v in values.items() if v is None or (isinstance(v, str | int | float) and v != "deprecated")}
