"""Advice from the selector that was fitted last: given before results, honest after them, its plan and its outcome."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import advice, datasets, kinds, knowledge, results, specs
from core.__main__ import main
from core.advice import fit_times, fits, learning_curve
from core.advice.selector import Selector
from core.datasets import Dataset
from core.errors import InputError
from core.events import Score, TrialDone
from core.knowledge import table as knowledge_table
from core.queue import jobs
from core.specs import AUTOML_ALGORITHMS, AutoMLSpec, NASSpec, PortfolioSpec
from runner import selector_fit
from tests.known import CANDIDATES, N_TASKS, ship


@pytest.fixture
def ships(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Knowledge that ships, in place of the real one."""
    monkeypatch.setattr("core.knowledge.table.SHIPPED", ship(tmp_path / "shipped.parquet"))
    small(monkeypatch)
    return knowledge_table.SHIPPED


class Small(Selector):
    """Smaller forests than a user's, which say the same of such plain knowledge."""

    def __init__(self) -> None:
        super().__init__(trees=100, plan_trees=50)


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let fits be quick."""
    monkeypatch.setattr(fits, "Selector", Small)
    monkeypatch.setattr(learning_curve, "_TREES", 40)


@pytest.fixture
def numbers(home: Path, tmp_path: Path) -> Dataset:
    """A dataset whose columns are numbers."""
    random = np.random.default_rng(1)
    frame = pd.DataFrame(random.normal(size=(200, 5)), columns=list("abcde"))
    frame["y"] = np.where(frame["a"] > 0, "yes", "no")
    frame.to_csv(tmp_path / "numbers.csv", index=False)
    return datasets.register(tmp_path / "numbers.csv", name="numbers", target="y")


def ran(dataset: Dataset, spec: specs.Spec | None = None, **errors: float) -> None:
    """A finished job on the dataset with a trial of each algorithm."""
    jobs.submit(spec or PortfolioSpec(dataset_id=dataset.id))
    job = jobs.claim("w")
    assert job is not None
    scores = {name: tuple(_score(metric, error) for metric in ("auc", "log_loss")) for name, error in errors.items()}
    found = [
        TrialDone(
            candidate=name, algorithm=name, metric="auc", scores=scores[name], fit_s=1.5, predict_row_s=1e-5,
            size_bytes=10,
        )
        for name in errors
    ]  # fmt: skip
    results.record(job, found)
    jobs.finish(job, "succeeded")


def _score(metric: str, error: float) -> Score:
    return Score(metric, 1 - error, 1 - error, 1 - error - 0.01, 1 - error + 0.01, error, error)


def test_a_new_dataset_is_advised_at_once_by_what_ships(ships: Path, numbers: Dataset) -> None:
    with pytest.raises(InputError, match="No selector has been fitted yet"):
        advice.advise(numbers.id)
    fits.refit("classification")
    given = advice.advise(numbers.id)
    assert given.ranking[0].candidate == "Linear"
    assert set(given.plan) <= set(CANDIDATES)
    assert given.plan[0] in ("Linear", "SVM")
    assert (given.n_known, given.n_own, given.metric, given.blind) == (N_TASKS, 0, "auc", False)
    assert all(item.lower <= item.error <= item.upper <= 1 for item in given.ranking)
    assert {item.origin for item in given.near} == {"shipped"}
    assert {"categorical_frac", "numeric_frac"} & {driver.name for driver in given.drivers}
    assert given.reason.startswith(f"On {N_TASKS} past datasets")
    assert advice.advise(numbers.id).id == given.id  # kept, not made again
    assert advice.advise(numbers.id).ranking == given.ranking


def test_the_fit_time_grows_as_it_grew_on_known_datasets(ships: Path, numbers: Dataset) -> None:
    done = fits.refit("classification")
    assert done is not None
    _, rows, _ = done.fit_times["Linear"]
    assert rows == pytest.approx(1, abs=1e-6)
    assert fit_times.predict_s(done.fit_times, "Linear", {"log_n_rows": 4.0, "log_n_features": 1.0}) == pytest.approx(
        10
    )
    assert math.isnan(fit_times.predict_s(done.fit_times, "GPT", {}))


def test_advice_after_results_does_not_look_at_them(ships: Path, numbers: Dataset) -> None:
    fits.refit("classification")
    before = advice.advise(numbers.id)
    ran(numbers, HistGradientBoosting=0.01, Linear=0.4, SVM=0.4, Baseline=0.5)  # against all expectation
    done = fits.refit("classification")
    assert done is not None
    assert done.n_own == 1
    after = advice.advise(numbers.id)
    assert (after.blind, before.blind) == (True, False)
    assert after.ranking[0].candidate == "Linear"
    assert numbers.name not in [item.dataset for item in after.near]
    kept = advice.last_advice(numbers.id, before_results=True)
    assert kept is not None
    assert kept.id == before.id


def test_the_outcome_is_what_the_trials_found(ships: Path, numbers: Dataset) -> None:
    fits.refit("classification")
    given = advice.advise(numbers.id)
    assert len(advice.outcome(given)) == 0
    [open_] = advice.track_record().to_dict("records")
    assert math.isnan(open_["actual"])
    ran(numbers, Linear=0.12, SVM=0.09)
    told = advice.outcome(given).set_index("candidate")
    assert told["actual"].to_dict() == pytest.approx({"Linear": 0.12, "SVM": 0.09})
    assert told.loc["Linear", "rank"] == 1
    assert bool(told.loc["Linear", "inside"]) == (told.loc["Linear", "lower"] <= 0.12 <= told.loc["Linear", "upper"])
    [row] = advice.track_record().to_dict("records")
    assert (row["candidate"], row["dataset"]) == ("Linear", "numbers")
    assert (row["actual"], row["best"], row["regret"]) == pytest.approx((0.12, 0.09, 0.03))


def test_the_plan_becomes_one_job_an_engine_and_is_remembered(ships: Path, numbers: Dataset) -> None:
    fits.refit("classification")
    given = advice.advise(numbers.id)
    portfolio, automl = advice.specs_of(given)
    assert isinstance(portfolio, PortfolioSpec)
    assert set(given.plan) <= set(portfolio.candidates)
    assert isinstance(automl, AutoMLSpec)  # nothing is known of H2O: no plan could have named it
    ids = advice.run(given, [portfolio, automl], user="ada@example.org")
    assert advice.jobs_of(numbers.id) == ids
    assert [jobs.get(job_id).kind for job_id in ids] == ["portfolio", "automl"]
    assert jobs.get(ids[0]).owner == "ada@example.org"
    with pytest.raises(InputError, match="plan: No job is selected"):
        advice.run(given, [])


def test_an_engine_that_is_known_trains_what_the_ranking_puts_first(ships: Path, numbers: Dataset) -> None:
    other = replace(numbers, name="other")
    frame = pd.read_parquet(ships)
    best = frame[frame["candidate"] == "Linear"].assign(candidate="H2O GLM")
    networks = frame[frame["candidate"] == "SVM"].assign(candidate="NAS CNN")
    foreign = frame[frame["candidate"] == "SVM"].assign(candidate="our own model")
    pd.concat([frame, best, networks, foreign]).to_parquet(ships)
    fits.refit("classification")
    given = advice.advise(numbers.id)
    names = [item.candidate for item in given.ranking]
    assert "NAS CNN" not in names  # it needs images
    assert given.ranking[names.index("our own model")].engine is None
    assert "our own model" not in given.plan
    automl = next(spec for spec in advice.specs_of(given) if isinstance(spec, AutoMLSpec))
    assert automl.algorithms == AUTOML_ALGORITHMS
    assert advice.ranked_algorithms(given) == ("GLM", "StackedEnsemble")
    assert other.modality == "table"


def test_what_cannot_run_on_a_dataset_is_no_default_for_it(ships: Path, numbers: Dataset) -> None:
    frame = pd.read_parquet(ships)
    images_only = frame[frame["candidate"] == "SVM"].assign(candidate="NAS CNN", error=0.001)
    pd.concat([frame, images_only]).to_parquet(ships)
    done = fits.refit("classification")
    assert done is not None
    assert fits.load_selector(done).sbs == "NAS CNN"
    given = advice.advise(numbers.id)
    assert given.single_best in CANDIDATES
    assert given.single_best in given.reason
    assert "NAS CNN" not in given.reason


def test_a_fit_of_a_single_dataset_knows_no_regret(
    numbers: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.knowledge.table.SHIPPED", ship(tmp_path / "one.parquet", tasks=1))
    fits.refit("classification")
    [row] = fits.history("classification").to_dict("records")
    assert row["n_datasets"] == 1
    assert math.isnan(row["advice"])


def test_a_search_can_start_from_those_of_near_datasets_of_ones_own(ships: Path, numbers: Dataset) -> None:
    other = datasets.add_sample("breast_cancer")
    ran(other, NASSpec(dataset_id=other.id), MLP=0.1)
    ran(other, Linear=0.1)
    fits.refit("classification")
    given = advice.advise(numbers.id)
    near = (advice.SimilarDataset("breast_cancer", "own", "sample", 0.1, "Linear", 0.1),)
    assert advice.warm_starts(replace(given, near=near)) == [1]
    assert advice.warm_starts(replace(given, near=())) == []


def test_candidates_are_named_by_their_engine() -> None:
    assert kinds.of_candidate("H2O GBM") == (kinds.of("automl"), "GBM")
    assert kinds.of_candidate("NAS ResidualMLP") == (kinds.of("nas"), "ResidualMLP")
    assert kinds.of_candidate("RandomForest") == (kinds.of("portfolio"), "RandomForest")
    assert kinds.of_candidate("weka.J48") is None


def test_own_trials_of_two_engines_are_two_candidates(ships: Path, numbers: Dataset) -> None:
    ran(numbers, MLP=0.2)
    ran(numbers, NASSpec(dataset_id=numbers.id), MLP=0.1)
    known = knowledge.from_jobs("classification").errors.loc["numbers"]
    assert known.to_dict() == pytest.approx({"MLP": 0.2, "NAS MLP": 0.1})


def test_a_fit_is_due_when_more_is_known_or_one_is_asked_for(ships: Path, numbers: Dataset) -> None:
    assert fits.is_due()
    for kind in knowledge.TASK_TYPES:
        fits.refit(kind)
    assert not fits.is_due()
    fits.request("ada")
    assert fits.is_due()
    for kind in knowledge.TASK_TYPES:
        fits.refit(kind)
    assert not fits.is_due()
    ran(numbers, Linear=0.1)
    assert fits.is_due()


def test_where_nothing_is_known_the_history_says_so(ships: Path) -> None:
    assert fits.refit("regression") is None
    assert "There is no result yet" in fits.history("regression")["error"].iloc[0]
    assert fits.last_fit("regression") is None
    assert len(fits.learning_curve("regression")) == 0
    fits.refit("classification")
    [row] = fits.history("classification").to_dict("records")
    assert row["n_datasets"] == N_TASKS
    assert row["advice"] < row["sbs"]


def test_old_selectors_are_deleted_and_the_last_two_are_kept(ships: Path, home: Path) -> None:
    files = [fits.refit("classification") for _ in range(4)]
    left = sorted(path.name for path in (home / "selectors").glob("*"))
    assert left == sorted(done.file for done in files[-2:] if done)


def test_the_learning_curve_of_the_newest_selector_is_kept(ships: Path) -> None:
    fits.refit("classification")
    curve = fits.learning_curve("classification")
    assert curve.index.tolist() == [10]
    assert not curve.attrs["own"]
    assert (curve["advice"] >= 0).all()


def test_the_selector_answers_for_a_known_dataset_as_if_it_had_not_seen_it(ships: Path) -> None:
    known = knowledge.gather("classification")
    fitted = Selector(trees=100, plan_trees=40).fit(known.features, known.errors)
    row = known.features.loc[["task 0"]]
    as_known = fitted.predict(row)
    as_new = fitted.predict(row.rename({"task 0": "never seen"}))
    assert as_known.loc["task 0", "error"].tolist() != as_new.loc["never seen", "error"].tolist()
    weights = fitted._weights(row)
    assert weights[0, list(known.errors.index).index("task 0")] == 0
    assert weights.sum() == pytest.approx(1)


def test_the_ranking_and_the_plan_can_be_of_some_candidates_only(ships: Path) -> None:
    known = knowledge.gather("classification")
    fitted = Selector(trees=100, plan_trees=40).fit(known.features, known.errors)
    row = known.features.loc[["task 0"]].rename({"task 0": "new"})
    some = fitted.predict(row, among=["SVM", "Baseline"])
    assert list(some.loc["new"].index) == ["SVM", "Baseline"]
    every = fitted.predict(row)
    assert some.loc[("new", "SVM"), "error"] == every.loc[("new", "SVM"), "error"]
    assert set(fitted.plan(row, 2, among=["SVM", "Baseline"]).loc["new"]) == {"SVM", "Baseline"}
    with pytest.raises(InputError, match="There is no result of magic"):
        fitted.predict(row, among=["magic"])


def test_a_runner_has_the_selectors_fitted_and_stops_it_when_it_ends(ships: Path, numbers: Dataset) -> None:
    """The process reads the real file, wherever the tests' own lies: only that it starts, ends and is ended counts."""
    state = selector_fit.Fitting()
    selector_fit.tend(state)
    assert state.process is not None
    assert state.process.poll() is None
    selector_fit.tend(state)  # one at a time
    selector_fit.stop(state)
    assert state.process is None
    selector_fit.tend(state)  # a pause lies between two
    assert state.process is None
    state.next_at = 0.0
    selector_fit.tend(state, busy=True)  # a longer one while jobs run
    assert state.process is None
    selector_fit.tend(state)
    assert state.process is not None
    selector_fit.stop(state)


@pytest.mark.slow
def test_a_fit_in_a_process_of_its_own_learns_from_own_results(numbers: Dataset) -> None:
    ran(numbers, Linear=0.1, SVM=0.2)
    state = selector_fit.Fitting()
    selector_fit.tend(state)
    assert state.process is not None
    assert state.process.wait(120) == 0
    done = fits.last_fit("classification")
    assert done is not None
    assert done.n_own == 1


def test_advice_and_its_plan_from_the_command_line(
    ships: Path, numbers: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["refit"]) == 0
    assert f"classification: {N_TASKS} datasets x 4 candidates" in capsys.readouterr().out
    assert main(["advise", "numbers"]) == 0
    out = capsys.readouterr().out
    assert "Linear" in out
    assert "On 40 past datasets" in out
    assert main(["advise", "numbers", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"]
    assert main(["advise", "numbers", "--run"]) == 0
    ids = [int(text) for text in capsys.readouterr().out.split()]
    assert ids == advice.jobs_of(numbers.id)
