"""The candidates: one scikit-learn pipeline each, with the preprocessing that suits it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import BayesianRidge, ElasticNetCV, HuberRegressor, LogisticRegression, Ridge, SGDClassifier
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from core.datasets import Dataset
from core.specs import PORTFOLIO_CANDIDATES
from runner.automl import frames
from runner.shared.rows import Rows

Form = Literal["trees", "boosting", "sparse", "dense"]

_ORDINAL_LEVELS = 250  # of a category; rarer ones become one, for the trees of boosting have 255 bins
_SPARSE_LEVELS, _DENSE_LEVELS = 50, 20
_LARGE = 1e100  # larger numbers count as this: a variance of theirs would be infinite
_LARGE_TREE = 1e30  # trees work in single precision
_WORDS, _TOPICS, _COMPONENTS = 20_000, 50, 50
_BOOSTED_PIXELS = 256  # with more values than this, an image is boosted on its principal components
_WORD = r"(?u)\b\w+\b"
_SMALL_CLASS = 10
_CLASSES_ONLY = {"NaiveBayes", "LDA", "QDA"}
_NUMBERS_ONLY = {"BayesianRidge", "Huber"}
# Their cost grows faster than the rows.
_ROW_LIMITS = {"SVM": 5_000, "GradientBoosting": 10_000, "NearestNeighbours": 20_000, "MLP": 50_000, "AdaBoost": 50_000}
_ROWS, _CELLS, _FEWEST = 200_000, 10_000_000, 5_000
_LEAST = {"LinearSVM": 3, "SVM": 3, "QDA": 2}  # rows of a class that the model cannot do without
_SPREAD = {"QDA"}  # needs rows that differ: copies are of no use


@dataclass(frozen=True, slots=True)
class Shape:
    """What the pipelines have to know of a dataset and of the rows they are fitted on.

    `words` counts the different words of each text column by key; `n_pixels` is 0 for all but images.
    """

    regression: bool
    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    words: dict[str, int]
    n_pixels: int
    n_rows: int
    smallest: int  # rows of the smallest class
    seed: int


def shape_of(dataset: Dataset, train: Rows | frames.Rows, seed: int) -> Shape:
    """The shape of the rows that a model is fitted on. Columns without any value or word are left out."""
    regression = dataset.task == "regression"
    image = dataset.modality == "image"
    features = () if image else dataset.features
    words = {c.key: _n_words(train.features[c.key]) for c in features if c.type == "text" and c.key in train.features}
    return Shape(
        regression,
        tuple(c.key for c in features if c.type in ("numeric", "datetime")),
        tuple(c.key for c in features if c.type == "categorical"),
        {key: n for key, n in words.items() if n},
        train.features.shape[1] if image else 0,
        len(train.actual),
        0 if regression else int(np.unique(train.actual, return_counts=True)[1].min()),
        seed,
    )


def _n_words(texts: Any) -> int:
    word = re.compile(_WORD)
    return len({found for text in texts for found in word.findall(text.lower())})


def fitting(dataset: Dataset) -> tuple[str, ...]:
    """The candidates that the dataset's task has."""
    wrong = _CLASSES_ONLY if dataset.task == "regression" else _NUMBERS_ONLY
    return tuple(name for name in PORTFOLIO_CANDIDATES if name not in wrong)


