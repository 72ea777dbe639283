"""The selector: which candidates will do best on a dataset that none has seen, learnt from past results.

Extremely randomised trees on the meta-features' quantiles say which known datasets are like the new one; the ranking
minimises what the candidates lost there, and the errors there are the predicted error and its interval. A second,
smoother forest chooses plans. Each tree is grown without a part of the datasets, so that the same forests also tell how
good the advice would have been (`Trust`): the weaker that evidence, the more cautious the advice, down to the single
best candidate and the fixed portfolio. Fitting imports scikit-learn, predicting does not.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.advice import forest, regret, trust
from core.advice.forest import Forest
from core.advice.quantiles import Inputs, checked, learnt, nearest
from core.advice.trust import PLAN, Trust
from core.errors import InputError

Array = NDArray[Any]

CONFIDENCE = 0.9
_TREES, _PLAN_TREES, _FILLING_TREES = 1600, 300, 100
_GENERAL = 0.15  # the part of all known datasets beside the like ones in a cautious expectation
_FLOOR = 0.1  # of a candidate's deviation over all datasets: what like datasets agree on is not certain


@dataclass(frozen=True, slots=True)
class Model:
    """A fitted selector's state."""

    errors: pd.DataFrame  # index known dataset, columns candidate with a result; NaN where not run
    table: Array  # the errors, what is missing filled
    safe: Array  # column numbers, the SBS first
    inputs: Inputs
    choice: Forest  # for the ranking and the errors
    plan: Forest  # for the plans
    weights: Array  # [datasets] how much a known dataset counts
    trust: Trust
    cautious: bool  # whether the ranking is the cautious one
    width: float  # the half interval in units of the spread; NaN where too few datasets are known


