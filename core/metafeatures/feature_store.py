"""Feature store: meta-features as they are saved for each dataset."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from core import datasets
from core.metafeatures.catalogue import LANDMARKERS, NAMES
from core.metafeatures.features import clip, compute
from core.store import database

if TYPE_CHECKING:
    import duckdb
    import pandas as pd


def get(dataset_id: int) -> dict[str, float]:
    """Return the meta-features of a dataset by name, computed once and saved; NaN where undefined or not yet measured.

    Landmarkers are measured by a portfolio job. Raises InputError where there is no such dataset.
    """
    saved = _load(dataset_id)
    if not set(NAMES) - set(LANDMARKERS) <= saved.keys():
        computed = compute(datasets.get(dataset_id))
        with database.transaction(write=True) as connection:
            save(connection, dataset_id, computed)
        saved |= computed
    return {name: saved.get(name, math.nan) for name in NAMES}


def all_features() -> pd.DataFrame:
    """Return all saved meta-features: index dataset (its name), a column for each of NAMES; NaN where none is saved."""
    query = "SELECT d.name AS dataset, m.name, m.value FROM meta_features m JOIN datasets d ON d.id = m.dataset_id"
    with database.transaction() as connection:
        rows = connection.execute(query).df()
    return rows.pivot(index="dataset", columns="name", values="value").reindex(columns=list(NAMES))


def save(connection: duckdb.DuckDBPyConnection, dataset_id: int, features: Mapping[str, float]) -> None:
    """Save values of meta-features in place of earlier ones under the same names."""
    names, values = list(features), [clip(value) for value in features.values()]
    connection.execute(
        "DELETE FROM meta_features WHERE dataset_id = ? AND list_contains(?, name)", [int(dataset_id), names]
    )
    connection.execute(
        "INSERT INTO meta_features SELECT ?, unnest(?::VARCHAR[]), unnest(?::DOUBLE[])",
        [int(dataset_id), names, values],
    )


def _load(dataset_id: int) -> dict[str, float]:
    with database.transaction() as connection:
        query = "SELECT name, value FROM meta_features WHERE dataset_id = ?"
        return dict(connection.execute(query, [int(dataset_id)]).fetchall())
