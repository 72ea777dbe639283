"""The download of a trial: its model with all that it takes to use it, in one zip."""

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
_NAMES = {  # in the zip, by the kind of artifact; None: its own name
    "mojo": "model.zip",
    "scoring_jar": None,
    "scoring_script": None,
    "example": None,
    "readme": None,
    "onnx": "model.onnx",
    "torch_module": "model.py",
    "torch_weights": "weights.pt",
    "nas_script": "predict.py",
    "nas_readme": "README.txt",
    "skops": "model.skops",
    "skops_script": "predict.py",
    "skops_readme": "README.txt",
    "adapted_weights": "adapted.safetensors",
}


def has_model(trial: Trial) -> bool:
    """Whether a model was kept; the files that serve all models of a job are of no use without one."""
    return not set(MODELS).isdisjoint(trial.artifacts["kind"])


def of_trial(trial: Trial) -> Path | None:
    """The zip of a trial's model with its scoring files, made on the first call; None where it has no model."""
    if not has_model(trial):
        return None
    return of_files(trial.artifacts)


def of_files(files: pd.DataFrame) -> Path:
    """The zip of a model with its scoring files; `files` has the columns name, kind and sha256."""
    rows = files[files["kind"].isin(_NAMES)]
    return bundle(
        {
            _NAMES[kind] or name: artifacts.locate(sha256)
            for name, kind, sha256 in zip(rows["name"], rows["kind"], rows["sha256"], strict=True)
        }
    )


def bundle(files: Mapping[str, Path]) -> Path:
    """A zip of stored artifacts under the names given, kept under the hash of both and made only once."""
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