class Selector:
    """Fit on what is known, predict for new datasets; every answer is a DataFrame whose index is the datasets'."""

    def __init__(self, *, trees: int = _TREES, plan_trees: int = _PLAN_TREES, seed: int = 0) -> None:
        self._trees = (trees, plan_trees)
        self._seed = seed
        self._model: Model | None = None

    def fit(
        self,
        features: pd.DataFrame,
        errors: pd.DataFrame,
        *,
        groups: pd.Series | None = None,
        weights: pd.Series | None = None,
    ) -> Selector:
        """Learn from meta-features and errors, both with one row a dataset; errors are NaN where not run.

        Datasets without meta-features count as typical, those without an error are left out. `groups` (index dataset)
        marks versions of one dataset, which must not judge one another. `weights` (index dataset, 1 where none is
        given) say how much a dataset counts in the advice and in the defaults; each judges the advice alike. Raises
        InputError where there is no result, a dataset or candidate is there twice, or a weight is not above 0.
        """
        errors = _usable(errors)
        features = checked(features).reindex(errors.index)
        numbers = _numbered(groups, errors.index)
        counts = _counts(weights, errors.index)
        known = learnt(features, numbers)
        table = _filled(errors.to_numpy(float), known, numbers, counts, self._seed)
        kinds = (((table, 2), (_loss(table), 1)), ((_ranks(table), 2),))
        choice, plan = (
            forest.grow(known.known, kind, numbers, trees=trees, seed=self._seed)
            for kind, trees in zip(kinds, self._trees, strict=True)
        )
        safe = regret.safe_order(errors, counts)
        judgement = _judged(errors, table, known, choice, plan, numbers, counts, self._seed)
        self._model = Model(errors, table, safe, known, choice, plan, counts, *judgement)
        return self

    @property
    def model(self) -> Model:
        """The fitted state. Raises InputError before `fit`."""
        if self._model is None:
            raise InputError("the selector has learnt nothing yet: fit it on past results first.")
        return self._model

    def predict(self, features: pd.DataFrame, *, among: Collection[str] | None = None) -> pd.DataFrame:
        """Index (dataset, candidate), best rank first; columns error, lower, upper (90% interval), rank from 1.

        The rank follows the expected rank and regret, not the expected error; where the selector falls back, the safe
        order. The interval is NaN where fewer than nine datasets are known. `among` leaves other candidates out.
        A dataset that is known is answered by the trees that have not seen it.
        """
        model = self.model
        weights = self._weights(features)
        error, spread = _moments(weights, model.table)
        half = model.width * spread
        order = self._ranking(features, weights, self._places(among))
        columns = {"error": error, "lower": np.maximum(error - half, _lowest(model.errors)), "upper": error + half}
        sorted_columns = {name: np.take_along_axis(values, order, axis=1).ravel() for name, values in columns.items()}
        names = np.array(model.errors.columns, dtype=object)[order].ravel()
        datasets = np.repeat(np.array(features.index, dtype=object), order.shape[1])
        index = pd.MultiIndex.from_arrays([datasets, names], names=["dataset", "candidate"])
        return pd.DataFrame({**sorted_columns, "rank": np.tile(np.arange(order.shape[1]) + 1, len(features))}, index)

    def plan(self, features: pd.DataFrame, k: int = PLAN, *, among: Collection[str] | None = None) -> pd.DataFrame:
        """The k candidates [datasets, k] to run of which the best is kept, chosen together for each dataset.

        A plan of one is the first of the ranking. Fewer where there are fewer candidates; the fixed portfolio where the
        plan has not been better. `among` leaves other candidates out.
        """
        places = self.plan_places(features, k, among=among)
        return pd.DataFrame(np.array(self.model.errors.columns, dtype=object)[places], index=features.index)

    def near(self, features: pd.DataFrame, count: int = 5) -> dict[Any, pd.DataFrame]:
        """For each dataset the nearest known ones: columns dataset, distance (0..1), best candidate and its error."""
        model = self.model
        best = pd.DataFrame({"candidate": model.errors.idxmin(axis=1), "error": model.errors.min(axis=1)})
        distances = model.inputs.distances(self._quantiles(features))
        found = (nearest(row, list(model.errors.index), count) for row in distances)
        return {name: table.join(best, on="dataset") for name, table in zip(features.index, found, strict=True)}

    def beyond(self, features: pd.DataFrame) -> pd.Series:
        """Whether a dataset is unlike any known one: its meta-features lie far from theirs, or outside their range."""
        return pd.Series(self.model.inputs.beyond(self._quantiles(features)), features.index)

    def drivers(
        self, features: pd.DataFrame, count: int = 5, *, among: Collection[str] | None = None
    ) -> dict[Any, pd.Series]:
        """What drove the first of each ranking: the meta-features that moved its predicted error the most.

        In units of error, relative to the mean of all candidates: below zero speaks for the candidate.
        """
        model = self.model
        quantiles = self._quantiles(features)
        order = self._ranking(features, self._weights(features), self._places(among))
        relative = model.table - model.table.mean(axis=1, keepdims=True)
        found = {}
        for name, row, place in zip(features.index, quantiles, order[:, 0], strict=True):
            contributions = model.choice.contributions(row, relative[:, place], model.weights)
            moved = pd.Series(contributions, list(model.inputs.names))
            found[name] = moved[moved != 0].sort_values(key=np.abs, ascending=False)[:count]
        return found

    @property
    def importance(self) -> pd.Series:
        """How much each meta-feature tells the known datasets' rankings apart, most important first; sums to 1."""
        model = self.model
        return pd.Series(model.choice.importance, list(model.inputs.names)).sort_values(ascending=False)

    @property
    def sbs(self) -> str:
        """The single best candidate of the known datasets: the safe default."""
        return str(self.model.errors.columns[self.model.safe[0]])

    def portfolio(self, k: int = PLAN) -> list[str]:
        """The fixed portfolio: the k candidates whose best was best on the known datasets."""
        return regret.portfolio(self.model.errors, k, self.model.weights)

    @property
    def trust(self) -> Trust:
        """How good the advice was on the known datasets, each unseen."""
        return self.model.trust

    @property
    def falls_back(self) -> bool:
        """Whether the SBS is recommended because the advice has not been better."""
        return self.model.trust.falls_back

    @property
    def reason(self) -> str:
        """How much to trust the advice, and why it is the default where it is: a sentence for the reader."""
        return self.model.trust.sentence(self.sbs)

    def map(self, features: pd.DataFrame | None = None) -> pd.DataFrame:
        """The known datasets, or others, on a plane [x, y]: near points have like meta-features."""
        model = self.model
        quantiles = model.inputs.known if features is None else self._quantiles(features)
        index = model.errors.index if features is None else features.index
        return pd.DataFrame(model.inputs.plane(quantiles), index, ["x", "y"])

    def save(self, path: Path) -> None:
        """Write the fitted selector to one file of arrays (.npz), which is whole or not there."""
        from core.advice import selector_file

        selector_file.write(self.model, path)

    @classmethod
    def load(cls, path: Path) -> Selector:
        """The selector that `save` wrote. Raises InputError where the file is no such thing."""
        from core.advice import selector_file

        selector = cls()
        selector._model = selector_file.read(path)
        return selector

    def ranking_places(self, features: pd.DataFrame) -> Array:
        """The ranking as column numbers of the known errors [datasets, candidates]."""
        return self._ranking(features, self._weights(features), self._places(None))

    def plan_places(self, features: pd.DataFrame, k: int = PLAN, *, among: Collection[str] | None = None) -> Array:
        """The plan as column numbers of the known errors [datasets, k]."""
        model, places = self.model, self._places(among)
        if k == 1:
            return self._ranking(features, self._weights(features), places)[:, :1]
        if model.trust.plan_falls_back:
            return np.tile(places[self.portfolio_places(k, places)], (len(features), 1))
        return places[_plans(self._weights(features, model.plan), model.table[:, places], k)]

    def portfolio_places(self, k: int = PLAN, places: Array | None = None) -> list[int]:
        """The fixed portfolio as numbers among `places`, column numbers of the known errors (None: all)."""
        errors = self.model.errors if places is None else self.model.errors.iloc[:, places]
        return regret.portfolio_places(errors, k, self.model.weights)

    def _quantiles(self, features: pd.DataFrame) -> Array:
        return self.model.inputs.transform(checked(features))

    def _weights(self, features: pd.DataFrame, forest: Forest | None = None) -> Array:
        """Of the known datasets for these; none of its own for one that is known."""
        forest, quantiles = forest or self.model.choice, self._quantiles(features)
        places = self._known(features)
        seen_by_all = np.asarray((forest.leaf >= 0).all(axis=0))  # where there is a single dataset
        known = (places >= 0) & ~seen_by_all[places]
        weights = np.empty((len(features), len(self.model.errors)))
        if known.any():
            weights[known] = forest.held_out_weights(quantiles[known], places[known])
        if not known.all():
            weights[~known] = forest.weights(quantiles[~known])
        return _weighted(weights, self.model.weights)

    def _known(self, features: pd.DataFrame) -> Array:
        """The numbers of the datasets among the known ones, -1 for new ones."""
        return np.asarray(self.model.errors.index.get_indexer(features.index))

    def _places(self, among: Collection[str] | None) -> Array:
        """Column numbers of the candidates that are asked for. Raises InputError where none is known."""
        names = self.model.errors.columns
        places = np.arange(len(names)) if among is None else np.flatnonzero(names.isin(list(among)))
        if not len(places):
            raise InputError(
                f"candidates: nothing is known of {', '.join(sorted(among or ()))}; run one of them first."
            )
        return places

    def _ranking(self, features: pd.DataFrame, weights: Array, places: Array) -> Array:
        model = self.model
        safe = model.safe[np.isin(model.safe, places)]
        if model.trust.falls_back:
            return np.tile(safe, (len(weights), 1))
        table = model.table[:, places]
        if not model.cautious:
            return places[_bold(weights, table)]
        groups, known = model.trust.groups, self._known(features)
        own = (known >= 0)[:, None] & (groups[known][:, None] == groups)  # itself, if it is known, and its versions
        everyone = _weighted((~own | own.all(axis=1, keepdims=True)).astype(float), model.weights)
        return places[_cautious(weights, everyone, table, np.flatnonzero(places == safe[0]))]


