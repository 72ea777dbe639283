"""The folder of a downloaded model, and its predict.py run as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from core.events import Artifact, Event
from core.results import downloads


def predictor_files(model_format: str) -> set[str]:
    """Return the files of predict.py in the zip of a model of this format."""
    modules = ("__init__", "command", "output", "reader", f"with_{model_format}")
    return {"predict.py", "schema.json", *(f"metascout_predict/{name}.py" for name in modules)}


def unpack(events: Sequence[Event], candidate: str, folder: Path) -> Path:
    """Write what a user downloads for a candidate into the folder, as the zip of its page unpacks."""
    for event in events:
        if isinstance(event, Artifact) and event.candidate in (None, candidate):
            path = folder / str(downloads.path_in_zip(event.kind, event.name))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(Path(event.path).read_bytes())
    return folder


def predict(folder: Path, source: str | Path, *options: str, env: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Return the predictions of the folder's predict.py in a process that knows nothing of this project."""
    command = [sys.executable, "-I", "predict.py", str(source), "predictions.csv", *options]
    run = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    return pd.read_csv(folder / "predictions.csv", dtype=str, keep_default_na=False)
