"""Artifacts: files that jobs make for users, stored once each under the hash of their content."""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path

from core.errors import InputError
from core.store import database

_CHUNK_BYTES = 2**20


def store(path: Path) -> tuple[str, int]:
    """Store a copy of the file; return its sha256 and its size in bytes.

    The file stays, so storing it again after a crash is harmless. It is copied, not linked, because a job may write to
    it again. Raises InputError where it is missing, and MetascoutError on a full disk.
    """
    folder = database.home() / "artifacts"
    folder.mkdir(exist_ok=True)
    part = folder / f"{uuid.uuid4().hex}.part"
    try:
        with database.explain_disk_full():
            sha256, size = _copy(path, part)
        target = locate(sha256)
        target.parent.mkdir(exist_ok=True)
        os.replace(part, target)
        return sha256, size
    except FileNotFoundError:
        raise InputError(f"The job reported the file {path.name}, which does not exist.") from None
    finally:
        part.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as read, target.open("wb") as write:
        while chunk := read.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += write.write(chunk)
        write.flush()
        os.fsync(write.fileno())
    return digest.hexdigest(), size


def locate(sha256: str) -> Path:
    """Return the path of the artifact with this content, whether it exists or not."""
    return database.home() / "artifacts" / sha256[:2] / sha256
