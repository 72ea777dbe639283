"""What scikit-learn reaches on the same rows in seconds: the yardstick beside every AutoML run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.datasets import Dataset
from core.events import Event, Message
from runner.automl.frames import Rows, usable
from runner.shared.pipelines import build, shape_of
from runner.shared.report import fitted

_ROWS = 200_000
_CELLS = 10_000_000  # rows x columns x classes that are fitted in some ten seconds on two cores
_CANDIDATES = ("HistGradientBoosting", "Linear")  # of the portfolio: the same model under the same name


def yardstick(dataset: Dataset, train: Rows, valid: Rows, test: Rows, *, metric: str, seed: int) -> Iterator[Event]:
    """Fits HistGradientBoosting and a linear model on the train rows and scores them, a trial each.

    One that fails is a warning, and the next one is fitted.
    """
    limit = min(_ROWS, _CELLS // (len(usable(dataset)) * max(1, len(dataset.labels))))
    if len(train.actual) > limit:
        yield Message(f"The yardstick is fitted on {limit:,} of {len(train.actual):,} train rows, to take seconds.")
        kept = np.sort(np.random.default_rng(seed).choice(len(train.actual), limit, replace=False))
        train = Rows(train.features.iloc[kept], train.actual[kept])
    for name in _CANDIDATES:
        event: Event
        try:
            model = build(name, shape_of(dataset, train, seed))
            event = fitted(name, model, dataset, train, valid, test, metric=metric, yardstick=True)
        except Exception as error:  # whatever it is: a yardstick is no reason to end the search
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            event = Message(f"The {name} yardstick is left out: {reason}", "warning")
        yield event
