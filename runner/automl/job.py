"""H2O AutoML on a table: one private JVM, every model scored on the same rows while the search goes on."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from core.datasets import SPLITS, Split
from core.errors import InputError, MetascoutError
from core.events import Artifact, Event, Message, Progress
from core.scoring import Task, check_metric
from core.specs import AutoMLSpec
from runner.automl.deploy import write_shared_files
from runner.automl.frames import load
from runner.automl.jvm import Jvm, Stopped, jvm
from runner.automl.models import Target, candidate_of, evaluate
from runner.automl.rest import Rest, table_rows
from runner.shared.baselines import fit_baselines
from runner.shared.context import Context
from runner.shared.report import Best
from runner.shared.rows import Rows, check_features, plain_columns, read

_POLL_S = 0.5
_ENSEMBLE_SHARE = 0.12  # of the budget, reserved for combining the models
_SEARCH_SHARE = 0.5  # of the budget: the minimum for the search, however long the import of the table took
_ENSEMBLE_S = 5.0
_CANCEL_S = 2.0
_READY_FRAC = 0.02  # of the progress, when the search begins
_SORT: dict[Task, dict[str, str]] = {
    "binary": {"auc": "AUC", "log_loss": "logloss"},
    "multiclass": {"auc": "logloss", "log_loss": "logloss"},  # H2O has a multiclass AUC only as a setting of each model
    "regression": {"rmse": "RMSE", "mae": "MAE", "r2": "RMSE"},
}
# H2O's own plan starts with XGBoost, which can use up a short budget. This plan has a first model after seconds, then
# the same steps. A group ends before the next one starts.
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
# Lines of AutoML's log about its own set-up.
_NOISE = re.compile(
    r"Project: |Build control seed|Disabling Algo: .* as requested|steps: \[|AutoML job created"
    r"|added to existing leaderboard|built 0 models|'monotonic'"
)
_FOLDS = 5
_CELLS_PER_CPU_S = 1_000  # of the train rows; with fewer a second there are too few cross-validated models
_BLEND_FRAC = 0.1
_FEW_MODELS = 4
_STOP = {"mean_per_class_error": "logloss"}  # a count of errors is too coarse to stop early by


@dataclass(slots=True)
class _Search:
    """The state of one run."""

    spec: AutoMLSpec
    context: Context
    rest: Rest
    target: Target
    best: Best
    start: float
    folds: int
    model_ids: set[str] = field(default_factory=set)  # the models reported so far
    log: dict[str, str] = field(default_factory=dict)  # lines of AutoML's log and their levels

    @property
    def remaining_s(self) -> float:
        return self.start + self.spec.budget_s - time.monotonic()

    @property
    def overdue(self) -> bool:
        return time.monotonic() - self.start > 1.5 * self.spec.budget_s + 60

    @property
    def ensembles(self) -> bool:
        return "StackedEnsemble" in self.spec.algorithms

    @property
    def blends(self) -> bool:
        """Whether ensembles learn on train rows set apart from those of their members, as there are no folds."""
        return self.ensembles and self.folds == 0


def run(spec: AutoMLSpec, context: Context) -> Iterator[Event]:
    """Search within the budget; yield the baselines first, then each model as soon as H2O has it.

    Raises MetascoutError when there is no model or the H2O process ended; the events before it stay valid.
    """
    dataset, start = context.dataset, time.monotonic()
    metric = check_metric(dataset.task, spec.metric)
    yield Progress(0.0, "Starting H2O", float(spec.budget_s))
    yield from _notes(spec, context)
    context.artifacts.mkdir(exist_ok=True)
    with jvm(context.directory / "tmp", cpus=context.cpus, memory_bytes=spec.memory_bytes) as server:
        # The baselines are fitted while the process starts.
        rows: dict[Split, Rows] = {split: read(dataset, split, texts=False) for split in ("valid", "test")}
        yield Progress(0.01, "Fitting the baselines", float(spec.budget_s))
        yield from _baselines(spec, context, metric, rows)
        target = Target(dataset, metric, {split: part.actual for split, part in rows.items()})
        del rows
        with suppress(Stopped):
            yield from _search(spec, context, server, target, start)


def _baselines(spec: AutoMLSpec, context: Context, metric: str, rows: dict[Split, Rows]) -> Iterator[Event]:
    rows = {**rows, "train": read(context.dataset, "train", texts=False)}
    events = fit_baselines(context.dataset, rows, metric=metric, seed=spec.seed)
    while not context.cancelled() and (event := next(events, None)):  # each is fitted when the next event is taken
        yield event


def _notes(spec: AutoMLSpec, context: Context) -> Iterator[Event]:
    """Yield what the user should know before the search; raise InputError where no search is possible."""
    dataset = context.dataset
    if hidden := [part for part in context.directory.parts if part.startswith(".")]:
        text = f"H2O refuses files below the hidden folder {hidden[0]!r}."
        raise InputError(text, value=hidden[0], remedy="Move METASCOUT_HOME out of it.")
    check_features(dataset, plain_columns(dataset))
    texts = [column.name for column in dataset.features if column.type == "text"]
    if texts:
        yield Message(f"Text columns are not used: {', '.join(texts)}.", "warning")


def _folds(spec: AutoMLSpec, context: Context) -> int:
    """Return the spec's folds; by default five where the budget suffices to train each model six times, else none."""
    if spec.folds is not None:
        return spec.folds
    dataset = context.dataset
    cells = dataset.n_rows["train"] * len(plain_columns(dataset)) * max(1, len(dataset.labels) - 1)
    return _FOLDS if spec.budget_s * context.cpus * _CELLS_PER_CPU_S >= cells else 0


