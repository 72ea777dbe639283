"""Housekeeping: what is deleted, and what stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

from core.store import housekeeping


def test_temporary_files_untouched_for_a_day_are_deleted_and_all_else_stays(home: Path) -> None:
    old = ["uploads/a", "bundles/b.zip", "tmp/table.1", "tmp/staged/x/about.json", "artifacts/y.part"]
    permanent = ["uploads/young", "artifacts/ab/abc", "datasets/f/table.parquet", "jobs/1-1/log.txt"]
    for name in old + permanent:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(name)
        os.utime(home / name, (1, 1))
    os.utime(home / "tmp/staged/x", (1, 1))
    os.utime(home / "uploads/young")
    housekeeping.sweep()
    assert [name for name in old if (home / name).exists()] == []
    assert [name for name in permanent if not (home / name).exists()] == []
    housekeeping.sweep(now=time.time() + housekeeping.MAX_AGE_S + 1)
    assert not (home / "uploads/young").exists()
    assert (home / "artifacts/ab/abc").exists()
