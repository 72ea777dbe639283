"""A temporary data directory and timing, for all benchmarks."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from core import datasets

DATA = Path(os.environ.get("METASCOUT_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")).resolve()


@contextmanager
def own_home() -> Iterator[Path]:
    """Use an empty data directory in this process and those that it starts."""
    before = os.environ.get("METASCOUT_HOME")
    with tempfile.TemporaryDirectory(prefix="metascout-bench-") as folder:
        os.environ["METASCOUT_HOME"] = f"{folder}/home"
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["METASCOUT_HOME"]
            else:
                os.environ["METASCOUT_HOME"] = before


def sample() -> datasets.Dataset:
    """Register and return a small dataset."""
    return datasets.add_sample("breast_cancer")


def times_ms(*functions: Callable[[], object], rounds: int, block: int = 1) -> list[list[float]]:
    """Return the milliseconds of each call. The functions take turns, and the first turn does not count.

    With `block`, a turn is that many calls of a function. The first one does not count, because the other function
    has filled the caches of the processor.
    """
    measured: list[list[float]] = [[] for _ in functions]
    for turn in range(rounds + 1):
        for function, times in zip(functions, measured, strict=True):
            for call in range(block):
                begin = time.perf_counter()
                function()
                if turn and (call or block == 1):
                    times.append((time.perf_counter() - begin) * 1000)
    return measured


def summary(times: list[float]) -> str:
    """Return the median and the 95th percentile of milliseconds as text."""
    return f"median {statistics.median(times):.2f} ms, 95th percentile {percentile_95(times):.2f} ms"


def percentile_95(times: list[float]) -> float:
    """Return the value that 95% of the times do not exceed."""
    return sorted(times)[min(len(times) - 1, int(0.95 * len(times)))]
