"""The baselines: what scikit-learn reaches on the same rows in seconds, beside every AutoML run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.datasets import Dataset, Split
from core.events import Event, Message
from runner.shared.pipeline_fit import fit_and_score
from runner.shared.pipelines import build, shape_of
from runner.shared.rows import Rows, plain_columns

_MAX_ROWS = 200_000
_MAX_CELLS = 10_000_000  # rows x columns x classes that are fitted in some ten seconds on two cores
_CANDIDATES = ("HistGradientBoosting", "Linear")  # of the portfolio: the same model under the same name


def fit_baselines(dataset: Dataset, rows: dict[Split, Rows], *, metric: str, seed: int) -> Iterator[Event]:
    """Fit HistGradientBoosting and a linear model on the train rows and score them, a trial each.

    One that fails is a warning, and the next one is fitted.
    """
    limit = min(_MAX_ROWS, _MAX_CELLS // (len(plain_columns(dataset)) * max(1, len(dataset.labels))))
    if (n_rows := len(rows["train"].actual)) > limit:
        yield Message(f"The baselines are fitted on {limit:,} of {n_rows:,} train rows, to finish within seconds.")
        places = np.sort(np.random.default_rng(seed).choice(n_rows, limit, replace=False))
        rows = {**rows, "train": rows["train"].at(places)}
    for name in _CANDIDATES:
        event: Event
        try:
            model = build(name, shape_of(dataset, rows["train"], seed))
            event = fit_and_score(name, model, dataset, rows, metric=metric, yardstick=True)
        except Exception as error:  # a baseline is no reason to end the search
            why = f"{type(error).__name__}: {error}".partition("\n")[0]
            event = Message(f"The {name} baseline is left out: {why}", "warning")
        yield event
