"""The download of a trial: a zip of its model and of the files that predict with it."""

from __future__ import annotations

import hashlib
import uuid
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from core.store import artifacts, database

if TYPE_CHECKING:
    import pandas as pd

    from core.results.trials import Trial

MODELS = ("mojo", "onnx", "torch_module", "skops")
_NAMES = {  # of a file in the zip, by the kind of artifact
    "mojo": "model.zip",
    "onnx": "model.onnx",
    "torch_module": "model.py",
    "torch_weights": "weights.pt",
    "skops": "model.skops",
    "adapted_weights": "adapted.safetensors",
    "predict_script": "predict.py",
    "predict_module": "metascout_predict/{name}",
    "predict_schema": "schema.json",
    "scoring_jar": "{name}",
    "example": "{name}",
    "readme": "{name}",
    # Of jobs of earlier versions, each of which has one script without modules.
    "scoring_script": "{name}",
    "nas_script": "predict.py",
    "nas_readme": "README.txt",
    "skops_script": "predict.py",
    "skops_readme": "README.txt",
}


def has_model(trial: Trial) -> bool:
    """Return whether the trial's model was saved; the files for all models of a job are of no use without one."""
    return not set(MODELS).isdisjoint(trial.artifacts["kind"])


def script(files: pd.DataFrame) -> str | None:
    """Return the name of the script in the zip of these artifacts that predicts a user's file; None without one."""
    kinds = set(files["kind"])
    if "scoring_script" in kinds:
        return "score.py"
    return "predict.py" if kinds & {"predict_script", "nas_script", "skops_script"} else None


def path_in_zip(kind: str, name: str) -> str | None:
    """Return where an artifact is in the zip; None if it is left out."""
    return _NAMES[kind].format(name=name) if kind in _NAMES else None


def bundle_trial(trial: Trial) -> Path | None:
    """Return the zip of a trial's model with its scoring files, written on the first call; None without a model."""
    return bundle_files(trial.artifacts) if has_model(trial) else None


def bundle_files(files: pd.DataFrame) -> Path:
    """Return the zip of a model with its scoring files; `files` has the columns name, kind and sha256."""
    columns = zip(files["name"], files["kind"], files["sha256"], strict=True)
    paths = {path_in_zip(kind, name): artifacts.locate(sha256) for name, kind, sha256 in columns}
    return _write_bundle({path: file for path, file in paths.items() if path is not None})


def _write_bundle(files: Mapping[str, Path]) -> Path:
    """Return a zip of stored artifacts by path, written once under the hash of both."""
    identity = "\n".join(f"{name}:{path.name}" for name, path in sorted(files.items()))
    target = database.home() / "bundles" / f"{hashlib.sha256(identity.encode()).hexdigest()}.zip"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(f".{uuid.uuid4().hex}.part")
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:  # models and jars hardly get smaller
            for name, path in files.items():
                archive.write(path, name)
        part.replace(target)
    return target