def _usable(errors: pd.DataFrame) -> pd.DataFrame:
    """The datasets and candidates with a result; infinite errors are failed runs."""
    for kind, labels in (("dataset", errors.index), ("candidate", errors.columns)):
        if labels.has_duplicates:
            raise InputError(f"{kind}: {labels[labels.duplicated()][0]!r} is there twice; keep one of the two.")
    errors = errors.astype(float).replace([np.inf, -np.inf], np.nan).dropna(how="all").dropna(how="all", axis=1)
    if errors.empty:
        raise InputError("there is no result yet: run the candidates on at least one dataset, or import past runs.")
    return errors


def _numbered(groups: pd.Series | None, index: pd.Index) -> Array:
    """Numbers from 0 for the groups; a dataset in none is its own."""
    if groups is None:
        return np.arange(len(index))
    names = [("group", groups[name]) if name in groups and pd.notna(groups[name]) else ("own", name) for name in index]
    return np.asarray(pd.factorize(pd.Series(names, dtype=object))[0])


def _counts(weights: pd.Series | None, index: pd.Index) -> Array:
    """How much each dataset counts. Raises InputError for a weight that is not a number above 0."""
    if weights is None:
        return np.ones(len(index))
    counts = weights.reindex(index).astype(float).fillna(1.0)
    wrong = counts[~(np.isfinite(counts) & (counts > 0))]
    if len(wrong):
        raise InputError(f"weight of dataset {wrong.index[0]!r}: {wrong.iloc[0]}; give a number above 0.")
    return counts.to_numpy()


def _weighted(shares: Array, counts: Array) -> Array:
    """A forest's weights [new datasets, known datasets] where each known dataset counts so much; rows sum to 1."""
    product = shares * counts
    return np.asarray(product / np.maximum(product.sum(axis=1, keepdims=True), 1e-300))


