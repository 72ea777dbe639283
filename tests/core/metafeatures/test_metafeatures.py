"""Meta-features: right on tables with known answers, finite on odd ones, the same each time, and bounded in memory."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import datasets, metafeatures, results
from core.datasets import Dataset
from core.datasets.columns import Column
from core.datasets.files import scratch
from core.errors import InputError
from core.events import Landmarkers, Metric
from core.metafeatures import LANDMARKERS, NAMES, landmarkers, sampling
from core.queue import jobs
from core.specs import AutoMLSpec

ROOT = Path(__file__).parents[3]


def register(frame: pd.DataFrame, folder: Path, **choices: object) -> Dataset:
    path = folder / "table.csv"
    frame.to_csv(path, index=False)
    return datasets.register(path, name="table", **{"target": "y", **choices})  # type: ignore[arg-type]


@pytest.fixture
def plain(home: Path, tmp_path: Path) -> Dataset:
    """1,000 rows: a number that gives the class, a noisy one, and a category with every third value missing."""
    random = np.random.default_rng(0)
    y = np.arange(1_000) % 4 == 0
    colour = np.where(np.arange(1_000) % 3 == 0, "", random.choice(["red", "green", "blue", "grey"], 1_000))
    frame = pd.DataFrame({"copy": y + random.random(1_000) / 2, "noise": random.random(1_000), "colour": colour})
    return register(frame.assign(y=np.where(y, "yes", "no")), tmp_path)


def test_values_match_the_table_that_was_generated(plain: Dataset) -> None:
    features = metafeatures.compute(plain)
    n = plain.n_rows["train"]
    assert (features["n_rows"], features["n_features"], features["n_classes"]) == (n, 3, 2)
    assert features["log_rows_per_feature"] == pytest.approx(math.log10(n / 3))
    assert (features["numeric_frac"], features["categorical_frac"]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert features["class_majority_frac"] == pytest.approx(0.75, abs=0.01)
    assert features["class_entropy"] == pytest.approx(0.811, abs=0.02)
    assert features["class_imbalance"] == pytest.approx(math.log10(3), abs=0.05)
    assert features["missing_frac"] == pytest.approx(1 / 9, abs=0.02)
    assert features["missing_column_frac"] == pytest.approx(1 / 3)
    assert (features["levels_max"], features["level_entropy_mean"]) == (4, pytest.approx(1.0, abs=0.02))
    assert features["information_max"] == pytest.approx(1.0, abs=0.02)
    assert features["information_mean"] == pytest.approx(1 / 3, abs=0.02)
    assert features["feature_entropy_mean"] == pytest.approx((3 + 3 + 2.25) / 3, abs=0.1)
    assert features["link_rank_max"] == pytest.approx(0.75, abs=0.01)
    assert math.isnan(features["target_skewness"])


def test_moments_and_correlations_of_known_distributions_are_right(home: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    normal = random.normal(size=3_000)
    frame = pd.DataFrame({"a": normal, "b": 1e6 * normal, "y": random.exponential(size=3_000)})
    features = metafeatures.compute(register(frame, tmp_path))
    assert features["skewness_mean"] == pytest.approx(0.0, abs=0.15)
    assert features["kurtosis_mean"] == pytest.approx(0.0, abs=0.4)
    assert features["target_skewness"] == pytest.approx(2.0, abs=0.5)
    assert (features["correlation_mean"], features["component_first_frac"]) == (pytest.approx(1.0), pytest.approx(1.0))
    assert features["scale_spread"] == pytest.approx(3.0)
    assert features["outlier_frac"] == pytest.approx(0.007, abs=0.006)
    assert (features["is_regression"], features["n_classes"]) == (1, 0)
    assert features["information_max"] < 0.02


def test_valid_and_test_rows_change_nothing(plain: Dataset, tmp_path: Path) -> None:
    table = pd.read_parquet(plain.table)
    before = metafeatures.compute(plain), landmarkers.compute(plain)
    table.loc[table["split"] != "train", ["c0", "c1"]] = 1e6
    table.loc[table["split"] != "train", "c2"] = None
    table.to_parquet(tmp_path / "other.parquet")
    other = replace(plain, table=tmp_path / "other.parquet")
    assert (table["split"] != "train").sum() > 300
    np.testing.assert_equal((metafeatures.compute(other), landmarkers.compute(other)), before)


@pytest.mark.parametrize(
    "column",
    [
        np.where(np.arange(60) == 7, "1e308", "-1e308"),
        np.where(np.arange(60) < 30, "inf", "2.5"),
        np.where(np.arange(60) == 7, "3", ""),
        np.arange(60).astype(str),
    ],
    ids=["huge", "infinite", "almost_empty", "counting"],
)
@pytest.mark.parametrize("target", ["class", "number"])
def test_odd_columns_give_numbers_or_nan_but_nothing_infinite(
    home: Path, tmp_path: Path, column: np.ndarray, target: str
) -> None:
    y = np.where(np.arange(60) % 2, "a", "b") if target == "class" else (np.arange(60) * 37 % 61 * 1.5).astype(str)
    frame = pd.DataFrame({"odd": column, "same": "x", "y": y})
    dataset = register(frame, tmp_path, types={"odd": "numeric", "same": "categorical"})
    features = metafeatures.compute(dataset) | landmarkers.compute(dataset)
    assert list(features) == list(NAMES)
    assert not [name for name, value in features.items() if math.isinf(value) or abs(value) > 1e9]


def test_texts_and_images_have_special_features_beside_the_general_ones(home: Path, tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["good fine day"] * 30 + ["bad rain"] * 30, "y": ["sun"] * 30 + ["wet"] * 30})
    frame["text"] += [f" word{row}" for row in range(60)]
    texts = register(frame, tmp_path, types={"text": "text"})
    features = metafeatures.compute(texts)
    n = texts.n_rows["train"]
    assert (features["is_text"], features["text_frac"]) == (1, 1)
    assert features["text_words_mean"] == pytest.approx(math.log10(3.5), abs=0.05)
    assert features["text_vocabulary"] == pytest.approx(math.log10(5 + n))
    assert features["text_once_frac"] == pytest.approx(n / (n + 5))
    assert features["information_max"] > 0.9
    assert math.isnan(features["image_side"])
    images = metafeatures.compute(datasets.add_sample("digits_images"))
    assert (images["image_side"], images["image_channels"], images["is_image"]) == (8, 1, 1)
    assert images["pixel_mean"] == pytest.approx(4.88 / 16, abs=0.01)
    assert images["correlation_max"] > 0.5
    assert math.isnan(images["text_vocabulary"])


def test_landmarkers_tell_a_table_for_a_stump_from_a_linear_one(home: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(900, 6))
    linear = datasets.add_sample("friedman")
    stumps = pd.DataFrame(x, columns=list("abcdef")).assign(y=np.where(x[:, 0] > 0.3, "u", "v"))
    stump = landmarkers.compute(register(stumps, tmp_path))
    assert stump["landmark_stump"] > 0.95 > stump["landmark_neighbour"]
    values = landmarkers.compute(linear)
    assert values["landmark_linear"] > values["landmark_tree"] > values["landmark_stump"]
    assert set(values) == set(LANDMARKERS) < set(NAMES)


def test_features_are_saved_and_loaded_without_the_table(plain: Dataset) -> None:
    features = metafeatures.get(plain.id)
    plain.table.unlink()  # saved values need no table
    np.testing.assert_equal(metafeatures.get(plain.id), features)
    assert list(features) == list(NAMES)
    assert all(math.isnan(features[name]) for name in LANDMARKERS)
    frame = metafeatures.all_features()
    assert (list(frame.index), list(frame.columns)) == (["table"], list(NAMES))
    assert frame.loc["table", "class_entropy"] == features["class_entropy"]


@pytest.mark.slow
def test_another_process_computes_the_same_values_and_imports_scikit_learn_for_landmarkers_only(plain: Dataset) -> None:
    code = (
        "import sys\nfrom core import datasets, metafeatures\nfrom core.metafeatures import landmarkers\n"
        "d = datasets.get('table')\n"
        "features = metafeatures.compute(d)\nassert 'sklearn' not in sys.modules\n"
        "print(repr((features | landmarkers.compute(d))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == repr(metafeatures.compute(plain) | landmarkers.compute(plain))


def test_landmarkers_that_a_job_reports_are_saved_for_the_dataset(plain: Dataset) -> None:
    jobs.submit(AutoMLSpec(dataset_id=plain.id))
    job = jobs.claim("w")
    assert job is not None
    results.record(job, [Landmarkers({"landmark_stump": 0.25}), Metric("best_valid", 0.9, 1)])
    results.record(job, [Landmarkers({"landmark_stump": 0.5})])
    features = metafeatures.get(plain.id)
    assert features["landmark_stump"] == 0.5
    assert features["n_features"] == 3


def test_an_unknown_dataset_is_an_input_error(home: Path) -> None:
    with pytest.raises(InputError, match="no dataset 7"):
        metafeatures.get(7)


def test_every_name_has_a_meaning_of_one_line() -> None:
    assert len(NAMES) > 50
    assert all(0 < len(meaning) <= 120 and "\n" not in meaning for meaning in NAMES.values())


def test_a_sorted_file_is_sampled_evenly(home: Path, tmp_path: Path) -> None:
    with scratch.connect() as connection:
        connection.execute(
            "COPY (SELECT range / 400000 AS c0, CASE WHEN range < 200000 THEN 'a' ELSE 'b' END AS c1, 'train' AS split"
            " FROM range(400000)) TO ? (FORMAT parquet)",
            [str(tmp_path / "sorted.parquet")],
        )
    sample = sampling.draw(_dataset_of(tmp_path / "sorted.parquet", 1, 400_000))
    assert len(sample.target) == sampling.ROWS
    assert np.bincount(sample.target).min() > 300
    assert sample.numbers.max() - sample.numbers.min() > 0.7


def _dataset_of(table: Path, n_features: int, n_rows: int) -> Dataset:
    columns = [Column(f"name {i}", f"c{i}", "numeric", 0.0, 0, (), ()) for i in range(n_features)]
    columns.append(Column("y", f"c{n_features}", "categorical", 0.0, 2, (), ()))
    n = {"train": n_rows, "valid": 0, "test": 0}
    return Dataset(1, "made", "y", "binary", ("a", "b"), tuple(columns), n, 1, "", table, (), "", "local", 0.0)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_million_rows_of_200_columns_take_less_than_500_megabytes(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "large.parquet"
    numbers = ", ".join(f"random() AS c{i}" for i in range(199))
    with scratch.connect(2_000) as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(
            f"COPY (SELECT {numbers}, CASE WHEN random() < 0.3 THEN 'a' ELSE 'b' END AS c199,"
            " CASE WHEN random() < 0.6 THEN 'train' ELSE 'test' END AS split FROM range(1000000))"
            " TO ? (FORMAT parquet)",
            [str(path)],
        )
    code = (
        "import resource\nfrom pathlib import Path\nfrom core import metafeatures\n"
        "from core.metafeatures import landmarkers\n"
        "from tests.core.metafeatures.test_metafeatures import _dataset_of\nimport sklearn.linear_model\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\nbefore = peak()\n"
        f"dataset = _dataset_of(Path({str(path)!r}), 199, 600_000)\n"
        "features = metafeatures.compute(dataset) | landmarkers.compute(dataset)\n"
        "print(peak() - before, features['n_features'], features['class_minority_frac'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    n_bytes, n_features, minority = done.stdout.split()
    assert int(n_bytes) < 500e6
    assert float(n_features) == 199
    assert float(minority) == pytest.approx(0.3, abs=0.01)