def row_limit(name: str, n_columns: int, n_classes: int) -> int:
    """How many train rows a candidate is fitted on at most."""
    by_cells = max(_FEWEST, _CELLS // max(1, n_columns * n_classes))
    return min(_ROWS, by_cells, _ROW_LIMITS.get(name, _ROWS))


def chosen_rows(name: str, train: Rows, limit: int, *, regression: bool, seed: int) -> Rows:
    """At most `limit` rows, drawn by the seed.

    Rows of a class that has too few of them for the model are repeated, or left out where copies are of no use.
    """
    if len(train.actual) > limit:
        train = train.some(np.sort(np.random.default_rng(seed).choice(len(train.actual), limit, replace=False)))
    least = _LEAST.get(name, 1)
    if regression or least == 1:
        return train
    counts = np.bincount(train.actual)
    short = np.flatnonzero((counts > 0) & (counts < least))
    if name in _SPREAD:
        return train.some(np.flatnonzero(~np.isin(train.actual, short))) if len(short) else train
    more = [np.resize(np.flatnonzero(train.actual == k), least - counts[k]) for k in short]
    return train.some(np.concatenate([np.arange(len(train.actual)), *more])) if more else train


def build(name: str, shape: Shape) -> Pipeline:
    """The candidate's pipeline, not yet fitted; it takes the features of `Rows`."""
    form, make = _CANDIDATES[name]
    if name == "NaiveBayes" and shape.words and not shape.numbers and not shape.categories:
        return make_pipeline(_prepared("sparse", shape), MultinomialNB(alpha=0.1))
    return make_pipeline(_prepared(form, shape), make(shape))


def _prepared(form: Form, shape: Shape) -> Any:
    if shape.n_pixels:
        return _pixels(form, shape)
    topics = min(_TOPICS, shape.n_rows - 1)
    parts: list[tuple[str, Any, Any]] = [("categories", _categories(form), list(shape.categories))]
    if shape.numbers:
        parts.insert(0 if form in ("sparse", "dense") else 1, ("numbers", _numbers(form), list(shape.numbers)))
    for key, n_words in shape.words.items():
        text: Any = TfidfVectorizer(
            sublinear_tf=True, max_features=_WORDS, token_pattern=_WORD, ngram_range=(1, 2), dtype=np.float64
        )
        if form != "sparse":
            text = make_pipeline(text, TruncatedSVD(max(1, min(topics, n_words - 1)), random_state=shape.seed))
        if form == "dense":
            text = make_pipeline(text, StandardScaler())
        parts.append((f"text {key}", text, key))
    return ColumnTransformer(parts, sparse_threshold=0.3 if form == "sparse" else 0)


def _numbers(form: Form) -> Any:
    # Boosting takes a missing number as such.
    large = _LARGE if form in ("sparse", "dense") else _LARGE_TREE
    clip = FunctionTransformer(np.clip, kw_args={"a_min": -large, "a_max": large})
    if form == "boosting":
        return clip
    fill = SimpleImputer(strategy="median", keep_empty_features=True)
    return make_pipeline(clip, fill) if form == "trees" else make_pipeline(clip, fill, StandardScaler())


def _categories(form: Form) -> Any:
    if form in ("trees", "boosting"):
        known = {"unknown_value": np.nan, "encoded_missing_value": np.nan}
        if form == "trees":
            known = {"unknown_value": -1, "encoded_missing_value": -2}
        return OrdinalEncoder(handle_unknown="use_encoded_value", max_categories=_ORDINAL_LEVELS, **known)
    levels = _SPARSE_LEVELS if form == "sparse" else _DENSE_LEVELS
    return OneHotEncoder(
        handle_unknown="infrequent_if_exist", max_categories=levels, sparse_output=form == "sparse", dtype=np.float64
    )


def _pixels(form: Form, shape: Shape) -> Any:
    if form == "sparse":
        return StandardScaler()
    if form == "dense" or (form == "boosting" and shape.n_pixels > _BOOSTED_PIXELS):
        n = min(_COMPONENTS, shape.n_pixels, shape.n_rows - 1)
        return make_pipeline(PCA(n, random_state=shape.seed), StandardScaler())
    return "passthrough"


def _baseline(shape: Shape) -> Any:
    return DummyRegressor() if shape.regression else DummyClassifier(strategy="prior")


def _linear(shape: Shape) -> Any:
    return Ridge() if shape.regression else LogisticRegression(max_iter=300, random_state=shape.seed)


def _elastic(shape: Shape) -> Any:
    if shape.regression:
        return ElasticNetCV(l1_ratio=0.5, alphas=20, cv=3, random_state=shape.seed)
    return SGDClassifier(
        loss="log_loss", penalty="elasticnet", l1_ratio=0.15, alpha=1e-3, max_iter=200, random_state=shape.seed
    )


def _neighbours(shape: Shape) -> Any:
    kind = KNeighborsRegressor if shape.regression else KNeighborsClassifier
    return kind(n_neighbors=max(1, min(15, shape.n_rows // 5)), weights="distance")


def _tree(shape: Shape) -> Any:
    kind = DecisionTreeRegressor if shape.regression else DecisionTreeClassifier
    return kind(min_samples_leaf=10, random_state=shape.seed)


def _forest(shape: Shape) -> Any:
    if shape.regression:
        return RandomForestRegressor(200, max_features=0.5, random_state=shape.seed)
    return RandomForestClassifier(200, min_samples_leaf=2, random_state=shape.seed)


def _extra(shape: Shape) -> Any:
    if shape.regression:
        return ExtraTreesRegressor(200, max_features=0.5, random_state=shape.seed)
    return ExtraTreesClassifier(200, min_samples_leaf=2, random_state=shape.seed)


def _boosting(shape: Shape, **settings: Any) -> Any:
    kind = HistGradientBoostingRegressor if shape.regression else HistGradientBoostingClassifier
    # Its own split for early stopping is stratified and needs two rows of each class.
    stop: Any = "auto" if shape.regression or shape.smallest > 1 else False
    places = list(range(len(shape.categories))) or None  # they come first
    return kind(
        **{"early_stopping": stop, **settings},
        categorical_features=None if shape.n_pixels else places,
        random_state=shape.seed,
    )


def _slow_boosting(shape: Shape) -> Any:
    return _boosting(
        shape, learning_rate=0.03, max_iter=300, max_leaf_nodes=15, min_samples_leaf=10, l2_regularization=1.0,
        early_stopping=False,
    )  # fmt: skip


def _ada(shape: Shape) -> Any:
    if shape.regression:
        return AdaBoostRegressor(DecisionTreeRegressor(max_depth=5), n_estimators=100, random_state=shape.seed)
    stumps = DecisionTreeClassifier(max_depth=3)
    return AdaBoostClassifier(stumps, n_estimators=100, learning_rate=0.5, random_state=shape.seed)


def _gradient(shape: Shape) -> Any:
    kind = GradientBoostingRegressor if shape.regression else GradientBoostingClassifier
    return kind(subsample=0.5, max_features="sqrt", random_state=shape.seed)


def _scaled(model: Any) -> Any:
    """A regressor that sees its target in units of its deviation."""
    return TransformedTargetRegressor(model, transformer=StandardScaler())


def _linear_svm(shape: Shape) -> Any:
    if shape.regression:
        return _scaled(LinearSVR(dual="auto", max_iter=2_000, random_state=shape.seed))
    machine = LinearSVC(dual="auto", C=0.3, max_iter=2_000, random_state=shape.seed)
    return CalibratedClassifierCV(machine, cv=3, ensemble=False)


def _svm(shape: Shape) -> Any:
    if shape.regression:
        return _scaled(SVR(cache_size=200))
    return CalibratedClassifierCV(SVC(cache_size=200), cv=3, ensemble=False)


def _mlp(shape: Shape) -> Any:
    early = shape.regression or shape.smallest >= _SMALL_CLASS
    given: dict[str, Any] = {"alpha": 1e-3, "early_stopping": early, "max_iter": 200, "random_state": shape.seed}
    return _scaled(MLPRegressor(**given)) if shape.regression else MLPClassifier(**given)


_CANDIDATES: dict[str, tuple[Form, Callable[[Shape], Any]]] = {
    "Baseline": ("trees", _baseline),
    "NaiveBayes": ("dense", lambda shape: GaussianNB(var_smoothing=1e-3)),
    "Linear": ("sparse", _linear),
    "ElasticNet": ("sparse", _elastic),
    "BayesianRidge": ("dense", lambda shape: BayesianRidge()),
    "Huber": ("dense", lambda shape: _scaled(HuberRegressor(max_iter=300))),
    "LDA": ("dense", lambda shape: LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")),
    "QDA": ("dense", lambda shape: QuadraticDiscriminantAnalysis(solver="eigen", shrinkage=0.1)),
    "NearestNeighbours": ("dense", _neighbours),
    "DecisionTree": ("trees", _tree),
    "RandomForest": ("trees", _forest),
    "ExtraTrees": ("trees", _extra),
    "HistGradientBoosting": ("boosting", _boosting),
    "HistGradientBoostingSlow": ("boosting", _slow_boosting),
    "AdaBoost": ("trees", _ada),
    "GradientBoosting": ("trees", _gradient),
    "LinearSVM": ("sparse", _linear_svm),
    "SVM": ("dense", _svm),
    "MLP": ("dense", _mlp),
}
