"""H2O AutoML on a table: one private JVM, every model scored on the same rows while the search goes on."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.datasets import SPLITS
from core.errors import InputError, MetascoutError
from core.events import Artifact, Event, Message, Metric, Progress, TrialDone
from core.scoring import METRICS, Task, check_metric
from core.specs import AutoMLSpec
from runner.automl.deploy import handout
from runner.automl.frames import Rows, load, read, usable
from runner.automl.jvm import Jvm, Stopped, jvm
from runner.automl.models import Holdout, candidate_of, evaluate
from runner.automl.rest import Rest, rows
from runner.shared.baselines import yardstick
from runner.shared.context import Context

_POLL_S = 0.5
_ENSEMBLE_SHARE = 0.12  # of the budget that is kept for combining the models that were found
_SEARCH_SHARE = 0.5  # of the budget that the search has at least, however long the table itself took
_ENSEMBLE_S = 5.0
_CANCEL_S = 2.0
_READY_FRAC = 0.02  # of the progress, when the search begins
_SORT: dict[Task, dict[str, str]] = {
    "binary": {"auc": "AUC", "log_loss": "logloss"},
    "multiclass": {"auc": "logloss", "log_loss": "logloss"},  # H2O has no multiclass AUC unless told so per model
    "regression": {"rmse": "RMSE", "mae": "MAE", "r2": "RMSE"},
}
# H2O's own plan starts with XGBoost, which can take a short budget whole: here a model stands after seconds, then
# the plan goes through the same steps. A group ends before the next one starts.
_PLAN = (
    ("GLM", ("def_1",)),
    ("GBM", ("def_5",)),
    ("XGBoost", ("def_2",)),
    ("DRF", ("def_1",)),
    ("GBM", ("def_2", "def_3", "def_4")),
    ("XGBoost", ("def_1",)),
    ("DeepLearning", ("def_1",)),
    ("GBM", ("def_1",)),
    ("DRF", ("XRT",)),
    ("XGBoost", ("def_3",)),
    ("XGBoost", ("grid_1",)),
    ("GBM", ("grid_1",)),
    ("DeepLearning", ("grid_1", "grid_2", "grid_3")),
    ("GBM", ("lr_annealing",)),
    ("XGBoost", ("lr_search",)),
)
# Lines of AutoML's log that speak of its own set-up, which is not the user's.
_NOISE = re.compile(
    r"Project: |Build control seed|Disabling Algo: .* as requested|steps: \[|AutoML job created"
    r"|added to existing leaderboard|built 0 models|'monotonic'"
)
_FOLDS = 5
_CELLS_PER_CPU_S = 1_000  # of the train rows, with which cross-validated models come in numbers
_BLEND_FRAC = 0.1
_FEW_MODELS = 4
_STOP = {"mean_per_class_error": "logloss"}  # a count of errors is too coarse to stop early by


@dataclass(slots=True)
class _Search:
    """The state of one run: what is asked, what it may take, and what has been seen."""

    spec: AutoMLSpec
    context: Context
    rest: Rest
    holdout: Holdout
    start: float
    folds: int
    seen: set[str] = field(default_factory=set)
    said: dict[str, str] = field(default_factory=dict)  # lines of AutoML's log and their levels
    n_trials: int = 0
    best_error: float = float("inf")

    @property
    def artifacts(self) -> Path:
        return self.context.directory / "artifacts"

    @property
    def left_s(self) -> float:
        return self.start + self.spec.budget_s - time.monotonic()

    @property
    def overdue(self) -> bool:
        return time.monotonic() - self.start > 1.5 * self.spec.budget_s + 60

    @property
    def ensembles(self) -> bool:
        return "StackedEnsemble" in self.spec.algorithms

    @property
    def blends(self) -> bool:
        """Whether ensembles learn on train rows that their members have not seen, for want of folds."""
        return self.ensembles and self.folds == 0


def run(spec: AutoMLSpec, context: Context) -> Iterator[Event]:
    """Searches within the budget and yields each model as it is found, after the yardsticks.

    Raises MetascoutError when nothing was found or the H2O process ended; what was yielded before stays good.
    """
    dataset, start = context.dataset, time.monotonic()
    metric = check_metric(dataset.task, spec.metric)
    yield Progress(0.0, "Starting H2O", float(spec.budget_s))
    yield from _notes(spec, context)
    (context.directory / "artifacts").mkdir(exist_ok=True)
    with jvm(context.directory / "tmp", cpus=context.cpus, memory_bytes=spec.memory_bytes) as server:
        # The yardsticks are fitted while the process comes up.
        valid, test = read(dataset, "valid"), read(dataset, "test")
        yield Progress(0.01, "Fitting the yardsticks", float(spec.budget_s))
        yield from _yardsticks(spec, context, metric, valid, test)
        with suppress(Stopped):
            yield from _search(spec, context, server, metric, valid, test, start)


def _yardsticks(spec: AutoMLSpec, context: Context, metric: str, valid: Rows, test: Rows) -> Iterator[Event]:
    events = yardstick(context.dataset, read(context.dataset, "train"), valid, test, metric=metric, seed=spec.seed)
    while not context.cancelled() and (event := next(events, None)):  # each is fitted when it is asked for
        yield event


def _notes(spec: AutoMLSpec, context: Context) -> Iterator[Event]:
    """What the user should know before the search; raises InputError if there can be none."""
    dataset = context.dataset
    if hidden := [part for part in context.directory.parts if part.startswith(".")]:
        raise InputError(f"H2O refuses files below the hidden folder {hidden[0]!r}: move METASCOUT_HOME out of it.")
    if not usable(dataset):
        raise InputError(f"{dataset.name} has no column to predict {dataset.target!r} from: use at least one feature.")
    texts = [column.name for column in dataset.features if column.type == "text"]
    if texts:
        yield Message(f"Text columns are not used: {', '.join(texts)}.", "warning")


def _folds(spec: AutoMLSpec, context: Context) -> int:
    """As asked; by default five where the budget suffices to train each model six times, else none."""
    if spec.folds is not None:
        return spec.folds
    dataset = context.dataset
    cells = dataset.n_rows["train"] * len(usable(dataset)) * max(1, len(dataset.labels) - 1)
    return _FOLDS if spec.budget_s * context.cpus * _CELLS_PER_CPU_S >= cells else 0


def _search(
    spec: AutoMLSpec, context: Context, server: Jvm, metric: str, valid: Rows, test: Rows, start: float
) -> Iterator[Event]:
    rest = Rest(server, server.wait(context.cancelled), context.cancelled)
    yield Message(f"H2O is up on Java {server.java.version} with {context.cpus} threads.")
    yield Progress(_READY_FRAC, "Bringing the table into H2O", spec.budget_s - (time.monotonic() - start))
    levels = {split: load(rest, context.dataset, split, context.directory / "tmp") for split in SPLITS}
    holdout = Holdout(context.dataset, levels["train"], {"valid": valid.actual, "test": test.actual}, metric)
    search = _Search(spec, context, rest, holdout, start, _folds(spec, context))
    judged = f"{search.folds}-fold cross-validation" if search.folds else "the valid rows, without cross-validation"
    yield Message(f"Models are tuned by {judged}.")
    if search.blends:
        _set_blend_rows_apart(rest, spec.seed)
    yield from handout(rest, context.dataset, holdout.levels, search.artifacts)
    limit_s = search.left_s - _ENSEMBLE_SHARE * spec.budget_s * search.ensembles
    single = [name for name in spec.algorithms if name != "StackedEnsemble"]
    yield from _automl(search, single, max(limit_s, _SEARCH_SHARE * spec.budget_s))
    if search.ensembles and search.n_trials > 1 and not context.cancelled() and not search.overdue:
        yield from _automl(search, ["StackedEnsemble"], max(search.left_s, _ENSEMBLE_S))
    if not search.n_trials and not context.cancelled():
        raise MetascoutError(_no_model(search))
    if not context.cancelled():
        yield Progress(1.0, "Done", 0.0)
    few = search.n_trials < min(spec.max_models, _FEW_MODELS)
    advice = " Few for a choice: give it more time, or fewer folds." if few else ""
    yield Message(
        f"{search.n_trials} models in {time.monotonic() - start:.0f} s.{advice}", "warning" if few else "info"
    )


def _set_blend_rows_apart(rest: Rest, seed: int) -> None:
    """Split H2O's frame `train` into `fit`, and `blend` for the ensembles: the valid rows must only choose."""
    session = rest.post("/4/sessions")["session_key"]
    draws = f"(h2o.runif train {seed})"  # the same ones for both: they depend on the seed alone
    for name, condition in (("fit", ">="), ("blend", "<")):
        ast = f"(assign {name} (rows train ({condition} {draws} {_BLEND_FRAC})))"
        rest.post("/99/Rapids", ast=ast, session_id=session)


