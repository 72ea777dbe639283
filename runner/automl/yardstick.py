"""What scikit-learn reaches on the same rows in seconds: the yardstick beside every AutoML run."""

from __future__ import annotations

import pickle
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

from core.datasets import Column, Dataset
from core.events import Event, Message, TrialDone
from core.scoring import Array, score
from runner.automl.frames import Rows, usable
from runner.automl.trials import drawn

_ROWS = 200_000
_CELLS = 10_000_000  # rows x columns x classes that are fitted in some ten seconds on two cores
_LEVELS = 250  # of a categorical column; rarer ones become one, for the trees have 255 bins
_ONE_HOT_LEVELS = 50
_LARGE = 1e100  # larger numbers count as this: a variance of theirs would be infinite


def yardstick(dataset: Dataset, train: Rows, valid: Rows, test: Rows, *, metric: str, seed: int) -> Iterator[Event]:
    """Fits HistGradientBoosting and a linear model on the train rows and scores them, a trial each.

    One that fails is a warning, and the next one is fitted.
    """
    columns = usable(dataset)
    limit = min(_ROWS, _CELLS // (len(columns) * max(1, len(dataset.labels))))
    if len(train.actual) > limit:
        yield Message(f"The yardstick is fitted on {limit:,} of {len(train.actual):,} train rows, to take seconds.")
        kept = np.sort(np.random.default_rng(seed).choice(len(train.actual), limit, replace=False))
        train = Rows(train.features.iloc[kept], train.actual[kept])
    for algorithm, build in _MODELS.items():
        event: Event
        try:
            event = _trial(algorithm, build(dataset, train, columns, seed), dataset, train, valid, test, metric)
        except Exception as error:  # whatever it is: a yardstick is no reason to end the search
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            event = Message(f"The {algorithm} yardstick is left out: {reason}", "warning")
        yield event


def _trial(
    algorithm: str, model: Pipeline, dataset: Dataset, train: Rows, valid: Rows, test: Rows, metric: str
) -> TrialDone:
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a yardstick need not be the optimum
        model.fit(train.features, train.actual)
    fit_s = time.perf_counter() - start
    on_valid = _predict(model, dataset, valid)
    start = time.perf_counter()
    on_test = _predict(model, dataset, test)
    predict_s = time.perf_counter() - start
    return TrialDone(
        candidate=algorithm,
        algorithm=algorithm,
        metric=metric,
        scores=score(dataset.task, dataset.labels, (valid.actual, on_valid), (test.actual, on_test)),
        fit_s=fit_s,
        predict_row_s=predict_s / len(test.actual),
        size_bytes=len(pickle.dumps(model)),
        yardstick=True,
        params=_params(model[-1]),
        details=drawn(dataset, test.actual, on_test),
    )


def _predict(model: Pipeline, dataset: Dataset, rows: Rows) -> Array:
    if dataset.task == "regression":
        return model.predict(rows.features)
    result = np.zeros((len(rows.actual), len(dataset.labels)))
    result[:, model.classes_] = model.predict_proba(rows.features)
    return result


def _trees(dataset: Dataset, train: Rows, columns: tuple[Column, ...], seed: int) -> Pipeline:
    names = [c.key for c in columns if c.type == "categorical"]
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=_LEVELS, encoded_missing_value=np.nan
    )
    encode = ColumnTransformer([("categories", encoder, names)], remainder="passthrough")
    kind = HistGradientBoostingRegressor if dataset.task == "regression" else HistGradientBoostingClassifier
    # Its own split for early stopping is stratified and needs two rows of each class.
    stop: Any = "auto" if dataset.task == "regression" or np.bincount(train.actual).min() > 1 else False
    return make_pipeline(
        encode, kind(categorical_features=list(range(len(names))) or None, early_stopping=stop, random_state=seed)
    )


def _linear(dataset: Dataset, train: Rows, columns: tuple[Column, ...], seed: int) -> Pipeline:
    names = [c.key for c in columns if c.type == "categorical"]
    numbers = [c.key for c in columns if c.type != "categorical"]
    clip = FunctionTransformer(np.clip, kw_args={"a_min": -_LARGE, "a_max": _LARGE})
    scale = make_pipeline(clip, SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=_ONE_HOT_LEVELS)
    encode = ColumnTransformer([("numbers", scale, numbers), ("categories", one_hot, names)])
    if dataset.task == "regression":
        return make_pipeline(encode, Ridge())
    return make_pipeline(encode, LogisticRegression(max_iter=300, random_state=seed))


_MODELS: dict[str, Callable[[Dataset, Rows, tuple[Column, ...], int], Pipeline]] = {
    "HistGradientBoosting": _trees,
    "Linear": _linear,
}


def _params(estimator: Any) -> dict[str, Any]:
    given = estimator.get_params()
    return {name: value for name, value in given.items() if value is None or isinstance(value, str | int | float)}
