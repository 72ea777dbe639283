"""Backup: a copy of the store while Metascout runs."""

from __future__ import annotations

from pathlib import Path

from core.store import database


def backup(target: Path) -> Path:
    """Copy the store to `target` while nobody writes; return `target`."""
    with database.transaction():  # the shared lock keeps writers out
        database.copy_files(database.store_path(), target)
    return target
