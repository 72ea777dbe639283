"""Scenarios: imported tables of errors, kept in the store until they are removed.

This module writes the tables `knowledge_scenarios`, `knowledge_errors` and `knowledge_features`.
"""

from __future__ import annotations

import re
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal, get_args

import pandas as pd

from core.errors import InputError
from core.store import database

TaskType = Literal["classification", "regression"]
TASK_TYPES: tuple[TaskType, ...] = get_args(TaskType)

_OF_REGRESSION = re.compile(r"(^|_)(r2|mae|mse|rmse|rmsle|mape)(_|$)", re.IGNORECASE)


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
    def task_type(self) -> TaskType:
        """What is predicted on its datasets, as far as the metric's name tells."""
        return task_type(self.metric)


COLUMNS = [field.name for field in fields(Scenario)]
_SELECTED = ", ".join(COLUMNS)


def task_type(metric: str) -> TaskType:
    """Return what is predicted when results are measured by this metric, as far as its name tells."""
    return "regression" if _OF_REGRESSION.search(metric) else "classification"


def all_scenarios() -> list[Scenario]:
    """Return all scenarios, the last imported first."""
    with database.transaction() as connection:
        rows = connection.execute(f"SELECT {_SELECTED} FROM knowledge_scenarios ORDER BY imported_at DESC").fetchall()
    return [Scenario(*row) for row in rows]


def get(name: str) -> Scenario:
    """Return a scenario by its name. Raises InputError if there is none."""
    by_name = {scenario.name: scenario for scenario in all_scenarios()}
    if name not in by_name:
        remedy = f"Choose one of {', '.join(sorted(by_name))}." if by_name else "Import one first."
        raise InputError(f"There is no scenario {name!r}.", value=name, remedy=remedy)
    return by_name[name]


def check_free(name: str) -> None:
    """Raise InputError if a scenario has this name."""
    if any(scenario.name == name for scenario in all_scenarios()):
        raise _taken(name)


def add(scenario: Scenario, errors: Path, features: Path) -> None:
    """Save a scenario, completely or not at all.

    Parquet files: errors has dataset, candidate, error, fit_s; features has dataset, name, value. Raises InputError
    if the name is taken.
    """
    values = ", ".join("?" * len(COLUMNS))
    with database.transaction(write=True) as connection:
        if connection.execute("SELECT 1 FROM knowledge_scenarios WHERE name = ?", [scenario.name]).fetchall():
            raise _taken(scenario.name)
        connection.execute(f"INSERT INTO knowledge_scenarios ({_SELECTED}) VALUES ({values})", astuple(scenario))
        for table, file, columns in (
            ("knowledge_errors", errors, "dataset, candidate, error, fit_s"),
            ("knowledge_features", features, "dataset, name, value"),
        ):
            statement = f"INSERT INTO {table} SELECT ?, {columns} FROM read_parquet(?)"
            connection.execute(statement, [scenario.name, str(file)])


def remove(name: str) -> None:
    """Delete a scenario with its errors and features. Raises InputError if there is none."""
    get(name)
    with database.transaction(write=True) as connection:
        connection.execute("DELETE FROM knowledge_scenarios WHERE name = ?", [name])
        for table in ("knowledge_errors", "knowledge_features"):
            connection.execute(f"DELETE FROM {table} WHERE scenario = ?", [name])


def errors(name: str) -> pd.DataFrame:
    """Return a scenario's errors: dataset (as "scenario: dataset"), candidate, error, fit_s."""
    return _read(f"SELECT {_DATASET}, candidate, error, fit_s FROM knowledge_errors WHERE scenario = ?", name)


def features(name: str) -> pd.DataFrame:
    """Return a scenario's meta-features: dataset (as "scenario: dataset"), name, value."""
    return _read(f"SELECT {_DATASET}, name, value FROM knowledge_features WHERE scenario = ?", name)


_DATASET = "scenario || ': ' || dataset AS dataset"


def feature_names(name: str) -> list[str]:
    """Return the names of a scenario's meta-features."""
    return list(_read("SELECT DISTINCT name FROM knowledge_features WHERE scenario = ?", name)["name"])


def _read(query: str, name: str) -> pd.DataFrame:
    with database.transaction() as connection:
        return connection.execute(query, [name]).df()


def _taken(name: str) -> InputError:
    return InputError(
        f"The name {name!r} is taken by a scenario.", field="name", value=name,
        remedy="Choose another, or remove that one first.",
    )  # fmt: skip
