"""A fitted selector as one file of plain arrays: nothing in it is code, so that any file may be opened."""

from __future__ import annotations

import os
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.advice.forest import Forest
from core.advice.quantiles import Inputs
from core.advice.selector import Model
from core.advice.trust import COLUMNS, Trust
from core.errors import InputError

Array = NDArray[Any]

_FORMAT = 2


def write(model: Model, path: Path) -> None:
    """Write a model under a temporary name and rename it."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **_arrays(model))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read(path: Path) -> Model:
    """The model in a file. Raises InputError where there is none, or it is of another version."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            if int(stored["format"]) != _FORMAT:
                raise InputError(f"{path.name}: the selector was saved by another version; fit it again.")
            return _model(dict(stored))
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path.name}: there is no fitted selector in this file; fit it again.") from error


def _arrays(model: Model) -> dict[str, Array]:
    """Every part of the model by name."""
    parts: dict[str, Any] = {
        "format": _FORMAT,
        "datasets": np.array(model.errors.index, str),
        "candidates": np.array(model.errors.columns, str),
        "errors": model.errors.to_numpy(float),
        "table": model.table,
        "safe": model.safe,
        "past": model.trust.past[list(COLUMNS)].to_numpy(float),
        "groups": model.trust.groups,
        "coverage": np.nan if model.trust.coverage is None else model.trust.coverage,
        "weights": model.weights,
        "cautious": model.cautious,
        "width": model.width,
    }
    for name, part in (("inputs", model.inputs), ("choice", model.choice), ("plan", model.plan)):
        parts |= {f"{name}.{field.name}": getattr(part, field.name) for field in fields(part)}
    return {name: np.asarray(value) for name, value in parts.items()}


def _model(stored: dict[str, Array]) -> Model:
    """The model of its parts."""
    datasets = [str(name) for name in stored["datasets"]]
    coverage = float(stored["coverage"])
    scale: dict[str, Any] = _part(stored, "inputs")
    scale |= {
        "names": tuple(str(name) for name in scale["names"]),
        "reach": float(scale["reach"]),
        "fringe": float(scale["fringe"]),
    }
    return Model(
        pd.DataFrame(stored["errors"], datasets, [str(name) for name in stored["candidates"]]),
        stored["table"],
        stored["safe"],
        Inputs(**scale),
        Forest(**_part(stored, "choice")),
        Forest(**_part(stored, "plan")),
        stored["weights"],
        Trust(
            pd.DataFrame(stored["past"], datasets, list(COLUMNS)),
            stored["groups"],
            None if np.isnan(coverage) else coverage,
        ),
        bool(stored["cautious"]),
        float(stored["width"]),
    )


def _part(stored: dict[str, Array], name: str) -> dict[str, Array]:
    """The arrays whose names begin with the part's."""
    return {key.partition(".")[2]: value for key, value in stored.items() if key.startswith(f"{name}.")}