def _search(spec: AutoMLSpec, context: Context, server: Jvm, target: Target, start: float) -> Iterator[Event]:
    rest = Rest(server, server.wait(context.cancelled), context.cancelled)
    yield Message(f"H2O runs on Java {server.java.version} with {context.cpus} threads.")
    yield Progress(_READY_FRAC, "Importing the table into H2O", spec.budget_s - (time.monotonic() - start))
    levels = {split: load(rest, context.dataset, split, context.directory / "tmp") for split in SPLITS}
    target = replace(target, levels=levels["train"])
    search = _Search(spec, context, rest, target, Best(target.metric), start, _folds(spec, context))
    method = f"{search.folds}-fold cross-validation" if search.folds else "the validation set, without cross-validation"
    yield Message(f"Models are tuned on {method}.")
    if search.blends:
        _set_blend_rows_apart(rest, spec.seed)
    yield from write_shared_files(rest, context.dataset, target.levels, search.context.artifacts)
    yield from _builds(search)
    yield from _summary(search)


def _builds(search: _Search) -> Iterator[Event]:
    """Build the single models, then the ensembles of them."""
    spec, context = search.spec, search.context
    limit_s = search.remaining_s - _ENSEMBLE_SHARE * spec.budget_s * search.ensembles
    single = [name for name in spec.algorithms if name != "StackedEnsemble"]
    yield from _automl(search, single, max(limit_s, _SEARCH_SHARE * spec.budget_s))
    if search.ensembles and search.best.n_trials > 1 and not context.cancelled() and not search.overdue:
        yield from _automl(search, ["StackedEnsemble"], max(search.remaining_s, _ENSEMBLE_S))


def _summary(search: _Search) -> Iterator[Event]:
    if not search.best.n_trials and not search.context.cancelled():
        raise MetascoutError(_no_model(search))
    if not search.context.cancelled():
        yield Progress(1.0, "Done", 0.0)
    few = search.best.n_trials < min(search.spec.max_models, _FEW_MODELS)
    advice = " Few models were trained: use a longer time budget, or fewer folds." if few else ""
    elapsed_s = time.monotonic() - search.start
    yield Message(f"{search.best.n_trials} models in {elapsed_s:.0f} s.{advice}", "warning" if few else "info")


def _set_blend_rows_apart(rest: Rest, seed: int) -> None:
    """Split H2O's frame `train` into `fit`, and `blend` for the ensembles, as the validation set must only choose."""
    session = rest.post("/4/sessions")["session_key"]
    draws = f"(h2o.runif train {seed})"  # the same for both frames: they depend on the seed alone
    for name, condition in (("fit", ">="), ("blend", "<")):
        ast = f"(assign {name} (rows train ({condition} {draws} {_BLEND_FRAC})))"
        rest.post("/99/Rapids", ast=ast, session_id=session)


