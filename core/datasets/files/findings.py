"""Findings: what looks wrong with a user's file, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """A warning about a file or a table: a sentence that names the column and the remedy."""

    kind: str  # id_like, constant, duplicate_rows, leak, imbalance, missing_target, mixed, infinite, ...
    text: str
    column: str | None = None


def plural(n: int, one: str, many: str) -> str:
    """Return a number with the words that go with it: "1 row has", "2 rows have"."""
    return f"{n:,} {one if n == 1 else many}"
