"""The regret of strategies on real tables of finished trainings stays under its ceiling."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import search

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("one_blas_thread")]


@pytest.mark.slow
def test_random_search_on_the_table_reproduces_the_known_regret(data: Path) -> None:
    assert _regret("cifar100", "random", seeds=300) == pytest.approx(1.85, abs=0.15)


@pytest.mark.parametrize(
    ("table", "name", "ceiling"),
    [
        pytest.param("cifar100", "gp", 0.40, marks=pytest.mark.slow),
        pytest.param("macro", "gp", 0.12, marks=pytest.mark.slow),
        ("cifar100", "evolution", 0.65),
        ("cifar100", "local", 0.65),
        pytest.param("cifar100", "reinforce", 1.1, marks=pytest.mark.slow),
    ],
)
def test_a_strategy_stays_under_its_regret_ceiling(data: Path, table: str, name: str, ceiling: float) -> None:
    """Few seeds, so the ceilings lie above the means of the benchmark, and far below random search (1.85; 0.28)."""
    assert _regret(table, name, seeds=6) < ceiling


def _regret(table_name: str, name: str, *, seeds: int) -> float:
    table = search.load(table_name)
    last = [search.search(table, name, seed).incumbents[-1] for seed in range(seeds)]
    return float(table.tests.max() - table.tests[last].mean())
