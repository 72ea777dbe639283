"""Meta-knowledge: which error each candidate had on each dataset, from what ships, own jobs and imported scenarios.

A scenario is an imported table, kept in the store until it is removed.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import asdict, astuple, dataclass, fields, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from core import metafeatures, results
from core.errors import InputError
from core.scoring import DEFAULT_METRIC, Task
from core.store import database

TaskKind = Literal["classification", "regression"]

SHIPPED = Path(__file__).parents[1] / "knowledge.parquet"
FEATURE = "feature:"  # before the name of a column that is a meta-feature whatever it holds
# What compares between datasets: RMSE has the unit of its target, and log loss has no upper end.
METRIC: dict[Task, str] = DEFAULT_METRIC | {"multiclass": "auc", "regression": "r2"}

FEWEST_ROWS = 300  # train rows of a shipped dataset: what differs on fewer is mostly noise (see docs/benchmarks.md)
# What knowing nothing costs. How much worse than that a failure is says nothing, and would outweigh what matters.
_CHANCE = {"auc": 0.5, "r2": 1.0}
_LEAST_SHARED = 0.5  # of our meta-features: below it a scenario's datasets cannot be compared with ours
_OF_REGRESSION = re.compile(r"(^|_)(r2|mae|mse|rmse|rmsle|mape)(_|$)", re.IGNORECASE)
_PER_PAIR = ("candidate", "error", "fit_s")
_ABOUT = ("origin", "mark", "task", "metric", "family")


@dataclass(frozen=True, slots=True, eq=False)
class Knowledge:
    """What is known, each table with the same index of datasets; errors are lower is better.

    Of what ships and of own results no error is worse than that of chance.

    `about` has origin ("shipped", "own", or a scenario's name), mark (what kind of dataset it is, in a few words),
    task ("binary", "multiclass", "regression"; a scenario's is "classification" or "regression"), metric, and family
    (the data that it was made from; datasets of one family must not judge one another).
    """

    features: pd.DataFrame  # a column a meta-feature, NaN where unknown
    errors: pd.DataFrame  # a column a candidate, NaN where it was not run
    fit_s: pd.DataFrame  # of the shape of errors, NaN where unknown
    about: pd.DataFrame


@dataclass(frozen=True, slots=True)
class Scenario:
    """An imported table. `n_rows` counts its pairs of a dataset and a candidate; the fields are a row of the store."""

    name: str
    metric: str
    higher_is_better: bool  # of the metric; errors are stored lower is better
    source: str  # the file's name
    owner: str
    imported_at: float
    n_datasets: int
    n_candidates: int
    n_rows: int

    @property
    def kind(self) -> TaskKind:
        """What its datasets ask for, as far as the metric's name tells."""
        return kind_of(self.metric)


_STORED = ", ".join(field.name for field in fields(Scenario))


def kind_of(metric: str) -> TaskKind:
    """What is predicted where this is the metric, as far as its name tells."""
    return "regression" if _OF_REGRESSION.search(metric) else "classification"


def our_features(kind: TaskKind) -> list[str]:
    """The names of our meta-features: a dataset is compared with others by them."""
    return _ours(own(kind), shipped(kind))


def advises(features: Collection[str], ours: Collection[str]) -> bool:
    """Whether a scenario with these meta-features may advise on new datasets: it carries at least half of ours."""
    return len(ours) > 0 and len(set(features) & set(ours)) >= _LEAST_SHARED * len(ours)


def gather(kind: TaskKind) -> Knowledge:
    """All that may advise on a new dataset: what ships, what own jobs found, and the scenarios that fit.

    An own dataset stands in place of a shipped one of its name or content. A scenario fits if it carries at least half
    of our meta-features; its datasets are called "scenario: dataset". Features are ours.
    """
    mine, rest = own(kind), shipped(kind)
    rest = _without(rest, mine)
    names = _ours(mine, rest)
    fitting = (each.name for each in scenarios() if each.kind == kind and advises(_features(each.name), names))
    parts = [mine, rest, *map(of_scenario, fitting)]
    features, errors, fit_s, about = (
        pd.concat([getattr(part, table) for part in parts if len(part.about)] or [getattr(mine, table)])
        for table in ("features", "errors", "fit_s", "about")
    )
    return Knowledge(features.reindex(columns=names), errors, fit_s, about[list(_ABOUT)])


def shipped(kind: TaskKind) -> Knowledge:
    """What comes with the project: measured by our own portfolio, as the mark of each dataset says.

    Very small datasets are left out.
    """
    rows = pd.read_parquet(SHIPPED) if SHIPPED.exists() else pd.DataFrame(columns=["task", "kind", *_PER_PAIR])
    rows = rows[(rows["kind"] == "regression") == (kind == "regression")]
    if (n_rows := f"{FEATURE}n_rows") in rows:
        rows = rows[~(rows[n_rows] < FEWEST_ROWS)]
    rows = rows.rename(columns={"task": "dataset", "kind": "task", "origin": "mark"}).assign(origin="shipped")
    wide = rows.drop_duplicates("dataset").set_index("dataset")
    features = wide[[name for name in wide if str(name).startswith(FEATURE)]]
    about = wide.reindex(columns=[*_ABOUT, "fingerprint"])
    return _capped(_knowledge(rows, features.rename(columns=lambda name: name.removeprefix(FEATURE)), about))


def own(kind: TaskKind) -> Knowledge:
    """What the jobs of this store found: the test error of the trial that valid chose, of each candidate.

    The error is 1 - AUC for classes, and 1 - R², the share of the variance that is left, for numbers.
    """
    rows = results.chosen_trials(METRIC)
    rows = rows[((rows["task"] == "regression") == (kind == "regression")) & np.isfinite(rows["error"])]
    rows = rows.rename(columns={"source": "mark"}).assign(origin="own")
    rows["family"] = rows["dataset"]
    with database.transaction() as connection:
        features = connection.execute(
            "SELECT d.name AS dataset, f.name, f.value FROM meta_features f JOIN datasets d ON d.id = f.dataset_id"
        ).df()
    about = rows.drop_duplicates("dataset").set_index("dataset")[[*_ABOUT, "fingerprint"]]
    return _capped(_knowledge(rows, features.pivot(index="dataset", columns="name", values="value"), about))


def of_scenario(name: str) -> Knowledge:
    """An imported scenario; its datasets are called "scenario: dataset". Raises InputError where there is none."""
    scenario = get(name)
    prefixed = "scenario || ': ' || dataset AS dataset"
    rows = _read(f"SELECT {prefixed}, candidate, error, fit_s FROM knowledge_errors WHERE scenario = ?", name)
    values = _read(f"SELECT {prefixed}, name, value FROM knowledge_features WHERE scenario = ?", name)
    about = pd.DataFrame(index=pd.Index(rows["dataset"].unique(), name="dataset"))
    about = about.assign(
        origin=name, mark=scenario.source, task=scenario.kind, metric=scenario.metric, family=about.index
    )
    return _knowledge(rows, values.pivot(index="dataset", columns="name", values="value"), about)


def stamp() -> str:
    """A text that changes whenever `gather` may give something else; it costs a few milliseconds."""
    file = SHIPPED.stat() if SHIPPED.exists() else None
    with database.transaction() as connection:
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM trials), (SELECT coalesce(sum(attempt), 0) FROM jobs),"
            " (SELECT count(*) FROM datasets), (SELECT count(*) FROM meta_features),"
            " (SELECT count(*) || '@' || coalesce(max(imported_at), 0) FROM knowledge_scenarios)"
        ).fetchall()[0]
    return "-".join(map(str, (*counts, *((file.st_size, file.st_mtime_ns) if file else ()))))


