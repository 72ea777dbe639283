"""Housekeeping: deletes old uploads, staged tables, bundles, and the unfinished files of killed processes."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress

from core.store import database

MAX_AGE_S = 86_400.0
# All can be made again; files in use were touched within the day.
_FOLDERS = ("uploads", "bundles", "tmp", "tmp/staged", "tmp/duckdb")


def sweep(*, now: float | None = None) -> None:
    """Delete files untouched for a day from the folders of the data directory that hold no results."""
    before = (time.time() if now is None else now) - MAX_AGE_S
    for name in _FOLDERS:
        folder = database.home() / name
        for entry in folder.iterdir() if folder.exists() else ():
            with suppress(OSError):  # another process may be sweeping as well
                if f"tmp/{entry.name}" in _FOLDERS or entry.stat().st_mtime > before:
                    continue
                if entry.is_dir():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
    for part in (database.home() / "artifacts").glob("*.part"):
        with suppress(OSError):
            if part.stat().st_mtime < before:
                part.unlink()