def _filled(errors: Array, known: Inputs, groups: Array, counts: Array, seed: int) -> Array:
    """The errors, missing ones filled by what like datasets say: those of a first forest, grown for a first filling."""
    table = regret.filled(errors, counts)
    if np.isfinite(errors).all():
        return table
    first = forest.grow(known.known, ((_ranks(table), 2), (table, 2)), groups, trees=_FILLING_TREES, seed=seed)
    return regret.filled_locally(errors, first.held_out_weights(known.known), counts)


def _ranks(table: Array) -> Array:
    """Row-standardised ranks: every dataset counts alike, whatever its errors."""
    return regret.standardised(pd.DataFrame(table).rank(axis=1).to_numpy())


def _loss(table: Array) -> Array:
    """What a candidate costs on each known dataset: its standardised rank plus its regret, in the regrets' deviations.

    Ranks are steady and regret is what counts; either alone did worse on some of the tables.
    """
    regrets = table - table.min(axis=1, keepdims=True)
    return _ranks(table) + regrets / max(regrets.std(), 1e-12)


def _bold(weights: Array, table: Array) -> Array:
    """The ranking [datasets, candidates] by expected loss, in column numbers."""
    return np.argsort(_expected_loss(weights, table), axis=1, kind="stable")


def _cautious(weights: Array, everyone: Array, table: Array, safe: Array) -> Array:
    """As `_bold`, but candidates that are not expected to have less error than the SBS come last, whatever their ranks.

    That expectation counts the known datasets at large (`everyone`: weights, for each row or all) a little beside the
    like ones, so that a rare disaster that none of the like ones saw is not forgotten. `safe` [datasets] is the SBS's
    number, or one for all.
    """
    expected = ((1 - _GENERAL) * weights + _GENERAL * everyone) @ table
    barred = expected > np.take_along_axis(expected, np.broadcast_to(safe, len(weights))[:, None], axis=1)
    return np.lexsort((_expected_loss(weights, table), barred), axis=1)


def _expected_loss(weights: Array, table: Array) -> Array:
    """Expected rank plus expected regret, each standardised over a dataset's candidates."""
    regrets = table - table.min(axis=1, keepdims=True)
    return regret.standardised(weights @ _ranks(table)) + regret.standardised(weights @ regrets)


def _plans(weights: Array, table: Array, k: int) -> Array:
    """The k columns with the least expected regret of their best, greedily, for each row of weights."""
    regrets = table - table.min(axis=1, keepdims=True)
    return np.array([regret.greedy(regrets, row, min(k, table.shape[1])) for row in weights], int)


def _moments(weights: Array, table: Array) -> tuple[Array, Array]:
    """Expected errors [datasets, candidates] and their spread under the weights."""
    mean = weights @ table
    variance = np.maximum(weights @ table**2 - mean**2, 0.0) + (_FLOOR * table.std(axis=0)) ** 2
    return mean, np.sqrt(variance)


def _lowest(errors: pd.DataFrame) -> float:
    """Errors are not below zero unless some are known to be."""
    return 0.0 if errors.min(axis=None) >= 0 else -np.inf


def _judged(
    errors: pd.DataFrame,
    table: Array,
    known: Inputs,
    choice: Forest,
    plan: Forest,
    groups: Array,
    counts: Array,
    seed: int,
) -> tuple[Trust, bool, float]:
    """The trust in the advice, whether it is cautious, and the width of the intervals.

    All three are from the trees that had not seen the dataset, and from defaults chosen without it. The advice is
    cautious unless the bold one is beyond doubt.
    """
    actual = errors.to_numpy(float)
    defaults = trust.held_out_defaults(errors, groups, counts, seed)
    if defaults is None:
        return Trust(pd.DataFrame(np.nan, errors.index, list(trust.COLUMNS)), groups, None), True, np.nan
    weights = _weighted(choice.held_out_weights(known.known), counts)
    mean, spread = _moments(weights, table)
    width = _width(np.abs(actual - mean) / np.maximum(spread, 1e-12), int(groups.max()) + 1)
    lower = np.maximum(mean - width * spread, _lowest(errors))
    covered = regret.coverage(actual, lower, mean + width * spread)
    plans = _plans(_weighted(plan.held_out_weights(known.known), counts), table, PLAN)
    others = _weighted((groups[:, None] != groups[None, :]).astype(float), counts)
    bold, careful = (
        Trust(pd.DataFrame(trust.judge(actual, ranking, plans, *defaults), errors.index), groups, covered)
        for ranking in (_bold(weights, table), _cautious(weights, others, table, defaults[0][:, 0]))
    )
    cautious = not bold.beyond_doubt
    return careful if cautious else bold, cautious, width


def _width(scores: Array, count: int) -> float:
    """The conformal quantile of held-out residuals (Barber et al. 2021) over `count` independent datasets."""
    level = np.ceil((count + 1) * CONFIDENCE) / count
    return float(np.nanquantile(scores, level, method="higher")) if level <= 1 else np.nan
