"""A data directory of version 0.1 opens in this version and shows everything that it showed there.

tests/data holds one that version 0.1 filled, with jobs of each kind and state, and what that version said of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core import advice, datasets, knowledge, results
from core.queue import jobs, log
from core.results import downloads, initialisations
from core.store import artifacts
from runner import loop

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data"
FEW_SHOT = ["job_id", "algorithm", "network", "ways", "shots", "protocol", "metric", "valid", "test"]
BOARD = ["job_id", "candidate", "metric", "valid", "test"]


@pytest.fixture(scope="module")
def old() -> dict[str, Any]:
    """What version 0.1 said of the directory."""
    return json.loads((DATA / "version_0_1.json").read_text("utf-8"))


def _unpacked(folder: Path) -> Path:
    with tarfile.open(DATA / "version_0_1.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "metascout-data"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory, for tests that only read it."""
    return _unpacked(tmp_path_factory.mktemp("old"))


@pytest.fixture
def opened(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("METASCOUT_HOME", str(shared))
    monkeypatch.delenv("METASCOUT_STORE", raising=False)
    return shared


def test_datasets_and_leaderboards_are_as_they_were(opened: Path, old: dict[str, Any]) -> None:
    assert {dataset.name for dataset in datasets.all_datasets()} == set(old["datasets"])
    for name, expected in old["datasets"].items():
        dataset = datasets.get(name)
        assert (dataset.id, dataset.task, dataset.n_rows, dataset.fingerprint) == (
            expected["id"], expected["task"], expected["n_rows"], expected["fingerprint"],
        )  # fmt: skip
        assert len(datasets.load(dataset)) == sum(expected["n_rows"].values())
        board = results.leaderboard(dataset.id)
        assert board[BOARD].to_numpy().tolist() == expected["leaderboard"]
        few = initialisations.leaderboard(dataset.id)
        assert few[FEW_SHOT].to_numpy().tolist() == expected["fewshot"]


def test_jobs_keep_their_state_log_candidates_policy_and_files(opened: Path, old: dict[str, Any]) -> None:
    overview = jobs.overview(limit=None).set_index("id")
    assert len(overview) == len(old["jobs"])
    for expected in old["jobs"]:
        job = jobs.get(expected["id"])
        assert (job.kind, job.status, job.owner, job.note, job.error) == tuple(
            expected[name] for name in ("kind", "status", "owner", "note", "error")
        )
        assert job.spec.kind == job.kind
        assert overview.n_trials[job.id] == expected["n_trials"]
        assert len(results.candidates(job.id)) == expected["n_searched"]
        assert len(results.policy(job.id)) == expected["n_policy"]
        assert len(log.messages(job.id)) == expected["n_messages"]
        files = results.artifacts_of(job.id)
        assert sorted(map(list, zip(files.name, files.kind, strict=True))) == sorted(expected["artifacts"])
        assert all(artifacts.locate(sha256).exists() for sha256 in files.sha256)


def test_trials_and_their_downloads_hold_the_same_files(opened: Path, old: dict[str, Any]) -> None:
    for number, expected in old["trials"].items():
        trial = results.trial(int(number))
        files = zip(trial.artifacts["name"], trial.artifacts["kind"], strict=True)
        assert sorted(map(list, files)) == sorted(expected["artifacts"])
    for kind, expected in old["downloads"].items():
        if "trial" in expected:
            bundle = downloads.bundle_trial(results.trial(expected["trial"]))
            assert bundle is not None
            with zipfile.ZipFile(bundle) as archive:
                assert sorted(archive.namelist()) == sorted(expected["files"]), kind


def test_few_shot_results_advice_and_imports_are_still_there(opened: Path, old: dict[str, Any]) -> None:
    [one] = initialisations.all_initialisations()
    assert one.path.exists()
    assert (one.job_id, one.algorithm, one.ways, one.shots) == (old["ids"]["fewshot"], "ProtoNet", 2, 1)
    body = initialisations.adaptation(old["ids"]["finetune"])
    assert body is not None
    assert body["initialisation"] == one.job_id
    assert [scenario.name for scenario in knowledge.all_scenarios()] == old["scenarios"]
    for name, expected in old["datasets"].items():
        given = advice.last_advice(datasets.get(name).id)
        assert given is not None
        assert (given.id, given.plan, given.reason) == (
            expected["advice"]["id"], tuple(expected["advice"]["plan"]), expected["advice"]["reason"],
        )  # fmt: skip
        assert given.ranking[0].candidate == expected["advice"]["first"]


def test_every_page_shows_it(opened: Path, old: dict[str, Any]) -> None:
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    views: list[tuple[str, dict[str, str]]] = [(name, {}) for name in ("home", "datasets", "job_list", "meta_model")]
    views += [("dataset", {"dataset": name}) for name in old["datasets"]]
    views += [("dataset_advice", {"dataset": name}) for name in old["datasets"]]
    views += [("leaderboard", {"dataset": name}) for name in old["datasets"]]
    views += [("job", {"job": str(job["id"])}) for job in old["jobs"]]
    views += [("trial", {"trial": number}) for number in old["trials"]]
    views += [("playground", {"job": str(old["ids"]["finetune"])}), ("fewshot_board", {"dataset": "strokes"})]
    for page, params in views:
        at.query_params.clear()
        for key, value in params.items():
            at.query_params[key] = value
        at.switch_page(f"pages/{page}.py").run()
        assert not at.exception, (page, params)
        assert not [error.value for error in at.error if "There is no" in error.value], (page, params)


@pytest.mark.slow
@pytest.mark.torch
def test_a_search_that_version_0_1_paused_resumes_from_its_checkpoint(
    tmp_path: Path, old: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METASCOUT_HOME", str(_unpacked(tmp_path)))
    jobs.request_cancel(old["ids"]["queued"])
    for name in ("paused", "paused_fewshot"):
        jobs.resume(old["ids"][name])
    loop.serve(drain=True)
    search, training = (jobs.get(old["ids"][name]) for name in ("paused", "paused_fewshot"))
    assert (search.status, search.error, search.attempt) == ("succeeded", None, 2)
    assert (training.status, training.error, training.attempt) == ("succeeded", None, 2)
    assert any("resumes from its checkpoint with 4 candidates" in text for text in log.messages(search.id).text)
    assert len(results.trials_of(search.id)) >= 1


@pytest.mark.slow
def test_a_model_that_version_0_1_trained_is_downloaded_and_predicts(
    opened: Path, old: dict[str, Any], tmp_path: Path
) -> None:
    bundle = downloads.bundle_trial(results.trial(old["downloads"]["portfolio"]["trial"]))
    assert bundle is not None
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path)
    dataset = datasets.get(next(n for n, d in old["datasets"].items() if d["id"] == 2))
    table = datasets.load(dataset, "test").rename(columns={column.key: column.name for column in dataset.columns})
    table.to_csv(tmp_path / "rows.csv", index=False)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [sys.executable, "predict.py", "rows.csv", "predictions.csv"]
    subprocess.run(command, cwd=tmp_path, env=clean, check=True)
    assert (tmp_path / "predictions.csv").read_text().count("\n") == len(table) + 1