def scenarios() -> list[Scenario]:
    """All scenarios, the last imported first."""
    with database.transaction() as connection:
        rows = connection.execute(f"SELECT {_STORED} FROM knowledge_scenarios ORDER BY imported_at DESC").fetchall()
    return [Scenario(*row) for row in rows]


def overview() -> pd.DataFrame:
    """All scenarios as a table, the last imported first; columns as the fields of Scenario, and `advises`."""
    known = scenarios()
    ours = {kind: our_features(kind) for kind in {each.kind for each in known}}
    frame = pd.DataFrame(map(asdict, known), columns=[field.name for field in fields(Scenario)])
    return frame.assign(advises=[advises(_features(each.name), ours[each.kind]) for each in known])


def get(name: str) -> Scenario:
    """A scenario by its name. Raises InputError where there is none."""
    known = {scenario.name: scenario for scenario in scenarios()}
    if name not in known:
        there = f"there are {', '.join(sorted(known))}" if known else "none has been imported"
        raise InputError(f"There is no scenario {name!r}; {there}.")
    return known[name]


def check_free(name: str) -> None:
    """Raises InputError where a scenario has the name already."""
    if any(scenario.name == name for scenario in scenarios()):
        raise _taken(name)


def add(scenario: Scenario, errors: Path, features: Path) -> None:
    """Save a scenario, all of it or nothing.

    Parquet files: errors has dataset, candidate, error, fit_s; features has dataset, name, value. Raises InputError
    where the name is taken.
    """
    marks = ", ".join("?" * len(fields(Scenario)))
    with database.transaction(write=True) as connection:
        if connection.execute("SELECT 1 FROM knowledge_scenarios WHERE name = ?", [scenario.name]).fetchall():
            raise _taken(scenario.name)
        connection.execute(f"INSERT INTO knowledge_scenarios ({_STORED}) VALUES ({marks})", astuple(scenario))
        for table, file, columns in (
            ("knowledge_errors", errors, "dataset, candidate, error, fit_s"),
            ("knowledge_features", features, "dataset, name, value"),
        ):
            statement = f"INSERT INTO {table} SELECT ?, {columns} FROM read_parquet(?)"
            connection.execute(statement, [scenario.name, str(file)])