def _automl(search: _Search, algorithms: list[str], limit_s: float) -> Iterator[Event]:
    """One AutoML build over some algorithms in `limit_s`; a later one can combine the models of those before it."""
    job = search.rest.post("/99/AutoMLBuilder", body=_plan(search, algorithms, limit_s))["job"]
    stopped_at = None
    while True:
        running = job["status"] in ("CREATED", "RUNNING")
        state = search.rest.get("/99/AutoML/metascout", verbosity="info")
        yield from _log(search, state)
        yield from _new_models(search, state)
        if not running:
            break
        if stopped_at is None and (search.context.cancelled() or search.overdue):
            search.rest.cancel(job)
            stopped_at = time.monotonic()
        if stopped_at is not None and time.monotonic() - stopped_at > _CANCEL_S:
            break
        yield _progress(search, job)
        time.sleep(_POLL_S if stopped_at is None else 0.1)
        job = search.rest.job(job)
    if job["status"] == "FAILED":
        yield Message(f"AutoML ended early: {(job['exception'] or 'no reason given').splitlines()[0]}", "warning")
    if search.overdue:
        yield Message("AutoML was stopped: it had run for 1.5 times its budget and a minute.", "warning")


def _plan(search: _Search, algorithms: list[str], limit_s: float) -> dict[str, Any]:
    spec, dataset = search.spec, search.context.dataset
    sort = _SORT[dataset.task].get(search.holdout.metric, "mean_per_class_error")
    texts = [column.key for column in dataset.features if column.type == "text"]
    frames = {"training_frame": "fit" if search.blends else "train", "leaderboard_frame": "valid"}
    if search.folds == 0:
        frames["validation_frame"] = "valid"
    if search.blends:
        frames["blending_frame"] = "blend"
    return {
        "build_control": {
            "project_name": "metascout",
            "nfolds": search.folds,
            "balance_classes": spec.balance_classes and dataset.task != "regression",
            "keep_cross_validation_predictions": search.ensembles and search.folds > 0,
            "stopping_criteria": {
                "max_runtime_secs": limit_s,
                "max_models": spec.max_models,
                "seed": spec.seed,
                "stopping_metric": _STOP.get(sort, sort),
            },
        },
        "build_models": _steps(algorithms),
        "input_spec": frames | {
            "response_column": dataset.target_column.key,
            "sort_metric": sort,
            "ignored_columns": texts,
        },
    }  # fmt: skip


