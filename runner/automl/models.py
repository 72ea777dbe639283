"""A finished H2O model as a trial: its predictions scored, its parameters and curves under the user's names."""

from __future__ import annotations

import io
import re
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.datasets import Dataset, Split
from core.errors import MetascoutError
from core.events import TrialDone
from core.scoring import Array
from core.specs import AUTOML_ALGORITHMS
from runner.automl.rest import Rest, table_rows
from runner.shared.report import trial_of

_ALGORITHMS = {name.lower(): name for name in AUTOML_ALGORITHMS}  # as H2O writes them
_MAX_FEATURES = 100
# Parameters that say nothing about the model: keys of this run, and XGBoost's names of what is there already.
_HIDDEN = {
    "model_id", "training_frame", "validation_frame", "blending_frame", "response_column", "ignored_columns",
    "keep_cross_validation_models", "keep_cross_validation_predictions", "keep_cross_validation_fold_assignment",
    "keep_levelone_frame", "max_runtime_secs", "metalearner_transform", "calibration_method", "dmatrix_type", "backend",
    "min_child_weight", "subsample", "colsample_bylevel", "colsample_bytree", "eta", "max_delta_step", "gamma",
    "export_checkpoints_dir", "auc_type",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """What models predict: the dataset, the job's metric, the actual values by split, the classes in H2O's order."""

    dataset: Dataset
    metric: str
    actual: dict[Split, Array]
    levels: tuple[str, ...] = ()


def candidate_of(model_id: str) -> str:
    """Return the model's name without the stamp of the AutoML run: GBM_1, XGBoost_grid_1_model_3."""
    return re.sub(r"_AutoML_\d+_\d+_\d+", "", model_id)


def evaluate(rest: Rest, model_id: str, target: Target, directory: Path, step: str | None) -> tuple[TrialDone, Path]:
    """Return the model as a trial, scored on the validation and the test set, and its MOJO file."""
    on_valid, valid_s = _predict(rest, model_id, "valid", target)
    on_test, test_s = _predict(rest, model_id, "test", target)
    model = rest.get(f"/3/Models/{model_id}")["models"][0]
    candidate, output = candidate_of(model_id), model["output"]
    mojo = rest.download(f"/3/Models/{model_id}/mojo", directory / f"{candidate}.zip")
    trial = trial_of(
        target.dataset,
        _ALGORITHMS.get(model["algo"], model["algo"]),
        target.metric,
        (target.actual["valid"], on_valid),
        (target.actual["test"], on_test),
        candidate=candidate,
        fit_s=output["run_time"] / 1000,
        predict_row_s=min(valid_s / len(on_valid), test_s / len(on_test)),  # the machine may be busy with training
        size_bytes=mojo.stat().st_size,
        n_parameters=_n_coefficients(output),
        params=({"modeling_step": step} if step else {}) | _params(model["parameters"]),
        details=_details(output, target.dataset),
    )
    return trial, mojo


def _predict(rest: Rest, model_id: str, split: Split, target: Target) -> tuple[Array, float]:
    """Return predictions for a split in its order, and the seconds that H2O took for them."""
    frame = f"predictions_{split}"
    job = rest.post(f"/4/Predictions/models/{model_id}/frames/{split}", predictions_frame=frame)
    job = rest.wait(job)
    text = rest.text("/3/DownloadDataset", frame_id=frame)
    rest.delete(f"/3/Frames/{frame}")
    table = pd.read_csv(io.StringIO(text), header=None, skiprows=1, dtype={0: str}, keep_default_na=False)
    seconds = max(job["msec"], 0.5) / 1000  # H2O counts whole milliseconds
    return _by_label(table, target, model_id), seconds


def _by_label(table: pd.DataFrame, target: Target, model_id: str) -> Array:
    """Return H2O's columns (the decision, then its classes) as numbers in the order of the labels."""
    labels = target.dataset.labels
    if target.dataset.task == "regression":
        values = table[0].to_numpy(float)
    else:
        if table.shape[1] != 1 + len(target.levels):
            raise MetascoutError(f"{model_id} predicts {table.shape[1] - 1} of {len(labels)} classes.")
        values = np.zeros((len(table), len(labels)))
        values[:, [labels.index(level) for level in target.levels]] = table.iloc[:, 1:].to_numpy(float)
    if not np.isfinite(values).all():
        raise MetascoutError(f"{model_id} predicts values that are not finite.")
    return values


def _n_coefficients(output: dict[str, Any]) -> int | None:
    table = output.get("coefficients_table")
    return len(list(table_rows(table))) if table else None


def _params(parameters: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the parameters that differ from H2O's defaults."""
    return {
        p["name"]: _value(p["actual_value"])
        for p in parameters
        if p["name"] not in _HIDDEN and p["actual_value"] != p["default_value"]
    }


def _value(value: Any) -> Any:
    """Return a parameter as people write it: a key or a column by its name."""
    if isinstance(value, dict):
        name = value.get("name") or value.get("column_name")
        return candidate_of(name) if name else {k: v for k, v in value.items() if k != "__meta"}
    return [_value(item) for item in value] if isinstance(value, list) else value


def _details(output: dict[str, Any], dataset: Dataset) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if importance := _importance(output, dataset):
        result["importance"] = importance
    if curve := _curve(output, dataset):
        result["curve"] = curve
    return result


def _importance(output: dict[str, Any], dataset: Dataset) -> list[dict[str, Any]]:
    """Return the importance of each of the user's columns as a share; the levels of a column are added up."""
    names = {column.key: column.name for column in dataset.columns}
    total: dict[str, float] = {}
    for row in table_rows(output.get("variable_importances")):
        name = names[row["variable"].split(".")[0]]  # "c3.Mailed check" is a level of c3
        total[name] = total.get(name, 0.0) + float(row["percentage"])
    best = sorted(total.items(), key=lambda item: -item[1])[:_MAX_FEATURES]
    return [{"feature": name, "value": value} for name, value in best]


def _curve(output: dict[str, Any], dataset: Dataset) -> dict[str, Any] | None:
    """Return the learning curve on the train rows and, as the mean over folds, on the rows left out."""
    column, label = ("rmse", "RMSE") if dataset.task == "regression" else ("logloss", "log loss")
    history = list(table_rows(output.get("scoring_history")))
    x_label = next((name for name in ("number_of_trees", "epochs", "iterations") if history and name in history[0]), "")
    points = {row[x_label]: row for row in history if x_label and _is_number(row[x_label])}
    folds = [{row[x_label]: row for row in table_rows(table)} for table in output.get("cv_scoring_history") or ()]
    series = {
        f"train {label}": [_number(row.get(f"training_{column}")) for row in points.values()],
        f"valid {label}": [_number(row.get(f"validation_{column}")) for row in points.values()],
        f"cross-validation {label}": [_mean_over(folds, x, f"validation_{column}") for x in points],
    }
    series = {name: values for name, values in series.items() if any(value is not None for value in values)}
    if not series or len(points) < 2:
        return None
    return {"x_label": x_label.replace("_", " "), "x": list(points), "series": series}


def _mean_over(folds: list[dict[Any, dict[str, Any]]], x: Any, column: str) -> float | None:
    """Return the mean over the folds at x; None where one stopped earlier, as the mean would jump."""
    values = [_number(fold[x].get(column)) for fold in folds if x in fold]
    numbers = [value for value in values if value is not None]
    return statistics.fmean(numbers) if numbers and len(numbers) == len(folds) else None


def _number(value: Any) -> float | None:
    return float(value) if _is_number(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and np.isfinite(value)