def remove(name: str) -> None:
    """Delete a scenario with its errors and features. Raises InputError where there is none."""
    get(name)
    with database.transaction(write=True) as connection:
        connection.execute("DELETE FROM knowledge_scenarios WHERE name = ?", [name])
        for table in ("knowledge_errors", "knowledge_features"):
            connection.execute(f"DELETE FROM {table} WHERE scenario = ?", [name])


def _knowledge(rows: pd.DataFrame, features: pd.DataFrame, about: pd.DataFrame) -> Knowledge:
    """Rows of dataset, candidate, error, fit_s as the tables, in the order of `about`."""
    errors, fit_s = (
        rows.pivot(index="dataset", columns="candidate", values=value).reindex(about.index).astype(float)
        for value in ("error", "fit_s")
    )
    return Knowledge(features.reindex(about.index).astype(float), errors, fit_s, about)


def _capped(known: Knowledge) -> Knowledge:
    """The same with no error worse than that of chance."""
    worst = known.about["metric"].map(_CHANCE).fillna(np.inf).astype(float)
    return replace(known, errors=known.errors.clip(upper=worst, axis=0))


def _without(knowledge: Knowledge, others: Knowledge) -> Knowledge:
    """The knowledge on datasets that the others do not have, neither by name nor by content."""
    about = knowledge.about
    known = about["fingerprint"].notna() & about["fingerprint"].isin(others.about["fingerprint"])
    kept = about.index[~(known | about.index.isin(others.about.index))]
    return Knowledge(
        knowledge.features.loc[kept], knowledge.errors.loc[kept], knowledge.fit_s.loc[kept], about.loc[kept]
    )


def _ours(mine: Knowledge, rest: Knowledge) -> list[str]:
    """Our meta-features; before any dataset has been described, all that would be."""
    return list(dict.fromkeys([*mine.features.columns, *rest.features.columns])) or list(metafeatures.NAMES)


def _features(scenario: str) -> list[str]:
    return list(_read("SELECT DISTINCT name FROM knowledge_features WHERE scenario = ?", scenario)["name"])


def _read(query: str, name: str) -> pd.DataFrame:
    with database.transaction() as connection:
        return connection.execute(query, [name]).df()


def _taken(name: str) -> InputError:
    return InputError(f"The name {name!r} is taken by a scenario. Choose another, or remove that one first.")
