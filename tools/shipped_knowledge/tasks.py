"""The tasks on which the shipped knowledge is measured: real tables, texts and images, and generated ones."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn import datasets as makers

from core.datasets import samples
from core.errors import InputError
from core.scoring import Array, Task

Origin = Literal["real table", "other target", "sample", "real text", "real images", "scikit-learn", "generated"]
Images = tuple[Array, Array]  # uint8 [N, H, W] or [N, H, W, 3], labels

ROWS = 2_000  # maximum of most tasks: a core fits the whole portfolio on them in about ten seconds
_SEED = 1
_NOISE_SEED = 2
_MISSING_FRAC = 0.1

# The table's own target, then others that its other columns predict to some degree.
_TABLES: dict[str, tuple[str, ...]] = {
    "abalone": ("Rings", "Sex", "Shell_weight", "Height"),
    "adult": ("income", "marital-status", "relationship", "gender", "hours-per-week", "age", "occupation", "workclass"),
    "bank_marketing": ("y", "marital", "age", "euribor3m", "education", "contact", "housing"),
    "california_housing": ("median_house_value", "ocean_proximity", "median_income", "housing_median_age"),
    "credit_g": ("class", "housing", "credit_amount", "age", "property_magnitude", "own_telephone", "savings_status"),
    "diamonds": ("price", "cut", "color", "clarity", "depth"),
    "hpc_jobs": ("class", "protocol", "compounds", "num_pending"),
    "segment": ("class", "vedge-mean", "hue-mean", "saturation-mean"),
    "soybean": ("class", "leafspot-size", "area-damaged", "stem-cankers", "plant-growth", "date"),
    "telco_churn": ("churn", "contract", "monthly_charges", "partner", "payment_method", "tenure", "online_security"),
    "titanic": ("Survived", "Pclass", "Sex", "Age", "Fare", "Embarked"),
    "wine_quality_white": ("quality", "alcohol", "density", "residual_sugar", "free_sulfur_dioxide"),
}
_SAMPLE_ROWS = (200, 600)
_LARGE = {"adult": 8_000, "california_housing": 8_000, "diamonds": 8_000, "telco_churn": 7_000}
_NUMBERS = {"Rings"}  # targets of few whole numbers that are predicted as numbers
_TEXTS = {"ag_news_7600": (500, 1_500), "trec": (500, 1_500), "sms_spam": (500, 1_500)}
_SCIKIT = {
    "breast_cancer": ("diagnosis", "mean symmetry"),
    "wine": ("grower", "alcohol"),
    "iris": ("species", "petal width (cm)"),
    "digits": ("digit",),
    "diabetes": ("progression", "bmi", "sex"),
}
# rows, columns, informative and redundant ones, classes, flipped share, separation, share of the first class, gaps
_CLASSIFICATION: tuple[tuple[int, int, int, int, int, float, float, float | None, bool], ...] = (
    (200, 5, 3, 1, 2, 0.0, 1.0, None, False),
    (300, 20, 4, 2, 2, 0.1, 0.8, None, True),
    (400, 100, 6, 10, 2, 0.02, 1.0, None, False),
    (500, 10, 8, 0, 3, 0.05, 1.0, None, False),
    (600, 40, 10, 5, 4, 0.05, 1.2, None, True),
    (800, 15, 5, 5, 2, 0.2, 0.7, None, False),
    (1_000, 30, 12, 6, 6, 0.02, 1.5, None, False),
    (1_000, 8, 6, 0, 2, 0.01, 1.0, 0.9, False),
    (1_200, 20, 10, 0, 2, 0.05, 1.0, 0.8, True),
    (1_500, 60, 20, 10, 3, 0.02, 1.0, 0.7, False),
    (1_500, 6, 4, 0, 2, 0.3, 1.0, None, False),
    (2_000, 12, 10, 0, 8, 0.0, 2.0, None, False),
    (2_000, 25, 15, 5, 2, 0.02, 0.5, None, True),
    (250, 200, 5, 5, 2, 0.0, 1.5, None, False),
)
# rows, columns, informative ones, effective rank, noise, gaps
_REGRESSION: tuple[tuple[int, int, int, int | None, float, bool], ...] = (
    (200, 100, 10, None, 20.0, False),
    (300, 20, 5, None, 50.0, True),
    (800, 40, 40, 8, 2.0, False),
    (1_500, 10, 10, None, 100.0, False),
)


@dataclass(frozen=True, slots=True)
class BenchmarkTask:
    """One task: `family` is the table or generator that it comes from, because tasks of one family are similar.

    `make` returns the table, or images and their labels; `task` is None if the target determines it.
    """

    name: str
    origin: Origin
    family: str
    target: str
    task: Task | None
    make: Callable[[], pd.DataFrame | Images]


def all_tasks() -> list[BenchmarkTask]:
    """Return all tasks in a mixed order: the first ones are a fair sample.

    Raises InputError if the folder of real datasets (METASCOUT_DATA) does not exist.
    """
    tasks = [*_real(_folder()), *_scikit(), *_generated()]
    return [tasks[place] for place in np.random.default_rng(_SEED).permutation(len(tasks))]


def _folder() -> Path:
    path = Path(os.environ.get("METASCOUT_DATA", ""))
    if not (path / "tabular").is_dir():
        raise InputError(
            f"{str(path)!r} has no folder tabular.", field="METASCOUT_DATA", value=str(path),
            remedy="Set it to the folder of real datasets.",
        )  # fmt: skip
    return path


def _real(folder: Path) -> Iterator[BenchmarkTask]:
    for name, (target, *others) in _TABLES.items():
        task: Task | None = "regression" if target in _NUMBERS else None
        read = partial(_sampled, folder / "tabular" / f"{name}.csv")
        yield BenchmarkTask(name, "real table", name, target, task, partial(read, target, ROWS, _SEED))
        for other in others:
            yield BenchmarkTask(f"{name} {other}", "other target", name, other, None, partial(read, other, ROWS, _SEED))
        sizes = (*_SAMPLE_ROWS, _LARGE[name]) if name in _LARGE else _SAMPLE_ROWS
        for seed, n in enumerate(sizes, _SEED + 1):
            yield BenchmarkTask(f"{name} {n} rows", "sample", name, target, task, partial(read, target, n, seed))
    for name, numbers in _TEXTS.items():
        for n in numbers:
            make = partial(_texts, folder / "text" / f"{name}.csv", n)
            yield BenchmarkTask(f"{name} {n} texts", "real text", name, "label", None, make)
    for title, chosen, n in (("cifar10", tuple(range(10)), 500), ("cifar10 animals", (3, 5, 7), 300)):
        make_images = partial(_cifar, folder / "cifar10jpg_train15k.npz", chosen, n)
        yield BenchmarkTask(title, "real images", "cifar10", "label", None, make_images)
    make_letters = partial(_letters, folder / "omniglot28_background.npz", 6, 1_000)
    yield BenchmarkTask("omniglot alphabets", "real images", "omniglot", "label", None, make_letters)


def _scikit() -> Iterator[BenchmarkTask]:
    for name, targets in _SCIKIT.items():
        for target in targets:
            own = target == samples.SAMPLES[name].target
            title = name if own else f"{name} {target.partition(' (')[0]}"
            task = samples.SAMPLES[name].task if own else None
            yield BenchmarkTask(title, "scikit-learn", name, target, task, partial(samples.frame, name))
    yield BenchmarkTask("digits images", "scikit-learn", "digits", "label", None, _digits)


def _generated() -> Iterator[BenchmarkTask]:
    for name, make in [*_classifications(), *_regressions(), *_shapes(), *_friedmans()]:
        family = name.partition(" ")[0]
        yield BenchmarkTask(f"made {name}", "generated", f"made {family}", "y", None, make)


NamedMaker = tuple[str, Callable[[], pd.DataFrame]]


def _classifications() -> Iterator[NamedMaker]:
    for rows, columns, informative, redundant, classes, flip, apart, first, gaps in _CLASSIFICATION:
        make = partial(
            makers.make_classification, rows, columns, n_informative=informative, n_redundant=redundant,
            n_classes=classes, n_clusters_per_class=1 if classes > 4 else 2, flip_y=flip, class_sep=apart,
            weights=_weights(first, classes), random_state=_SEED,
        )  # fmt: skip
        mark = " with gaps" if gaps else ""
        yield (
            f"classification {rows} x {columns}, {classes} classes{mark}".replace(",", ""),
            partial(_table, make, gaps),
        )


def _weights(first: float | None, classes: int) -> list[float] | None:
    return None if first is None else [first, *[(1 - first) / (classes - 1)] * (classes - 1)]


def _regressions() -> Iterator[NamedMaker]:
    for rows, columns, informative, rank, noise, gaps in _REGRESSION:
        make = partial(
            makers.make_regression, rows, columns, n_informative=informative, effective_rank=rank, noise=noise,
            random_state=_SEED,
        )  # fmt: skip
        yield f"regression {rows} x {columns}{' with gaps' if gaps else ''}", partial(_table, make, gaps)


def _shapes() -> Iterator[NamedMaker]:
    makers_by_name: dict[str, Callable[[], tuple[Array, Array]]] = {
        "moons 300": partial(makers.make_moons, 300, noise=0.3, random_state=_SEED),
        "moons 1500": partial(makers.make_moons, 1_500, noise=0.2, random_state=_SEED),
        "circles 500": partial(makers.make_circles, 500, noise=0.15, factor=0.6, random_state=_SEED),
        "blobs 400": partial(makers.make_blobs, 400, 6, centers=5, cluster_std=5.0, random_state=_SEED),
        "blobs 1000": partial(makers.make_blobs, 1_000, 20, centers=3, cluster_std=9.0, random_state=_SEED),
        "quantiles 600": partial(makers.make_gaussian_quantiles, n_samples=600, n_features=4, random_state=_SEED),
        "quantiles 1500": partial(
            makers.make_gaussian_quantiles, n_samples=1_500, n_features=10, n_classes=4, random_state=_SEED
        ),
        "hastie 1000": partial(makers.make_hastie_10_2, 1_000, random_state=_SEED),
        "parity 1000": partial(_parity, 1_000),
        "staircase 800": partial(_staircase, 800),
    }
    for name, make in makers_by_name.items():
        yield name, partial(_table, make, False)
    yield "moons 600 with noise", partial(_with_noise, makers_by_name["moons 1500"], 600)
    yield "circles 400 with noise", partial(_with_noise, makers_by_name["circles 500"], 400)


def _friedmans() -> Iterator[NamedMaker]:
    for number, rows, columns, noise, gaps in (
        (1, 300, 10, 1.0, False), (1, 1_500, 10, 0.2, False), (1, 800, 40, 1.0, False), (1, 1_000, 10, 1.0, True),
        (2, 400, 4, 50.0, False), (2, 1_500, 4, 200.0, True), (3, 500, 4, 0.1, False), (3, 1_500, 4, 0.3, False),
    ):  # fmt: skip
        more = {"n_features": columns} if number == 1 else {}
        make = partial(getattr(makers, f"make_friedman{number}"), rows, noise=noise, random_state=_SEED, **more)
        mark = " with gaps" if gaps else ""
        yield f"friedman{number} {rows} x {columns}{mark}", partial(_table, make, gaps)
    for rows, columns in ((400, 10), (1_200, 30)):
        sparse = partial(makers.make_sparse_uncorrelated, rows, columns, random_state=_SEED)
        yield f"sparse {rows} x {columns}", partial(_table, sparse, False)
    yield "roll 800", partial(_table, partial(makers.make_swiss_roll, 800, noise=0.5, random_state=_SEED), False)
    yield "curve 400", partial(_table, partial(makers.make_s_curve, 400, noise=0.1, random_state=_SEED), False)


def _sampled(path: Path, target: str, n: int, seed: int) -> pd.DataFrame:
    """Return up to n rows of a CSV file that have the target."""
    table = pd.read_csv(path).dropna(subset=[target])
    return table.sample(min(n, len(table)), random_state=seed)


def _texts(path: Path, n: int) -> pd.DataFrame:
    return pd.read_csv(path)[["text", "label"]].sample(n, random_state=_SEED)


def _cifar(path: Path, chosen: tuple[int, ...], n: int) -> Images:
    from PIL import Image

    with np.load(path) as file:
        label, offset, jpeg, names = (file[key] for key in ("label", "offset", "jpeg", "classes"))
    places = np.random.default_rng(_SEED).permutation(np.flatnonzero(np.isin(label, chosen)))[:n]
    raw = (jpeg[offset[place] : offset[place + 1]].tobytes() for place in places)
    return np.stack([np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in raw]), names[label[places]]


def _letters(path: Path, n_alphabets: int, n: int) -> Images:
    with np.load(path) as file:
        images, alphabet, names = file["images"], file["alphabet"], file["alphabet_names"]
    places = np.random.default_rng(_SEED).permutation(np.flatnonzero(alphabet < n_alphabets))[:n]
    return images[places], names[alphabet[places]]


def _digits() -> Images:
    digits = makers.load_digits()
    return (digits.images * 255 / 16).round().astype(np.uint8), digits.target.astype(str)


def _table(make: Callable[[], tuple[Array, Array]], gaps: bool) -> pd.DataFrame:
    """Return a generator's data as a table; gaps: some columns are categories, a tenth of the cells missing."""
    x, y = make()
    table: Any = pd.DataFrame(x, columns=[f"x{number}" for number in range(1, x.shape[1] + 1)])
    if gaps:
        random = np.random.default_rng(_NOISE_SEED)
        for name in table.columns[::3]:
            table[name] = pd.qcut(table[name], 6, labels=random.permutation(list("abcdef"))).astype(object)
        table = table.mask(random.random(table.shape) < _MISSING_FRAC)
    classes = y.dtype.kind in "iu" or len(np.unique(y)) == 2
    return table.assign(y=[f"class {int(value)}" for value in y] if classes else y)


def _with_noise(make: Callable[[], tuple[Array, Array]], n: int) -> pd.DataFrame:
    """Return the first n rows with ten more columns of noise."""
    table = _table(make, False).head(n)
    noise = np.random.default_rng(_NOISE_SEED).normal(size=(len(table), 10))
    return table.join(pd.DataFrame(noise, columns=[f"noise{number}" for number in range(1, 11)]))


def _parity(n: int) -> tuple[Array, Array]:
    """Return eight random bits a row and the parity of the first three: no column predicts it alone."""
    bits = np.random.default_rng(_SEED).integers(0, 2, (n, 8))
    return bits, bits[:, :3].sum(axis=1) % 2


def _staircase(n: int) -> tuple[Array, Array]:
    """Return six random columns and a number that is constant over boxes of two of them, with some noise."""
    random = np.random.default_rng(_SEED)
    x = random.random((n, 6))
    return x, np.floor(5 * x[:, 0]) * np.floor(3 * x[:, 1]) + random.normal(0, 0.3, n)
