"""Files that jobs leave for people: kept once each under the name of their content."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from core import db
from core.errors import MetascoutError


def keep(path: Path) -> tuple[str, int]:
    """Put a copy of the file into the store of artifacts; returns its sha256 and its size in bytes.

    The file itself stays, so that keeping it again after a crash is harmless.
    """
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        target = locate(sha256)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_suffix(f".{os.getpid()}.part")
            _link_or_copy(path, part)
            os.replace(part, target)
        return sha256, target.stat().st_size
    except OSError as error:
        raise MetascoutError(f"The artifact {path.name} cannot be kept: {error.strerror}. Is the disk full?") from error


def locate(sha256: str) -> Path:
    """Where the artifact of this content is, or would be."""
    return db.home() / "artifacts" / sha256[:2] / sha256


def _link_or_copy(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)
