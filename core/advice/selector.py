"""The selector: which candidates will do best on a new dataset, learned from past results.

Extremely randomised trees on the meta-features' quantiles say which known datasets are similar to the new one; the
ranking minimises what the candidates lost there, and the errors there give the predicted error and its interval. The
weaker the evidence that such advice is good (`Trust`), the more cautious it is, down to the single best candidate and
the fixed portfolio. Fitting imports scikit-learn, predicting does not.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.advice import model as models
from core.advice import ranking, regret
from core.advice.forest import Forest
from core.advice.model import Model
from core.advice.quantiles import nearest_rows, numbers
from core.advice.trust import PLAN_SIZE, Trust
from core.errors import InputError

Array = NDArray[Any]

_TREES, _PLAN_TREES = 1600, 300


class Selector:
    """Fits on past results, predicts for new datasets; every answer has one row, or key, per dataset."""

    def __init__(self, *, trees: int = _TREES, plan_trees: int = _PLAN_TREES, seed: int = 0) -> None:
        self._trees, self._plan_trees, self._seed = trees, plan_trees, seed
        self._model: Model | None = None

    def fit(
        self,
        features: pd.DataFrame,
        errors: pd.DataFrame,
        *,
        groups: pd.Series | None = None,
        weights: pd.Series | None = None,
    ) -> Selector:
        """Fit on meta-features and errors, both with one row per dataset; errors are NaN where not run.

        Datasets without meta-features count as typical, those without an error are left out. `groups` (index dataset)
        marks versions of one dataset, which must not evaluate one another. `weights` (index dataset, 1 by default) say
        how much a dataset counts in the advice and in the defaults; in the evaluation all count equally. Raises
        InputError if there is no result, a dataset or candidate occurs twice, or a weight is not above 0.
        """
        self._model = models.fit(
            features, errors, groups, weights, trees=self._trees, plan_trees=self._plan_trees, seed=self._seed
        )
        return self

    @property
    def model(self) -> Model:
        """The fitted state. Raises InputError before `fit`."""
        if self._model is None:
            raise InputError("The selector has not been fitted.", remedy="Fit it on past results first.")
        return self._model

    def predict(self, features: pd.DataFrame, *, among: Collection[str] | None = None) -> pd.DataFrame:
        """Return index (dataset, candidate), best rank first; columns error, lower, upper (90% interval), rank from 1.

        The rank follows the expected rank and regret, not the expected error; if the selector falls back, the safe
        order. The interval is NaN if fewer than nine datasets are known. `among` restricts the candidates. A dataset
        that is known is answered by the trees grown without it.
        """
        model = self.model
        weights = self._weights(features)
        error, spread = ranking.moments(weights, model.table)
        half = model.width * spread
        order = self._ranking(features, weights, self._places(among))
        columns = {"error": error, "lower": np.maximum(error - half, model.lowest), "upper": error + half}
        sorted_columns = {name: np.take_along_axis(values, order, axis=1).ravel() for name, values in columns.items()}
        names = np.array(model.errors.columns, dtype=object)[order].ravel()
        datasets = np.repeat(np.array(features.index, dtype=object), order.shape[1])
        index = pd.MultiIndex.from_arrays([datasets, names], names=["dataset", "candidate"])
        return pd.DataFrame({**sorted_columns, "rank": np.tile(np.arange(order.shape[1]) + 1, len(features))}, index)

    def plan(self, features: pd.DataFrame, k: int = PLAN_SIZE, *, among: Collection[str] | None = None) -> pd.DataFrame:
        """Return the k candidates [datasets, k] to run and keep the best of, chosen together for each dataset.

        A plan of one is the first of the ranking. Fewer if there are fewer candidates; the fixed portfolio if plans
        have not been better. `among` restricts the candidates.
        """
        places = self.plan_places(features, k, among=among)
        return pd.DataFrame(np.array(self.model.errors.columns, dtype=object)[places], index=features.index)

    def similar_datasets(self, features: pd.DataFrame, count: int = 5) -> dict[Any, pd.DataFrame]:
        """Return for each dataset the nearest known ones: dataset, distance (0..1), best candidate and its error."""
        model = self.model
        best = pd.DataFrame({"candidate": model.errors.idxmin(axis=1), "error": model.errors.min(axis=1)})
        distances = model.scale.distances(self._quantiles(features))
        tables = (nearest_rows(row, list(model.errors.index), count) for row in distances)
        return {name: table.join(best, on="dataset") for name, table in zip(features.index, tables, strict=True)}

    def outliers(self, features: pd.DataFrame) -> pd.Series:
        """Return whether each dataset is unlike all known ones: far away, or with meta-features out of range."""
        return pd.Series(self.model.scale.outliers(self._quantiles(features)), features.index)

    def drivers(
        self, features: pd.DataFrame, count: int = 5, *, among: Collection[str] | None = None
    ) -> dict[Any, pd.Series]:
        """Return the meta-features that moved the predicted error of the first of each ranking the most.

        In units of error, relative to the mean of all candidates: below zero speaks for the candidate.
        """
        model = self.model
        order = self._ranking(features, self._weights(features), self._places(among))
        relative = model.table - model.table.mean(axis=1, keepdims=True)
        drivers = {}
        for name, row, place in zip(features.index, self._quantiles(features), order[:, 0], strict=True):
            contributions = model.choice.contributions(row, relative[:, place], model.weights)
            moved = pd.Series(contributions, list(model.scale.names))
            drivers[name] = moved[moved != 0].sort_values(key=np.abs, ascending=False)[:count]
        return drivers

    @property
    def importance(self) -> pd.Series:
        """How well each meta-feature separates the known datasets' rankings, most important first; sums to 1."""
        model = self.model
        return pd.Series(model.choice.importance, list(model.scale.names)).sort_values(ascending=False)

    @property
    def sbs(self) -> str:
        """The single best candidate of the known datasets: the safe default."""
        return str(self.model.errors.columns[self.model.safe[0]])

    def portfolio(self, k: int = PLAN_SIZE) -> list[str]:
        """Return the fixed portfolio: the k candidates whose best was best on the known datasets."""
        return regret.portfolio(self.model.errors, k, self.model.weights)

    @property
    def trust(self) -> Trust:
        """How good the advice was on the known datasets, each held out."""
        return self.model.trust

    @property
    def falls_back(self) -> bool:
        """Whether the SBS is recommended because the advice has not been better."""
        return self.model.trust.falls_back

    @property
    def reason(self) -> str:
        """How much to trust the advice, and why the default is recommended if it is, in words."""
        return self.model.trust.sentence(self.sbs)

    def map(self, features: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return the known datasets, or others, on a plane [x, y]: datasets with similar meta-features are close."""
        model = self.model
        quantiles = model.scale.quantiles if features is None else self._quantiles(features)
        index = model.errors.index if features is None else features.index
        return pd.DataFrame(model.scale.plane(quantiles), index, ["x", "y"])

    def save(self, path: Path) -> None:
        """Write the fitted selector to one file of arrays (.npz), complete or not at all."""
        from core.advice import selector_file

        selector_file.write(self.model, path)

    @classmethod
    def load(cls, path: Path) -> Selector:
        """Return the selector that `save` wrote. Raises InputError if the file holds none."""
        from core.advice import selector_file

        selector = cls()
        selector._model = selector_file.read(path)
        return selector

    def ranking_places(self, features: pd.DataFrame) -> Array:
        """Return the ranking as column numbers of the known errors [datasets, candidates]."""
        return self._ranking(features, self._weights(features), self._places(None))

    def plan_places(self, features: pd.DataFrame, k: int = PLAN_SIZE, *, among: Collection[str] | None = None) -> Array:
        """Return the plan as column numbers of the known errors [datasets, k]."""
        model, places = self.model, self._places(among)
        if k == 1:
            return self._ranking(features, self._weights(features), places)[:, :1]
        if model.trust.plan_falls_back:
            return np.tile(places[self.portfolio_places(k, places)], (len(features), 1))
        return places[ranking.plans(self._weights(features, model.plan), model.table[:, places], k)]

    def portfolio_places(self, k: int = PLAN_SIZE, places: Array | None = None) -> list[int]:
        """Return the fixed portfolio as numbers among `places`, column numbers of the known errors (None: all)."""
        errors = self.model.errors if places is None else self.model.errors.iloc[:, places]
        return regret.portfolio_places(errors, k, self.model.weights)

    def _quantiles(self, features: pd.DataFrame) -> Array:
        return self.model.scale.transform(numbers(features))

    def _weights(self, features: pd.DataFrame, forest: Forest | None = None) -> Array:
        """Return the weights of the known datasets for these; a known dataset has no weight for itself."""
        forest, quantiles = forest or self.model.choice, self._quantiles(features)
        places = self._row_numbers(features)
        in_every_tree = np.asarray((forest.leaf >= 0).all(axis=0))  # if there is a single dataset
        held_out = (places >= 0) & ~in_every_tree[places]
        weights = np.empty((len(features), len(self.model.errors)))
        if held_out.any():
            weights[held_out] = forest.held_out_weights(quantiles[held_out], places[held_out])
        if not held_out.all():
            weights[~held_out] = forest.weights(quantiles[~held_out])
        return ranking.normalise(weights, self.model.weights)

    def _row_numbers(self, features: pd.DataFrame) -> Array:
        """Return the numbers of the datasets among the known ones, -1 for new ones."""
        return np.asarray(self.model.errors.index.get_indexer(features.index))

    def _places(self, among: Collection[str] | None) -> Array:
        """Return the column numbers of these candidates. Raises InputError if none of them is known."""
        names = self.model.errors.columns
        places = np.arange(len(names)) if among is None else np.flatnonzero(names.isin(list(among)))
        if not len(places):
            listed = ", ".join(sorted(among or ()))
            raise InputError(
                f"There is no result of {listed}.", field="candidates", value=listed, remedy="Run one of them first."
            )
        return places

    def _ranking(self, features: pd.DataFrame, weights: Array, places: Array) -> Array:
        model = self.model
        safe = model.safe[np.isin(model.safe, places)]
        if model.trust.falls_back:
            return np.tile(safe, (len(weights), 1))
        table = model.table[:, places]
        if not model.cautious:
            return places[ranking.bold(weights, table)]
        groups, rows = model.trust.groups, self._row_numbers(features)
        own = (rows >= 0)[:, None] & (groups[rows][:, None] == groups)  # a known dataset and its versions
        everyone = ranking.normalise((~own | own.all(axis=1, keepdims=True)).astype(float), model.weights)
        return places[ranking.cautious(weights, everyone, table, np.flatnonzero(places == safe[0]))]
