"""Samples: small tables and images that come with scikit-learn, for a first try without a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from core.scoring import Task


@dataclass(frozen=True, slots=True)
class Sample:
    """A built-in table or set of images: a line about it, its target and its task."""

    about: str
    target: str
    task: Task
    images: bool = False


SAMPLES: dict[str, Sample] = {
    "breast_cancer": Sample("569 tumours, 30 features of cell nuclei; benign or malignant", "diagnosis", "binary"),
    "wine": Sample("178 wines, 13 chemical measurements; one of three growers", "grower", "multiclass"),
    "iris": Sample("150 flowers, 4 lengths; one of three species", "species", "multiclass"),
    "digits": Sample("1,797 handwritten digits of 8 x 8 pixels", "digit", "multiclass"),
    "digits_images": Sample(
        "The same digits as images, for neural architecture search", "label", "multiclass", images=True
    ),
    "diabetes": Sample("442 patients, 10 measurements; disease progression after a year", "progression", "regression"),
    "friedman": Sample("2,000 generated rows, 10 features of which 5 matter, with noise", "y", "regression"),
    "sine_waves": Sample(
        "500 generated sine waves of 20 points; each wave is a task of few-shot regression", "y", "regression"
    ),
}


def write(name: str, path: Path) -> None:
    """Write the sample as a file: a CSV, or an .npz of images. Raises KeyError as `frame` does."""
    if SAMPLES[name].images:
        from sklearn import datasets

        digits = datasets.load_digits()
        with path.open("wb") as file:  # as numpy would add .npz to the name
            np.savez(file, images=(digits.images * 255 / 16).round().astype(np.uint8), labels=digits.target)
    else:
        frame(name).to_csv(path, index=False)


def frame(name: str) -> pd.DataFrame:
    """Return the sample's table, target last. Raises KeyError for an unknown name."""
    if name == "sine_waves":
        return _waves()
    # Imported here to keep the web process light.
    from sklearn import datasets

    target = SAMPLES[name].target
    if name == "friedman":
        features, values = datasets.make_friedman1(n_samples=2_000, noise=1.0, random_state=0)
        columns = [f"x{number}" for number in range(1, features.shape[1] + 1)]
        return pd.DataFrame(features, columns=columns).assign(**{target: values})
    bunch = getattr(datasets, f"load_{name}")()
    table = pd.DataFrame(bunch.data, columns=[str(column) for column in bunch.feature_names])
    has_names = SAMPLES[name].task != "regression"
    return table.assign(**{target: [str(bunch.target_names[i]) for i in bunch.target] if has_names else bunch.target})


def _waves(n: int = 500, points: int = 20) -> pd.DataFrame:
    """Return sine waves of amplitudes 0.1 to 5 and phases 0 to pi, at x from -5 to 5 (Finn et al. 2017)."""
    rng = np.random.default_rng(0)
    amplitude, phase = rng.uniform(0.1, 5.0, (n, 1)), rng.uniform(0.0, np.pi, (n, 1))
    x = rng.uniform(-5.0, 5.0, (n, points))
    names = np.repeat([f"wave {number:03}" for number in range(1, n + 1)], points)
    return pd.DataFrame({"wave": names, "x": x.ravel(), "y": (amplitude * np.sin(x + phase)).ravel()})
