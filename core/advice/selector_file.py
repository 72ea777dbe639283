"""A fitted selector as one file of plain arrays. It holds no code, so any file can be opened safely."""

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
from core.advice.model import Model
from core.advice.quantiles import Scale
from core.advice.trust import COLUMNS, Trust
from core.errors import InputError

Array = NDArray[Any]

_FORMAT = 2
_SCALE_NAMES = {"quantiles": "known"}  # fields of Scale that have another name in the file
_REMEDY = "Refit it."


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
    """Return the model in a file. Raises InputError if it holds none, or one of another version."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if int(arrays["format"]) != _FORMAT:
                raise InputError(f"{path.name} was saved by another version.", value=path.name, remedy=_REMEDY)
            return _model(dict(arrays))
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path.name} holds no fitted selector.", value=path.name, remedy=_REMEDY) from error


def _arrays(model: Model) -> dict[str, Array]:
    """Return every part of the model by its name in the file."""
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
    for field in fields(Scale):
        parts[f"inputs.{_SCALE_NAMES.get(field.name, field.name)}"] = getattr(model.scale, field.name)
    for name, forest in (("choice", model.choice), ("plan", model.plan)):
        parts |= {f"{name}.{key}": values for key, values in forest.arrays().items()}
    return {name: np.asarray(value) for name, value in parts.items()}


def _model(arrays: dict[str, Array]) -> Model:
    """Return the model of its parts."""
    datasets = [str(name) for name in arrays["datasets"]]
    coverage = float(arrays["coverage"])
    return Model(
        pd.DataFrame(arrays["errors"], datasets, [str(name) for name in arrays["candidates"]]),
        arrays["table"],
        arrays["safe"],
        _scale(_part(arrays, "inputs")),
        Forest(**_part(arrays, "choice")),
        Forest(**_part(arrays, "plan")),
        arrays["weights"],
        Trust(
            pd.DataFrame(arrays["past"], datasets, list(COLUMNS)),
            arrays["groups"],
            None if np.isnan(coverage) else coverage,
        ),
        bool(arrays["cautious"]),
        float(arrays["width"]),
    )


def _scale(arrays: dict[str, Array]) -> Scale:
    values: dict[str, Any] = {field.name: arrays[_SCALE_NAMES.get(field.name, field.name)] for field in fields(Scale)}
    values["names"] = tuple(str(name) for name in values["names"])
    return Scale(**values | {name: float(values[name]) for name in ("reach", "fringe")})


def _part(arrays: dict[str, Array], name: str) -> dict[str, Array]:
    """Return the arrays whose names begin with the part's."""
    return {key.partition(".")[2]: value for key, value in arrays.items() if key.startswith(f"{name}.")}
