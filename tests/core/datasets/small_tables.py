"""Small tables to register, and short ways to look at what became of them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from core.datasets import Column, Dataset, Finding, Inspection


def table(n_rows: int = 100, **columns: object) -> pd.DataFrame:
    """A table with a number and a group to predict from, and a target y of two classes."""
    random = np.random.default_rng(0)
    base = {"x": random.normal(size=n_rows).round(6), "group": random.choice(["a", "b", "c"], n_rows)}
    return pd.DataFrame({**base, "y": np.resize(["no", "yes", "no"], n_rows), **columns})


def kinds(findings: tuple[Finding, ...], column: str | None = None) -> set[str]:
    """The kinds of all findings, or of those about one column."""
    return {finding.kind for finding in findings if column in (None, finding.column)}


def text_of(findings: tuple[Finding, ...], kind: str) -> str:
    """The text of the first finding of a kind."""
    return next(finding.text for finding in findings if finding.kind == kind)


def column(holder: Inspection | Dataset, name: str) -> Column:
    """The column of a name."""
    return next(column for column in holder.columns if column.name == name)
