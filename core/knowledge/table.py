"""Meta-knowledge: each candidate's error on each dataset, from the shipped file, own jobs and imported scenarios."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from core import metafeatures, results
from core.knowledge import scenarios
from core.knowledge.scenarios import TaskType
from core.scoring import DEFAULT_METRIC, Task
from core.store import database

SHIPPED = Path(__file__).parents[1] / "knowledge.parquet"
FEATURE = "feature:"  # begins the name of a column that is a meta-feature
# The metrics that compare between datasets: RMSE has the unit of its target, and log loss has no upper end.
METRIC: dict[Task, str] = DEFAULT_METRIC | {"multiclass": "auc", "regression": "r2"}

MIN_ROWS = 300  # train rows of a shipped dataset: on fewer, differences are mostly noise (see docs/benchmarks.md)
# The error of guessing. How much worse than that a failure is says nothing, and would outweigh what matters.
_CHANCE = {"auc": 0.5, "r2": 1.0}
_MIN_SHARED = 0.5  # of our meta-features: below it a scenario's datasets cannot be compared with ours
_PER_PAIR = ("candidate", "error", "fit_s")
_ABOUT = ("origin", "mark", "task", "metric", "family")


@dataclass(frozen=True, slots=True, eq=False)
class Knowledge:
    """What is known, each table with the same index of datasets; errors are lower is better.

    No error of a shipped dataset or of an own result is worse than that of guessing.

    `about` has origin ("shipped", "own", or a scenario's name), mark (what sort of dataset it is, in a few words),
    task ("binary", "multiclass", "regression"; a scenario's is "classification" or "regression"), metric, and family
    (the data that it was made from; datasets of one family must not evaluate one another).
    """

    features: pd.DataFrame  # a column per meta-feature, NaN where unknown
    errors: pd.DataFrame  # a column per candidate, NaN where it was not run
    fit_s: pd.DataFrame  # the same shape as errors, NaN where unknown
    about: pd.DataFrame


def our_features(task_type: TaskType) -> list[str]:
    """Return the names of our meta-features, by which datasets are compared."""
    return _feature_names(from_jobs(task_type), from_shipped_file(task_type))


def advises(features: Collection[str], ours: Collection[str]) -> bool:
    """Return whether a scenario with these meta-features may advise on new datasets: it has at least half of ours."""
    return len(ours) > 0 and len(set(features) & set(ours)) >= _MIN_SHARED * len(ours)


def overview() -> pd.DataFrame:
    """Return all scenarios as a table, the last imported first; columns as the fields of Scenario, and `advises`."""
    listed = scenarios.all_scenarios()
    ours = {task_type: our_features(task_type) for task_type in {scenario.task_type for scenario in listed}}
    frame = pd.DataFrame(map(asdict, listed), columns=scenarios.COLUMNS)
    return frame.assign(advises=[advises(scenarios.feature_names(each.name), ours[each.task_type]) for each in listed])


def gather(task_type: TaskType) -> Knowledge:
    """Return all that may advise on a new dataset: the shipped file, own jobs, and the scenarios that fit.

    An own dataset replaces a shipped one with its name or content. A scenario fits if it has at least half of our
    meta-features; its datasets are called "scenario: dataset". Features are ours.
    """
    own = from_jobs(task_type)
    shipped = _without(from_shipped_file(task_type), own)
    names = _feature_names(own, shipped)
    fitting = (
        each.name
        for each in scenarios.all_scenarios()
        if each.task_type == task_type and advises(scenarios.feature_names(each.name), names)
    )
    parts = [own, shipped, *map(from_scenario, fitting)]
    features, errors, fit_s, about = (
        pd.concat([getattr(part, table) for part in parts if len(part.about)] or [getattr(own, table)])
        for table in ("features", "errors", "fit_s", "about")
    )
    return Knowledge(features.reindex(columns=names), errors, fit_s, about[list(_ABOUT)])


def from_shipped_file(task_type: TaskType) -> Knowledge:
    """Return what ships with the product: results of our own engines, as the mark of each dataset says.

    Very small datasets are left out.
    """
    rows = pd.read_parquet(SHIPPED) if SHIPPED.exists() else pd.DataFrame(columns=["task", "kind", *_PER_PAIR])
    rows = rows[(rows["kind"] == "regression") == (task_type == "regression")]
    if (n_rows := f"{FEATURE}n_rows") in rows:
        rows = rows[~(rows[n_rows] < MIN_ROWS)]
    rows = rows.rename(columns={"task": "dataset", "kind": "task", "origin": "mark"}).assign(origin="shipped")
    wide = rows.drop_duplicates("dataset").set_index("dataset")
    features = wide[[name for name in wide if str(name).startswith(FEATURE)]]
    about = wide.reindex(columns=[*_ABOUT, "fingerprint"])
    return _cap(_pivot(rows, features.rename(columns=lambda name: name.removeprefix(FEATURE)), about))


def from_jobs(task_type: TaskType) -> Knowledge:
    """Return the results of this store's jobs: for each candidate the test error of its trial with the best validation.

    The error is 1 - AUC for classes, and 1 - R² for numbers.
    """
    rows = results.best_by_candidate(METRIC)
    rows = rows[((rows["task"] == "regression") == (task_type == "regression")) & np.isfinite(rows["error"])]
    rows = rows.rename(columns={"source": "mark"}).assign(origin="own")
    rows["family"] = rows["dataset"]
    with database.transaction() as connection:
        features = connection.execute(
            "SELECT d.name AS dataset, f.name, f.value FROM meta_features f JOIN datasets d ON d.id = f.dataset_id"
        ).df()
    about = rows.drop_duplicates("dataset").set_index("dataset")[[*_ABOUT, "fingerprint"]]
    return _cap(_pivot(rows, features.pivot(index="dataset", columns="name", values="value"), about))


def from_scenario(name: str) -> Knowledge:
    """Return an imported scenario; its datasets are called "scenario: dataset". Raises InputError if there is none."""
    scenario = scenarios.get(name)
    rows, values = scenarios.errors(name), scenarios.features(name)
    about = pd.DataFrame(index=pd.Index(rows["dataset"].unique(), name="dataset"))
    about = about.assign(
        origin=name, mark=scenario.source, task=scenario.task_type, metric=scenario.metric, family=about.index
    )
    return _pivot(rows, values.pivot(index="dataset", columns="name", values="value"), about)


def stamp() -> str:
    """Return a text that changes whenever `gather` may return something else; takes a few milliseconds."""
    file = SHIPPED.stat() if SHIPPED.exists() else None
    with database.transaction() as connection:
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM trials), (SELECT coalesce(sum(attempt), 0) FROM jobs),"
            " (SELECT count(*) FROM datasets), (SELECT count(*) FROM meta_features),"
            " (SELECT count(*) || '@' || coalesce(max(imported_at), 0) FROM knowledge_scenarios)"
        ).fetchall()[0]
    return "-".join(map(str, (*counts, *((file.st_size, file.st_mtime_ns) if file else ()))))


def _pivot(rows: pd.DataFrame, features: pd.DataFrame, about: pd.DataFrame) -> Knowledge:
    """Return rows of dataset, candidate, error, fit_s as the tables, in the order of `about`."""
    errors, fit_s = (
        rows.pivot(index="dataset", columns="candidate", values=value).reindex(about.index).astype(float)
        for value in ("error", "fit_s")
    )
    return Knowledge(features.reindex(about.index).astype(float), errors, fit_s, about)


def _cap(knowledge: Knowledge) -> Knowledge:
    """Return the same with no error worse than that of guessing."""
    worst = knowledge.about["metric"].map(_CHANCE).fillna(np.inf).astype(float)
    return replace(knowledge, errors=knowledge.errors.clip(upper=worst, axis=0))


def _without(knowledge: Knowledge, others: Knowledge) -> Knowledge:
    """Return the knowledge on datasets that the others do not have, neither by name nor by content."""
    about = knowledge.about
    same_content = about["fingerprint"].notna() & about["fingerprint"].isin(others.about["fingerprint"])
    names = about.index[~(same_content | about.index.isin(others.about.index))]
    return Knowledge(
        knowledge.features.loc[names], knowledge.errors.loc[names], knowledge.fit_s.loc[names], about.loc[names]
    )


def _feature_names(own: Knowledge, shipped: Knowledge) -> list[str]:
    """Return our meta-features; before there is any dataset with some, all that we can compute."""
    return list(dict.fromkeys([*own.features.columns, *shipped.features.columns])) or list(metafeatures.NAMES)
