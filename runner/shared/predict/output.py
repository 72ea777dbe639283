"""The file of predictions."""

import csv
from collections.abc import Iterable, Mapping
from typing import Any


def write(path: str, schema: Mapping[str, Any], predictions: Iterable[Any], names: Iterable[str] | None = None) -> None:
    """Write the predictions under the target's name and, of classes, a column "probability of LABEL" each.

    The first column holds the names of the images, or the numbers of the rows, which begin with 1.
    """
    labels = schema["labels"]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        first = "row" if names is None else "image"
        writer.writerow([first, schema["target"], *(f"probability of {label}" for label in labels)])
        named = enumerate(predictions, start=1) if names is None else zip(names, predictions, strict=True)
        for name, prediction in named:
            if labels:
                probabilities = [float(value) for value in prediction]
                best = probabilities.index(max(probabilities))
                writer.writerow([name, labels[best], *map(repr, probabilities)])
            else:
                writer.writerow([name, repr(float(prediction))])
