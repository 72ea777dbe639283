"""The candidates of a portfolio: a row each, and how its scikit-learn pipeline is built.

To add a candidate, add its name to core.specs.PORTFOLIO_CANDIDATES and its row to CANDIDATES.
"""

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
from runner.shared.rows import Rows

Family = Literal["trees", "boosting", "sparse", "dense"]  # the preprocessing of a pipeline
Output = Literal["classes", "numbers"]

_ORDINAL_LEVELS = 250  # of a category; rarer ones become one, for the trees of boosting have 255 bins
_SPARSE_LEVELS, _DENSE_LEVELS = 50, 20
_LARGE = 1e100  # larger numbers are set to this, as their variance would be infinite
_LARGE_TREE = 1e30  # trees work in single precision
_WORDS, _TOPICS, _COMPONENTS = 20_000, 50, 50
_BOOSTED_PIXELS = 256  # an image of more values is boosted on its principal components
_WORD = r"(?u)\b\w+\b"
_SMALL_CLASS = 10
_MAX_ROWS, _MAX_CELLS, _MIN_ROWS = 200_000, 10_000_000, 5_000
# Types in a pipeline's skops file that skops does not trust by itself; CANDIDATES adds those of single models.
_TRUSTED = ("numpy.clip", "numpy.dtype")


@dataclass(frozen=True, slots=True)
class Shape:
    """What a pipeline is built for: a dataset's columns by key, and the rows that it is fitted on.

    `words` counts the different words of each text column by key; `n_pixels` is 0 except for images.
    """

    regression: bool
    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    words: dict[str, int]
    n_pixels: int
    n_rows: int
    smallest_class: int  # its rows
    seed: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pipeline that a portfolio can fit.

    `family` is the preprocessing that suits the model; `make` returns the model, not fitted. `outputs` are what it can
    predict. It is fitted on at most `max_rows` train rows. A class of fewer than `min_class_rows` of them is filled up
    with copies, or left out where the model needs different rows (`copies` is false). `trusted_types` are those in its
    skops file that skops does not trust by itself.
    """

    name: str
    family: Family
    make: Callable[[Shape], Any]
    outputs: tuple[Output, ...] = ("classes", "numbers")
    max_rows: int = _MAX_ROWS
    min_class_rows: int = 1
    copies: bool = True
    trusted_types: tuple[str, ...] = ()


def shape_of(dataset: Dataset, train: Rows, seed: int) -> Shape:
    """Return the shape of the rows that a model is fitted on, without columns that have no value or no word."""
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
    return len({match for text in texts for match in word.findall(text.lower())})


def candidate(name: str) -> Candidate:
    """Return the row of a candidate."""
    return next(row for row in CANDIDATES if row.name == name)


def candidates_for(dataset: Dataset) -> tuple[str, ...]:
    """Return the names of the candidates for the dataset's task, the quick ones first."""
    output: Output = "numbers" if dataset.task == "regression" else "classes"
    return tuple(row.name for row in CANDIDATES if output in row.outputs)


def trusted_types() -> tuple[str, ...]:
    """Return the types in skops files of candidates that skops does not trust by itself."""
    return tuple(sorted({*_TRUSTED, *(name for row in CANDIDATES for name in row.trusted_types)}))