def _automl(search: _Search, algorithms: list[str], limit_s: float) -> Iterator[Event]:
    """Run one AutoML build of some algorithms in `limit_s`; a later build can combine the models of earlier ones."""
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
        yield Message("AutoML was stopped: it ran for more than 1.5 times its budget and a minute.", "warning")


def _plan(search: _Search, algorithms: list[str], limit_s: float) -> dict[str, Any]:
    spec, dataset = search.spec, search.context.dataset
    sort = _SORT[dataset.task].get(search.target.metric, "mean_per_class_error")
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
    if "StackedEnsemble" in algorithms:  # each version of H2O names its steps differently
        return {"include_algos": list(algorithms)}
    plan = [
        {"name": name, "steps": [{"id": step, "group": group} for step in steps]}
        for group, (name, steps) in enumerate(_PLAN, start=1)
        if name in algorithms
    ]
    return {"modeling_plan": plan}


def _new_models(search: _Search, state: dict[str, Any]) -> Iterator[Event]:
    for model_id in (model["name"] for model in state["leaderboard"]["models"]):
        if model_id in search.model_ids:
            continue
        if search.context.cancelled():
            return
        search.model_ids.add(model_id)
        try:
            trial, mojo = evaluate(
                search.rest, model_id, search.target, search.context.artifacts, _step(state, model_id)
            )
        except MetascoutError as error:
            search.rest.jvm.check()  # where the process is gone, that is the error
            yield Message(f"{candidate_of(model_id)} is left out: {error}", "warning")
            continue
        yield trial
        yield Artifact(mojo.name, str(mojo), "mojo", trial.candidate)
        yield search.best.add(trial)


def _log(search: _Search, state: dict[str, Any]) -> Iterator[Message]:
    """Yield the new lines of AutoML's log with the user's column names, without those on its frames and plans."""
    names = {column.key: column.name for column in search.context.dataset.columns}
    for row in table_rows(state["event_log_table"]):
        text = " ".join(candidate_of(row["message"]).removeprefix("_train param, ").split())
        text = re.sub(r"\bc\d+\b", lambda match: names.get(match[0], match[0]), text)
        if text in search.log or row["stage"] == "DataImport" or _NOISE.search(text):
            continue
        message = Message(text, "warning" if row["level"] in ("WARN", "ERROR") else "info")
        search.log[text] = message.level
        yield message


def _step(state: dict[str, Any], model_id: str) -> str | None:
    """Return the step of AutoML's plan that made a model, e.g. "XGBoost def_2"."""
    for row in table_rows(state["event_log_table"]):
        if (row["name"] or "").startswith("start_"):
            match = re.search(r"starting (\S+)", row["message"])
            if match and model_id.startswith(match[1]):
                return str(row["name"]).removeprefix("start_").replace("_", " ", 1)
    return None


def _progress(search: _Search, job: dict[str, Any]) -> Progress:
    elapsed = time.monotonic() - search.start
    by_time, by_models = elapsed / search.spec.budget_s, search.best.n_trials / search.spec.max_models
    fraction = min(0.99, max(_READY_FRAC, by_time, by_models))
    remaining = min(search.remaining_s, elapsed / fraction - elapsed)
    stage = re.search(r"\[([^(\]]+)", job["progress_msg"] or "")  # without H2O's explanation in brackets
    return Progress(fraction, f"AutoML: {stage[1].strip()}" if stage else "AutoML", max(0.0, remaining))


def _no_model(search: _Search) -> str:
    lines = [text for text, level in search.log.items() if level == "warning" or re.search("cancelled|failed", text)]
    h2o = f" H2O says: {' | '.join(lines[:5])}" if lines else ""
    return (
        f"AutoML found no model in {search.spec.budget_s} s with {', '.join(search.spec.algorithms)}: give it more "
        f"time, other algorithms, or columns that say more about {search.context.dataset.target!r}.{h2o}"
    )
