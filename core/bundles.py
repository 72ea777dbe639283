"""The download of a trial: its model with all that it takes to use it, in one zip."""

from __future__ import annotations

import hashlib
import uuid
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from core import artifacts, db

if TYPE_CHECKING:
    from core.results import Trial

_MODEL = "mojo"
_PARTS = (_MODEL, "scoring_jar", "scoring_script", "example", "readme")


def of_trial(trial: Trial) -> Path | None:
    """The zip of a trial's model with its scoring files, made on the first call; None where it has no model."""
    rows = trial.artifacts[trial.artifacts["kind"].isin(_PARTS)]
    if _MODEL not in set(rows["kind"]):
        return None
    return bundle(
        {
            "model.zip" if kind == _MODEL else name: artifacts.locate(sha256)
            for name, kind, sha256 in zip(rows["name"], rows["kind"], rows["sha256"], strict=True)
        }
    )


def bundle(files: Mapping[str, Path]) -> Path:
    """A zip of stored artifacts under the names given, kept under the hash of both and made only once."""
    identity = "\n".join(f"{name}:{path.name}" for name, path in sorted(files.items()))
    target = db.home() / "bundles" / f"{hashlib.sha256(identity.encode()).hexdigest()}.zip"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(f".{uuid.uuid4().hex}.part")
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:  # model and jar are compressed already
            for name, path in files.items():
                archive.write(path, name)
        part.replace(target)
    return target