def _steps(algorithms: Sequence[str]) -> dict[str, Any]:
    if "StackedEnsemble" in algorithms:  # its steps have names of their own in each version of H2O
        return {"include_algos": list(algorithms)}
    plan = [
        {"name": name, "steps": [{"id": step, "group": group} for step in steps]}
        for group, (name, steps) in enumerate(_PLAN, start=1)
        if name in algorithms
    ]
    return {"modeling_plan": plan}


def _new_models(search: _Search, state: dict[str, Any]) -> Iterator[Event]:
    for model_id in (model["name"] for model in state["leaderboard"]["models"]):
        if model_id in search.seen:
            continue
        if search.context.cancelled():
            return
        search.seen.add(model_id)
        try:
            trial, mojo = evaluate(search.rest, model_id, search.holdout, search.artifacts, _step(state, model_id))
        except MetascoutError as error:
            search.rest.jvm.check()  # the process is gone: that is the error to tell
            yield Message(f"{candidate_of(model_id)} is left out: {error}", "warning")
            continue
        search.n_trials += 1
        yield trial
        yield Artifact(mojo.name, str(mojo), "mojo", trial.candidate)
        yield _best(search, trial)


def _best(search: _Search, trial: TrialDone) -> Metric:
    score = next(score for score in trial.scores if score.metric == search.holdout.metric)
    search.best_error = min(search.best_error, score.valid_error)
    higher = METRICS[score.metric].higher_is_better
    return Metric("best_valid", 1 - search.best_error if higher else search.best_error, search.n_trials)


def _log(search: _Search, state: dict[str, Any]) -> Iterator[Message]:
    """The new lines of AutoML's log, less those on its own frames and plans, with the user's column names."""
    names = {column.key: column.name for column in search.context.dataset.columns}
    for row in rows(state["event_log_table"]):
        text = " ".join(candidate_of(row["message"]).removeprefix("_train param, ").split())
        text = re.sub(r"\bc\d+\b", lambda found: names.get(found[0], found[0]), text)
        if text in search.said or row["stage"] == "DataImport" or _NOISE.search(text):
            continue
        message = Message(text, "warning" if row["level"] in ("WARN", "ERROR") else "info")
        search.said[text] = message.level
        yield message


def _step(state: dict[str, Any], model_id: str) -> str | None:
    """The step of AutoML's plan that made a model, e.g. "XGBoost def_2"."""
    for row in rows(state["event_log_table"]):
        if (row["name"] or "").startswith("start_"):
            made = re.search(r"starting (\S+)", row["message"])
            if made and model_id.startswith(made[1]):
                return str(row["name"]).removeprefix("start_").replace("_", " ", 1)
    return None


def _progress(search: _Search, job: dict[str, Any]) -> Progress:
    elapsed = time.monotonic() - search.start
    by_time, by_models = elapsed / search.spec.budget_s, search.n_trials / search.spec.max_models
    fraction = min(0.99, max(_READY_FRAC, by_time, by_models))
    remaining = min(search.left_s, elapsed / fraction - elapsed)
    doing = re.search(r"\[([^(\]]+)", job["progress_msg"] or "")  # without H2O's explanation in brackets
    return Progress(fraction, f"AutoML: {doing[1].strip()}" if doing else "AutoML", max(0.0, remaining))


def _no_model(search: _Search) -> str:
    lines = [text for text, level in search.said.items() if level == "warning" or re.search("cancelled|failed", text)]
    heard = f" H2O says: {' | '.join(lines[:5])}" if lines else ""
    return (
        f"AutoML found no model in {search.spec.budget_s} s with {', '.join(search.spec.algorithms)}: "
        f"give it more time, other algorithms, or columns that tell more of {search.context.dataset.target!r}.{heard}"
    )
