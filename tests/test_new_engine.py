"""A new engine is its folder, one row, one spec and one form: a throwaway one is added so, and does a job.

The whole product is copied, and CONTRIBUTING.md's "Add an engine" is followed on the copy.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.sklearn]
ROOT = Path(__file__).parents[1]

JOB = '''
"""The commonest class of the train rows, for every row."""

from collections.abc import Iterator

import numpy as np
from sklearn.dummy import DummyClassifier

from core.datasets import SPLITS
from core.events import Event, Progress
from core.specs import CommonestSpec
from runner.commonest import deploy
from runner.shared.context import Context
from runner.shared.report import trial_of
from runner.shared.rows import read


def run(spec: CommonestSpec, context: Context) -> Iterator[Event]:
    """Fit the model and report it as a trial."""
    rows = {split: read(context.dataset, split) for split in SPLITS}
    yield Progress(0.5, "Counting classes")
    model = DummyClassifier(strategy="prior").fit(rows["train"].features, rows["train"].actual)
    pairs = [(rows[split].actual, model.predict_proba(rows[split].features)) for split in ("valid", "test")]
    context.artifacts.mkdir(exist_ok=True)
    yield from deploy.write(context.dataset, model, context.artifacts)
    yield trial_of(context.dataset, "Commonest", "auc", *pairs, fit_s=0.1, predict_row_s=1e-6)
'''
DEPLOY = '''
"""The model as a file, with the files that predict with it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import skops.io

from core.datasets import Dataset
from core.events import Artifact
from runner.shared.deploy import Readme, table_schema, write_predictor


def write(dataset: Dataset, model: Any, directory: Path) -> Iterator[Artifact]:
    """Write the model, predict.py and its files."""
    skops.io.dump(model, directory / "model.skops")
    yield Artifact("model.skops", str(directory / "model.skops"), "skops", "Commonest")
    readme = Readme("The commonest class", {"model.skops": "the model"}, ", scikit-learn, skops and pandas")
    yield from write_predictor(directory, table_schema(dataset, "skops", dataset.features, trusted=[]), readme)
'''
SPEC = '''
class CommonestSpec(_Spec):
    """The commonest class."""

    kind: Literal["commonest"] = "commonest"
    budget_s: int = Field(default=10, ge=1, le=60)
    metric: Literal[tuple(METRICS)] | None = None


Spec = CommonestSpec | '''
ROW = """
    Kind(
        "commonest",
        "Commonest class",
        "Predicts the commonest class.",
        CommonestSpec,
        "runner.commonest.job:run",
        modalities=("table",),
        form="pages.parts.forms.commonest_form",
    ),
    Kind(
        "automl","""
FORM = '''
"""The form of the commonest class."""

import streamlit as st

from core.specs import CommonestSpec
from pages.parts.forms import common


def show(dataset, start, priority, mark):
    """Draw the form; returns the fields of the spec once it is submitted."""
    start = start or CommonestSpec(dataset_id=dataset.id)
    with st.form("commonest_form"):
        budget = st.number_input("Time budget (seconds)", value=start.budget_s, key=f"budget_s_commonest{mark}")
        fields = {"budget_s": budget} | common.resources(start, priority, f"_commonest{mark}")
        submitted = common.submit_button("Takes a second.")
    return fields if submitted else None
'''
PAGES = """
from streamlit.testing.v1 import AppTest

at = AppTest.from_file("app.py", default_timeout=60).run()
at.query_params["dataset"] = "exams"
at.query_params["engine"] = "commonest"
at.switch_page("pages/new_job.py").run()
assert not at.exception and not at.error, (at.exception, at.error)
next(field for field in at.number_input if field.key.startswith("budget_s_commonest")).set_value(7)
next(button for button in at.button if button.key == "submit").click().run()
assert not at.exception and not at.error, (at.exception, at.error)
assert "Job 1 is queued" in at.success[0].value
"""
SHOWN = """
from streamlit.testing.v1 import AppTest

at = AppTest.from_file("app.py", default_timeout=60).run()
views = {"job": {"job": "1"}, "job_list": {}, "leaderboard": {"dataset": "exams"}, "trial": {"trial": "1"}}
for page, params in views.items():
    at.query_params.clear()
    for key, value in params.items():
        at.query_params[key] = value
    at.switch_page(f"pages/{page}.py").run()
    assert not at.exception and not at.error, (page, at.exception, at.error)
from core import results
from core.results import downloads
print(downloads.bundle_trial(results.trial(1)))
"""


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new), "utf-8")


def _tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.py")}


def test_an_engine_is_added_by_its_folder_one_row_one_spec_and_one_form(tmp_path: Path) -> None:
    root = tmp_path / "metascout"
    root.mkdir()
    for name in ("app.py", "core", "runner", "pages", ".streamlit"):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, root / name)
    before = _tree(root)
    _edit(root / "core" / "specs.py", "\nSpec = ", SPEC)
    _edit(root / "core" / "kinds.py", '\n    Kind(\n        "automl",', ROW)
    _edit(
        root / "core" / "kinds.py",
        "    AutoMLSpec,\n    FewShotSpec",
        "    AutoMLSpec,\n    CommonestSpec,\n    FewShotSpec",
    )
    (root / "pages" / "parts" / "forms" / "commonest_form.py").write_text(FORM)
    (root / "runner" / "commonest").mkdir()
    for name, text in (("__init__", ""), ("job", JOB), ("deploy", DEPLOY)):
        (root / "runner" / "commonest" / f"{name}.py").write_text(text)
    changed = {name for name, content in _tree(root).items() if before.get(name) != content}
    outside = {name for name in changed if not name.startswith("runner/commonest/")}
    assert outside == {"core/specs.py", "core/kinds.py", "pages/parts/forms/commonest_form.py"}  # at most 4

    lines = [f"{n % 11},{'ab'[n % 2]},{'yes' if n % 3 else 'no'}" for n in range(90)]
    (root / "exams.csv").write_text("hours,group,passed\n" + "\n".join(lines) + "\n")

    def python(*arguments: str, cwd: Path = root) -> str:
        own = {"METASCOUT_HOME": str(tmp_path / "home"), "PYTHONPATH": ""}
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=cwd, env=os.environ | own, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    python("-m", "core", "dataset", "add", "exams.csv", "--name", "exams", "--target", "passed")
    python("-c", PAGES)
    python("-m", "runner", "--drain")
    [job] = json.loads(python("-m", "core", "jobs", "--json"))
    assert (job["kind"], job["status"], job["spec"]["budget_s"]) == ("commonest", "succeeded", 7)
    [trial] = json.loads(python("-m", "core", "leaderboard", "exams", "--json"))
    assert (trial["candidate"], trial["engine"], trial["valid"]) == ("Commonest", "commonest", 0.5)
    bundle = python("-c", SHOWN).strip().splitlines()[-1]
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "model")
    shutil.copy(root / "exams.csv", tmp_path / "model")
    python("predict.py", "exams.csv", "predictions.csv", cwd=tmp_path / "model")
    header, first, *_ = (tmp_path / "model" / "predictions.csv").read_text().splitlines()
    assert header == "row,passed,probability of no,probability of yes"
    assert first.startswith("1,yes,")
