"""Scenarios: imported meta-knowledge as the store keeps it, one table dataset x candidate -> error each."""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from core import db
from core.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


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


_STORED = ", ".join(field.name for field in fields(Scenario))


def every() -> list[Scenario]:
    """All scenarios, the last imported first."""
    with db.transaction() as connection:
        rows = connection.execute(f"SELECT {_STORED} FROM knowledge_scenarios ORDER BY imported_at DESC").fetchall()
    return [Scenario(*row) for row in rows]


def get(name: str) -> Scenario:
    """A scenario by its name. Raises InputError where there is none."""
    known = {scenario.name: scenario for scenario in every()}
    if name not in known:
        there = f"there are {', '.join(sorted(known))}" if known else "none has been imported"
        raise InputError(f"There is no scenario {name!r}; {there}.")
    return known[name]


def check_free(name: str) -> None:
    """Raises InputError where a scenario has the name already."""
    if any(scenario.name == name for scenario in every()):
        raise _taken(name)


def add(scenario: Scenario, errors: Path, features: Path) -> None:
    """Save a scenario, all of it or nothing.

    Parquet files: errors has dataset, candidate, error, fit_s; features has dataset, name, value. Raises InputError
    where the name is taken.
    """
    marks = ", ".join("?" * len(fields(Scenario)))
    with db.transaction(write=True) as connection:
        if connection.execute("SELECT 1 FROM knowledge_scenarios WHERE name = ?", [scenario.name]).fetchall():
            raise _taken(scenario.name)
        connection.execute(f"INSERT INTO knowledge_scenarios ({_STORED}) VALUES ({marks})", astuple(scenario))
        for table, file, columns in (
            ("knowledge_errors", errors, "dataset, candidate, error, fit_s"),
            ("knowledge_features", features, "dataset, name, value"),
        ):
            connection.execute(
                f"INSERT INTO {table} SELECT ?, {columns} FROM read_parquet(?)", [scenario.name, str(file)]
            )


def remove(name: str) -> None:
    """Delete a scenario with its errors and features. Raises InputError where there is none."""
    get(name)
    with db.transaction(write=True) as connection:
        connection.execute("DELETE FROM knowledge_scenarios WHERE name = ?", [name])
        for table in ("knowledge_errors", "knowledge_features"):
            connection.execute(f"DELETE FROM {table} WHERE scenario = ?", [name])


def errors(name: str) -> pd.DataFrame:
    """The pairs of a scenario: dataset, candidate, error, fit_s (seconds, NaN where unknown)."""
    return _read("SELECT dataset, candidate, error, fit_s FROM knowledge_errors WHERE scenario = ?", name)


def features(name: str) -> pd.DataFrame:
    """The meta-features of a scenario: dataset, name, value (NaN where missing)."""
    return _read("SELECT dataset, name, value FROM knowledge_features WHERE scenario = ?", name)


def feature_names(name: str) -> set[str]:
    """The names of a scenario's meta-features."""
    return set(_read("SELECT DISTINCT name FROM knowledge_features WHERE scenario = ?", name)["name"])


def overview() -> pd.DataFrame:
    """All scenarios as a table, the last imported first; columns as the fields of Scenario."""
    import pandas as pd

    return pd.DataFrame([asdict(scenario) for scenario in every()], columns=[field.name for field in fields(Scenario)])


def _read(query: str, name: str) -> pd.DataFrame:
    with db.transaction() as connection:
        return connection.execute(query, [name]).df()


def _taken(name: str) -> InputError:
    return InputError(f"The name {name!r} is taken by a scenario. Choose another, or remove that one first.")