def row_limit(name: str, n_columns: int, n_classes: int) -> int:
    """Return the maximum of train rows that a candidate is fitted on."""
    by_cells = max(_MIN_ROWS, _MAX_CELLS // max(1, n_columns * n_classes))
    return min(by_cells, candidate(name).max_rows)


def sample(name: str, train: Rows, limit: int, *, regression: bool, seed: int) -> Rows:
    """Return at most `limit` rows, drawn by the seed, with the rows of each class that the candidate needs."""
    if len(train.actual) > limit:
        train = train.at(np.sort(np.random.default_rng(seed).choice(len(train.actual), limit, replace=False)))
    row = candidate(name)
    if regression or row.min_class_rows == 1:
        return train
    counts = np.bincount(train.actual)
    small = np.flatnonzero((counts > 0) & (counts < row.min_class_rows))
    if not row.copies:
        return train.at(np.flatnonzero(~np.isin(train.actual, small))) if len(small) else train
    more = [np.resize(np.flatnonzero(train.actual == k), row.min_class_rows - counts[k]) for k in small]
    return train.at(np.concatenate([np.arange(len(train.actual)), *more])) if more else train


def build(name: str, shape: Shape) -> Pipeline:
    """Return the candidate's pipeline, not fitted; it takes the features of `Rows`."""
    row = candidate(name)
    if name == "NaiveBayes" and shape.words and not shape.numbers and not shape.categories:
        return make_pipeline(_preprocessing("sparse", shape), MultinomialNB(alpha=0.1))
    return make_pipeline(_preprocessing(row.family, shape), row.make(shape))


def _preprocessing(family: Family, shape: Shape) -> Any:
    if shape.n_pixels:
        return _pixels(family, shape)
    topics = min(_TOPICS, shape.n_rows - 1)
    parts: list[tuple[str, Any, Any]] = [("categories", _categories(family), list(shape.categories))]
    if shape.numbers:
        parts.insert(0 if family in ("sparse", "dense") else 1, ("numbers", _numbers(family), list(shape.numbers)))
    for key, n_words in shape.words.items():
        text: Any = TfidfVectorizer(
            sublinear_tf=True, max_features=_WORDS, token_pattern=_WORD, ngram_range=(1, 2), dtype=np.float64
        )
        if family != "sparse":
            text = make_pipeline(text, TruncatedSVD(max(1, min(topics, n_words - 1)), random_state=shape.seed))
        if family == "dense":
            text = make_pipeline(text, StandardScaler())
        parts.append((f"text {key}", text, key))
    return ColumnTransformer(parts, sparse_threshold=0.3 if family == "sparse" else 0)


def _numbers(family: Family) -> Any:
    # Boosting handles missing numbers itself.
    large = _LARGE if family in ("sparse", "dense") else _LARGE_TREE
    clip = FunctionTransformer(np.clip, kw_args={"a_min": -large, "a_max": large})
    if family == "boosting":
        return clip
    fill = SimpleImputer(strategy="median", keep_empty_features=True)
    return make_pipeline(clip, fill) if family == "trees" else make_pipeline(clip, fill, StandardScaler())


def _categories(family: Family) -> Any:
    if family in ("trees", "boosting"):
        codes = {"unknown_value": np.nan, "encoded_missing_value": np.nan}
        if family == "trees":
            codes = {"unknown_value": -1, "encoded_missing_value": -2}
        return OrdinalEncoder(handle_unknown="use_encoded_value", max_categories=_ORDINAL_LEVELS, **codes)
    levels = _SPARSE_LEVELS if family == "sparse" else _DENSE_LEVELS
    return OneHotEncoder(
        handle_unknown="infrequent_if_exist", max_categories=levels, sparse_output=family == "sparse", dtype=np.float64
    )


def _pixels(family: Family, shape: Shape) -> Any:
    if family == "sparse":
        return StandardScaler()
    if family == "dense" or (family == "boosting" and shape.n_pixels > _BOOSTED_PIXELS):
        n = min(_COMPONENTS, shape.n_pixels, shape.n_rows - 1)
        return make_pipeline(PCA(n, random_state=shape.seed), StandardScaler())
    return "passthrough"


def _constant(shape: Shape) -> Any:
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
    stop: Any = "auto" if shape.regression or shape.smallest_class > 1 else False
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
    """Return a regressor of the standardised target."""
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
    early = shape.regression or shape.smallest_class >= _SMALL_CLASS
    settings: dict[str, Any] = {"alpha": 1e-3, "early_stopping": early, "max_iter": 200, "random_state": shape.seed}
    return _scaled(MLPRegressor(**settings)) if shape.regression else MLPClassifier(**settings)


_CLASSES: tuple[Output, ...] = ("classes",)
_NUMBERS: tuple[Output, ...] = ("numbers",)
_TREE = ("sklearn.tree._tree.Tree",)
_CALIBRATION = ("sklearn.calibration._CalibratedClassifier", "sklearn.calibration._SigmoidCalibration")
_NEIGHBOURS = ("sklearn.metrics._dist_metrics.EuclideanDistance64", "sklearn.neighbors._kd_tree.KDTree")
_BOOSTING = (
    "functools.partial",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.utils.validation.check_array",
)
_MLP = ("sklearn.neural_network._stochastic_optimizers.AdamOptimizer",)

# The quick ones first. Those with `max_rows` have a cost that grows faster than the rows.
CANDIDATES: tuple[Candidate, ...] = (
    Candidate("Baseline", "trees", _constant),
    Candidate("NaiveBayes", "dense", lambda shape: GaussianNB(var_smoothing=1e-3), _CLASSES),
    Candidate("Linear", "sparse", _linear),
    Candidate("ElasticNet", "sparse", _elastic),
    Candidate("BayesianRidge", "dense", lambda shape: BayesianRidge(), _NUMBERS),
    Candidate("LDA", "dense", lambda shape: LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"), _CLASSES),
    Candidate(
        "QDA",
        "dense",
        lambda shape: QuadraticDiscriminantAnalysis(solver="eigen", shrinkage=0.1),
        _CLASSES,
        min_class_rows=2,
        copies=False,
    ),
    Candidate("DecisionTree", "trees", _tree, trusted_types=_TREE),
    Candidate("NearestNeighbours", "dense", _neighbours, max_rows=20_000, trusted_types=_NEIGHBOURS),
    Candidate("HistGradientBoosting", "boosting", _boosting, trusted_types=_BOOSTING),
    Candidate("GradientBoosting", "trees", _gradient, max_rows=10_000, trusted_types=_TREE),
    Candidate("LinearSVM", "sparse", _linear_svm, min_class_rows=3, trusted_types=_CALIBRATION),
    Candidate("ExtraTrees", "trees", _extra, trusted_types=_TREE),
    Candidate("RandomForest", "trees", _forest, trusted_types=_TREE),
    Candidate("AdaBoost", "trees", _ada, max_rows=50_000, trusted_types=_TREE),
    Candidate("HistGradientBoostingSlow", "boosting", _slow_boosting, trusted_types=_BOOSTING),
    Candidate("Huber", "dense", lambda shape: _scaled(HuberRegressor(max_iter=300)), _NUMBERS),
    Candidate("MLP", "dense", _mlp, max_rows=50_000, trusted_types=_MLP),
    Candidate("SVM", "dense", _svm, max_rows=5_000, min_class_rows=3, trusted_types=_CALIBRATION),
)
