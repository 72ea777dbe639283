"""Measure the knowledge that ships: `python -m tools.shipped_knowledge --out FILE --home DIR`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from core.errors import MetascoutError
from runner.__main__ import sole_runner
from tools.shipped_knowledge.measurement import log, measure
from tools.shipped_knowledge.tasks import all_tasks


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and measure; return the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", stream=sys.stdout)
    log.setLevel(logging.INFO)
    os.environ["METASCOUT_HOME"] = str(options.home.resolve())
    os.environ.pop("METASCOUT_STORE", None)
    try:
        with sole_runner():
            table = measure(all_tasks()[: options.tasks], options.out, h2o_s=options.h2o)
    except MetascoutError as error:
        print(error, file=sys.stderr)
        return 1
    n_tasks, n_candidates = table["task"].nunique(), table["candidate"].nunique()
    print(f"{n_tasks} tasks, {n_candidates} candidates, {len(table):,} errors in {options.out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.shipped_knowledge", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the Parquet file to write")
    parser.add_argument("--home", type=Path, required=True, help="a data directory for this run only")
    parser.add_argument("--tasks", type=int, help="number of tasks to measure (default: all)")
    parser.add_argument(
        "--h2o", type=int, default=0, metavar="SECONDS", help="of H2O AutoML on each table (default: 0)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
