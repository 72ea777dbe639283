"""The tests of meta-features share the DuckDB of the tests of datasets."""

from tests.core.datasets.conftest import one_duckdb

__all__ = ["one_duckdb"]
