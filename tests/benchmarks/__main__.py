"""Print the figures of docs/benchmarks.md: `python -m tests.benchmarks [PART ...]`, by default all PARTS.

Times are of this machine at this moment. Two ways to do the same are measured in turns, in one run.
"""

from __future__ import annotations

import logging
import sys
from importlib import import_module

PARTS = (
    "store",
    "pages",
    "automl",
    "start",
    "search",
    "halving",
    "nas",
    "warm",
    "ranked",
    "selector",
    "knowledge",
    "fewshot",
)


def main(names: list[str]) -> int:
    """Run the parts (none: all), print their figures, and return the exit code."""
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        print(f"There is no part {', '.join(unknown)}; choose from {', '.join(PARTS)}.", file=sys.stderr)
        return 2
    logging.disable(logging.WARNING)  # Streamlit warns at each run outside a server
    for name in names or PARTS:
        print(f"\n## {name}")
        for figure, value in import_module(f"tests.benchmarks.{name}").figures():
            print(f"{figure:<74} {value}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
