"""Printing of tables."""

from __future__ import annotations

import json

import pandas as pd


def print_table(frame: pd.DataFrame, *, as_json: bool) -> None:
    """Print a table as aligned text, or as a JSON list of objects."""
    if as_json:
        print(json.dumps(json.loads(frame.to_json(orient="records", double_precision=15)), indent=1))
    else:
        print(frame.to_string(index=False, na_rep="") if len(frame) else "none")
