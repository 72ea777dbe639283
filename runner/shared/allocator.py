"""How this process asks the system for memory."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of mallopt's parameters in glibc's malloc.h


def keep_memory() -> bool:
    """Let glibc reuse freed memory instead of returning it after every step; return False where there is no glibc.

    A training step frees and requests the same megabytes again; fresh pages cost 5-10% of a population's step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_MMAP_THRESHOLD, 2**30) and mallopt(_TRIM_THRESHOLD, 2**31 - 1))
